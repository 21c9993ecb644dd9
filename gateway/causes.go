package gateway

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"packetboat/bridge"
	"packetboat/gateway/admin"
	"packetboat/gateway/quantity"
)

// What is wrong, and what to do about it: each cause is found by what it does, at
// most some seconds after it began.

// problems is what is wrong and what to do about it, the worst first.
func (s snapshot) problems() []admin.Problem {
	p := problemList{}
	p.ofDisk(s)
	p = append(p, s.more.shut...)
	p.ofRoom(s)
	for _, b := range s.bridges {
		before := len(p)
		p.ofBridge(b, s.more.now)
		p[before:].are("bridge/" + b.name)
	}
	for _, a := range s.more.adapters {
		before := len(p)
		p.ofAdapter(a)
		p[before:].are("adapter/" + a.name)
	}
	p = append(p, s.more.certs...)
	p.ofClock(s.more.now)
	p.ofAccess(&s.more)
	return p
}

type problemList []admin.Problem

func (p *problemList) add(what, remedy string) {
	*p = append(*p, admin.Problem{What: what, Remedy: remedy})
}

// are says what the problems are of.
func (p problemList) are(of string) {
	for i := range p {
		p[i].Of = of
	}
}

func (p *problemList) ofDisk(s snapshot) {
	if s.failed != nil {
		p.add("the disk queue takes no writes: "+s.failed.Error(),
			"nothing durable is acknowledged until it does, and it is tried again: free space, check the card (dmesg), or mount it writable. "+
				"Messages of QoS 0 go on. What waits is delivered at QoS 0 and 1, and at QoS 2 only what the receiver has confirmed already: its next step has to be on the disk before it is sent")
	}
	if s.damage > 0 {
		p.add(fmt.Sprintf("the queue was damaged in %s when the gateway was started", quantity.Count(s.damage, "place", "places")), "packetboat queue verify names them; the bytes are kept as quarantine-* in data_dir")
	}
	if s.ledgerErrors > 0 {
		p.add(quantity.Count(s.ledgerErrors, "ledger was wrong and was put right", "ledgers were wrong and were put right"), "please report it, with the log")
	}
}

// ofRoom tells of a queue that is full, or soon will be, and of a disk that is.
func (p *problemList) ofRoom(s snapshot) {
	r := s.more.room
	remedy := fmt.Sprintf("bring back what the messages wait for, raise queue.max_size (%s; the disk has %s free), or purge what nobody needs (packetboat queue ls)",
		quantity.Bytes(r.maxSize), quantity.Bytes(r.free))
	small := r.free >= 0 && r.free < r.minFree
	if small {
		remedy = fmt.Sprintf("free space on the disk of data_dir (du -x, journalctl --vacuum-size), or lower queue.min_free (%s)", quantity.Bytes(r.minFree))
		p.add(fmt.Sprintf("the disk is nearly full: %s are free, and queue.min_free keeps %s free; the queue takes no more room and drops or refuses messages", quantity.Bytes(r.free), quantity.Bytes(r.minFree)), remedy)
	}
	told := small
	for _, b := range s.bridges {
		if b.dropped > 0 {
			told = true
			p.add(fmt.Sprintf("the queue is full: %s in the last minute (when_full = %s)",
				quantity.Count(b.dropped, "message for bridge "+b.name+" was dropped", "messages for bridge "+b.name+" were dropped"), b.whenFull),
				"each is counted, and told in a gap marker; "+remedy)
		}
	}
	if s.paused > 0 {
		told = true
		p.add(quantity.Count(s.paused, "device is", "devices are")+" held up: the queue takes nothing", "it goes on when there is room; "+remedy)
	}
	if n := s.more.refused; n > 0 && s.failed == nil {
		told = true
		p.add(fmt.Sprintf("the queue is full: %s refused in the last minute (when_full = reject, or nothing can go) and not acknowledged", quantity.Count(n, "publish was", "publishes were")), remedy)
	}
	if told || r.maxSize == 0 {
		return
	}
	if r.size < r.maxSize/10 {
		what := fmt.Sprintf("the queue is nearly full: %s of %s are left", quantity.Bytes(max(r.size, 0)), quantity.Bytes(r.maxSize))
		if in := r.fullIn(); in != nil {
			what += ", full in " + quantity.Seconds(*in)
		}
		p.add(what, remedy)
	}
	if r.free >= 0 && r.free-r.minFree < max(r.minFree/4, mib) {
		p.add(fmt.Sprintf("the disk is nearly full: %s are free, and queue.min_free keeps %s free", quantity.Bytes(r.free), quantity.Bytes(r.minFree)),
			"free space on the disk of data_dir (du -x, journalctl --vacuum-size): when there is none, messages are dropped or refused")
	}
}

// slowConnect is how long a connection is made before that is a problem.
const slowConnect = 3 * time.Second

func (p *problemList) ofBridge(b bridgeState, now time.Time) {
	if b.dead > 0 {
		p.add(quantity.Count(b.dead, "message for bridge "+b.name+" is a dead letter: the cloud would not take it", "messages for bridge "+b.name+" are dead letters: the cloud would not take them"),
			fmt.Sprintf("packetboat queue tail bridge/%s/dead says why, export saves them, replay sends them again, purge ends them", b.name))
	}
	st := b.state
	waits := "no messages wait on the disk yet; what comes is kept there"
	if b.waiting > 0 {
		oldest := quantity.Duration(b.oldest)
		waits = quantity.Count(b.waiting, fmt.Sprintf("message waits on the disk, for %s; it goes when it is online", oldest),
			fmt.Sprintf("messages wait on the disk, the oldest for %s; they go when it is online", oldest))
	}
	switch {
	case st.Phase == bridge.Online:
		return
	case st.Phase == bridge.Connecting && st.Err == nil:
		if took := now.Sub(st.Since); took >= slowConnect && !st.Since.IsZero() {
			who, remedy := unanswered(st)
			p.add(fmt.Sprintf("bridge %s has no connection yet: for %s, %s", b.name, quantity.Duration(took), who), remedy+" (packetboat doctor "+b.name+" tries each step); "+waits)
		}
		return
	case st.Phase == bridge.Stalled:
		p.add(fmt.Sprintf("bridge %s is stalled: %s is connected and acknowledges nothing", b.name, cmp.Or(st.Server, "the server")),
			"it connects again when ack_timeout has passed: check the link, and the server's load; "+waits)
		return
	}
	what, remedy := bridge.Diagnose(st.Err)
	text := fmt.Sprintf("bridge %s is %v", b.name, st.Phase)
	if what != "" {
		text += ": " + what
	}
	if remedy != "" {
		waits = remedy + "; " + waits
	}
	p.add(text, waits)
}

// unanswered says who has not answered a bridge that connects, and what to do.
func unanswered(st bridge.State) (who, remedy string) {
	server := cmp.Or(st.Server, "the server")
	switch st.Step {
	case bridge.StepName:
		return "the name servers have not answered about the name in " + server, "check the link, the name, and /etc/resolv.conf"
	case bridge.StepTLS:
		return server + " takes the connection and is silent, before TLS is made", "check the port, and what is in between: a proxy, a firewall that looks into TLS"
	case bridge.StepLogin:
		return server + " has not answered CONNECT", "check that an MQTT broker listens at that port"
	}
	return server + " has not answered", "check the address, and that no firewall drops what is sent there"
}

// When bad frames are a problem: those at a start, or of a plug in a socket, are not.
const (
	badFrames  = 2   // at least
	badShare   = 0.1 // of all
	muteBytes  = 64  // without a frame
	muteWithin = 8 * time.Second
)

func (p *problemList) ofAdapter(a adapterState) {
	if !a.ready && a.problem != "" {
		what := fmt.Sprintf("adapter %s is not ready: %s", a.name, a.problem)
		switch {
		case a.port != "":
			p.add(what, "packetboat ports lists the ports that there are, and who has them; it is opened as soon as it can be")
		default:
			p.add(what, "check that the device is there and can be reached; it is tried again by itself")
		}
	}
	if !a.ready && a.problem == "" {
		p.add(fmt.Sprintf("adapter %s is not ready yet: it opens its port or connection", a.name), "wait some seconds; if it stays so, the device does not answer")
	}
	if a.ready && len(a.deaf) > 0 {
		more := "the unit's id, and that it is switched on"
		if a.line != "" {
			more = fmt.Sprintf("the wires (A and B), %s, and the unit's id", a.line)
		}
		p.add(fmt.Sprintf("adapter %s: %d of %d units do not answer: %s", a.name, len(a.deaf), a.units, strings.Join(a.deaf[:min(len(a.deaf), 5)], ", ")),
			"check "+more+"; they are asked again")
	}
	if a.ready && len(a.refused) > 0 {
		p.add(fmt.Sprintf("adapter %s: values are refused, and null is published: %s", a.name, strings.Join(a.refused[:min(len(a.refused), 5)], "; ")),
			"the unit has nothing there: correct table and address (they count from 0 here), or leave the values out; the log has the unit's answer")
	}
	remedy := "packetboat frame -adapter " + a.name + " shows what is made of bytes: correct frame or decode"
	if a.port != "" {
		remedy = fmt.Sprintf("most often the speed is wrong (%s): packetboat probe listens and guesses it; else correct frame or decode, or look for noise on the line", a.line)
	}
	n := a.recent
	all := n.good + n.bad
	switch {
	case n.bad >= badFrames && float64(n.bad) >= badShare*float64(all):
		what := fmt.Sprintf("adapter %s: %d of %d frames in the last minute are bad", a.name, n.bad, all)
		if n.undecoded > 0 {
			what += fmt.Sprintf(" (%d cannot be decoded)", n.undecoded)
		}
		p.add(what, remedy)
	case all == 0 && n.bytes >= muteBytes && a.span >= muteWithin:
		p.add(fmt.Sprintf("adapter %s: %s came in the last minute, and no frame", a.name, quantity.Bytes(n.bytes)), remedy)
	}
}

// firstDay is before any day on which this program could run.
var firstDay = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func (p *problemList) ofClock(now time.Time) {
	if now.IsZero() || !now.Before(firstDay) {
		return
	}
	p.add(fmt.Sprintf("this machine's clock is wrong: here it is %s", now.UTC().Format(time.RFC3339)),
		"have it set by the network (timedatectl set-ntp true) or give it a clock with a battery: until then certificates are not valid, and receive times are marked as not trusted")
}

// lately is how long ago something was of which operators are told.
const lately = 10 * time.Minute

func (p *problemList) ofAccess(o *outlook) {
	if len(o.denials) > 0 && o.now.Sub(o.denials[0].At) < lately {
		d := o.denials[0]
		who := d.Who
		if d.User != "" {
			who = fmt.Sprintf("%s (user %s)", d.Who, d.User)
		}
		if !strings.HasPrefix(who, "adapter/") && !strings.HasPrefix(who, "bridge/") {
			who = "client " + who
		}
		action := map[string]string{"publish": "publish to", "subscribe": "subscribe to", "will": "have a will on"}[d.Action]
		p.add(fmt.Sprintf("the access rules have denied requests (%d so far); the newest, %s ago: %s may not %s %s%s",
			o.denied, quantity.Duration(o.now.Sub(d.At)), who, action, d.Topic, times(d.Count)),
			"allow it in [[auth.rule]] (packetboat route explains what rules say of a topic), or correct the device")
	}
	if l := o.logins; l.all > 0 && o.now.Sub(l.at) < lately {
		p.add(fmt.Sprintf("logins have failed (%d so far); the newest, %s ago: %s", l.all, quantity.Duration(o.now.Sub(l.at)), l.text()),
			"correct name and password at the device, or set them here: packetboat passwd NAME")
	}
}

// times says how often, if more than once.
func times(n uint64) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (%d times)", n)
}
