package bridge

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"packetboat/bridge/dial"
	"packetboat/broker/packet"
	"packetboat/config"
)

// Examine goes the way that a bridge's connection goes, to each of its servers, and
// tells of each step:
//
//	files        of TLS: they can be read, the client's certificate is in time
//	name         the server's, or the proxy's: which addresses it has
//	way          by which local address and interface it is left
//	connection   TCP, and how long that takes
//	TLS          version, chain, dates, names
//	WebSocket    where there is one
//	login        CONNECT, and what CONNACK allows
//	round trip   a message at QoS 1, back to where it came from

// Outcome is what a step of an examination has come to.
type Outcome string

// The outcomes.
const (
	Fine     Outcome = "ok"
	Doubtful Outcome = "warning"
	Failed   Outcome = "FAILED"
	Skipped  Outcome = "skipped"
)

// Finding is what a step has found.
type Finding struct {
	Step    string
	Outcome Outcome
	Text    string        // what was found, or measured
	Remedy  string        // what to do about it, "" for nothing
	Took    time.Duration // 0 where time says nothing
}

// Visit is how Examine goes there.
type Visit struct {
	// OwnID uses the bridge's own client id: a gateway that runs with it is
	// disconnected, and connects again. Without, "-doctor" is appended to the id, and
	// no session is kept.
	OwnID bool

	// StepTimeout bounds each step; 0 is 5 s.
	StepTimeout time.Duration
}

// Examine tries the connection of a bridge whose section has passed [Check], to
// each server in turn, until ctx ends. tell is called with each step, by this
// goroutine.
func Examine(ctx context.Context, cfg config.Bridge, v Visit, tell func(server string, f Finding)) {
	if v.StepTimeout == 0 {
		v.StepTimeout = 5 * time.Second
	}
	b := &Bridge{cfg: cfg}
	if err := b.check(nil); err != nil {
		tell("", Finding{Step: "configuration", Outcome: Failed, Text: err.Error()})
		return
	}
	for _, s := range b.servers {
		if ctx.Err() != nil {
			return
		}
		e := examination{b: b, visit: v, server: s, tell: func(f Finding) { tell(s.String(), f) }}
		e.run(ctx)
	}
}

// examination is that of one server.
type examination struct {
	b      *Bridge
	visit  Visit
	server server
	dialer *dial.Dialer
	tell   func(Finding)
}

func (e *examination) run(ctx context.Context) {
	opt := e.b.dialOptions(nil)
	began := time.Time{}
	opt.Connected = func(c net.Conn) {
		e.tell(Finding{Step: "connection", Outcome: Fine, Text: fmt.Sprintf("%v to %v", c.LocalAddr(), c.RemoteAddr()), Took: time.Since(began)})
	}
	opt.Secured = func(s tls.ConnectionState) { e.secured(&s, time.Since(began)) }
	var err error
	if e.dialer, err = dial.New(opt); err != nil { // check has made one like it
		e.failed("configuration", err, 0)
		return
	}
	if !e.files() || !e.way(ctx) {
		return
	}
	within, cancel := context.WithTimeout(ctx, min(2*e.visit.StepTimeout, e.b.cfg.ConnectTimeout))
	defer cancel()
	began = time.Now()
	raw, err := e.dialer.Dial(within, e.server.Server)
	if err != nil {
		e.failed(stepOf(err), err, time.Since(began))
		return
	}
	if e.server.WebSocket {
		e.tell(Finding{Step: "WebSocket", Outcome: Fine, Text: "the server takes it", Took: time.Since(began)})
	}
	defer raw.Close()
	e.mqtt(ctx, raw)
}

// stepOf names the step at which a Dial has failed.
func stepOf(err error) string {
	var at *dial.Error
	if !errors.As(err, &at) {
		return "connection"
	}
	switch at.Stage {
	case "TLS handshake", "certificate":
		return "TLS"
	case "TLS files":
		return "files"
	case "WebSocket upgrade":
		return "WebSocket"
	case "proxy":
		return "proxy"
	}
	return "connection"
}

// failed tells of a step that an error has ended.
func (e *examination) failed(step string, err error, took time.Duration) {
	what, remedy := Diagnose(err)
	e.tell(Finding{Step: step, Outcome: Failed, Text: what, Remedy: remedy, Took: took})
}

// expiresSoon is how long before its end a certificate is worth a warning.
const expiresSoon = 14 * 24 * time.Hour

// endsSoon reports whether a certificate should be renewed now. Those that are made
// for some days only are renewed by programs, late in their time.
func endsSoon(c *x509.Certificate) bool {
	left := time.Until(c.NotAfter)
	return left < expiresSoon && left < c.NotAfter.Sub(c.NotBefore)/3
}

// files reads those of TLS; false: they cannot be used.
func (e *examination) files() (ok bool) {
	t := &e.b.cfg.TLS
	if t.CA == "" && t.Cert == "" {
		return true
	}
	if err := e.dialer.CheckFiles(); err != nil {
		what, remedy := ofKeys(err)
		e.tell(Finding{Step: "files", Outcome: Failed, Text: what, Remedy: remedy})
		return false
	}
	f := Finding{Step: "files", Outcome: Fine, Text: "authorities, certificate and key can be read"}
	if t.Cert == "" {
		f.Text = "the authorities can be read"
	} else if pair, err := tls.LoadX509KeyPair(t.Cert, t.Key); err == nil {
		f.Text = "the client's certificate and key can be read; " + remaining(pair.Leaf)
		if endsSoon(pair.Leaf) {
			f.Outcome, f.Remedy = Doubtful, "renew tls.cert: the new file is read for the next connection"
		}
	}
	e.tell(f)
	return true
}

// remaining says how long a certificate is valid.
func remaining(c *x509.Certificate) string {
	left := time.Until(c.NotAfter)
	if left < 48*time.Hour {
		return fmt.Sprintf("valid until %s, %.0f hours", c.NotAfter.UTC().Format(time.RFC3339), left.Hours())
	}
	return fmt.Sprintf("valid until %s, %.0f days", c.NotAfter.UTC().Format(time.DateOnly), left.Hours()/24)
}

// way looks up the name and by where connections leave; false: there is no way.
func (e *examination) way(ctx context.Context) (ok bool) {
	address, proxied, err := e.dialer.Via(e.server.Server)
	if err != nil {
		e.failed("proxy", err, 0)
		return false
	}
	if proxied {
		e.tell(Finding{Step: "proxy", Outcome: Fine, Text: "through " + address + ", which has to find " + e.server.Address})
	}
	host, _, _ := net.SplitHostPort(address)
	within, cancel := context.WithTimeout(ctx, e.visit.StepTimeout)
	defer cancel()
	began := time.Now()
	addresses, err := dial.Lookup(within, address)
	took := time.Since(began)
	if err != nil {
		e.failed("name", err, took)
		return false
	}
	if _, err := netip.ParseAddr(host); err != nil {
		e.tell(Finding{Step: "name", Outcome: Fine, Text: fmt.Sprintf("%s is %s", host, listed(addresses)), Took: took})
	}
	var first error
	for _, a := range addresses {
		local, device, err := e.dialer.Way(within, a)
		if err == nil {
			e.tell(Finding{Step: "way", Outcome: Fine, Text: fmt.Sprintf("to %v from %v (%s)", a, local, device)})
			return true
		}
		if first == nil {
			first = err
		}
	}
	e.failed("way", first, 0)
	return false
}

func listed(all []netip.Addr) string {
	const most = 6
	var texts []string
	for i, a := range all {
		if i == most {
			texts = append(texts, "…")
			break
		}
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}

// secured tells of the TLS connection.
func (e *examination) secured(s *tls.ConnectionState, took time.Duration) {
	chain := s.PeerCertificates
	if len(s.VerifiedChains) > 0 {
		chain = s.VerifiedChains[0]
	}
	var names []string
	for _, c := range chain {
		name := c.Subject.CommonName
		if name == "" {
			name = c.Subject.String()
		}
		names = append(names, name)
	}
	f := Finding{Step: "TLS", Outcome: Fine, Took: took}
	f.Text = fmt.Sprintf("%s, for %s; chain %s", tls.VersionName(s.Version), e.dialer.Name(e.server.Server), strings.Join(names, " < "))
	if asked := e.b.cfg.TLS.ALPN; len(asked) > 0 {
		f.Text += fmt.Sprintf("; ALPN %s of %s", orNone(s.NegotiatedProtocol), strings.Join(asked, ", "))
	}
	soonest := chain[0]
	for _, c := range chain {
		if c.NotAfter.Before(soonest.NotAfter) {
			soonest = c
		}
	}
	f.Text += "; " + remaining(soonest)
	if endsSoon(soonest) {
		f.Outcome, f.Remedy = Doubtful, "have it renewed at the server"
	}
	e.tell(f)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// mqtt logs in, and has a message make the round trip.
func (e *examination) mqtt(ctx context.Context, raw net.Conn) {
	b := &Bridge{cfg: e.b.cfg, profile: e.b.profile} // no more of one is needed
	if !e.visit.OwnID {
		if b.profile.name == "azure-iot-hub" {
			e.tell(Finding{Step: "login", Outcome: Skipped, Text: "the hub knows a device by its own client id alone",
				Remedy: "-own-id logs in with it: a gateway that runs is disconnected for a moment"})
			return
		}
		b.cfg.ClientID += "-doctor"
	}
	shown, err := b.credentials(e.server.host())
	if err != nil {
		e.failed("login", err, 0)
		return
	}
	within, cancel := context.WithTimeout(ctx, e.visit.StepTimeout)
	defer cancel()
	g := b.newGuest(raw, shown, e.visit.OwnID)
	began := time.Now()
	if err := g.within(within, g.login); err != nil {
		e.refused(err, time.Since(began))
		return
	}
	f := Finding{Step: "login", Outcome: Fine, Text: "as " + b.cfg.ClientID + ": " + g.allows(b), Took: time.Since(began)}
	e.tell(f)
	e.roundTrip(ctx, g, b)
	g.leave()
	if g.own && !g.ack.SessionPresent && g.version != packet.V5 {
		e.forget(ctx, b, shown)
	}
}

// forget ends the session that a visit with the bridge's own id has made at an MQTT
// 3.1.1 server: the bridge would take it for its own.
func (e *examination) forget(ctx context.Context, b *Bridge, shown credentials) {
	within, cancel := context.WithTimeout(ctx, 2*e.visit.StepTimeout)
	defer cancel()
	opt := b.dialOptions(nil)
	d, err := dial.New(opt)
	var raw net.Conn
	if err == nil {
		raw, err = d.Dial(within, e.server.Server)
	}
	if err == nil {
		g := b.newGuest(raw, shown, false) // with a clean session, which is not kept
		err = g.within(within, g.login)
		g.leave()
	}
	if err != nil {
		e.tell(Finding{Step: "login", Outcome: Doubtful, Text: fmt.Sprintf("the session that was made could not be ended: %v", err),
			Remedy: "packetboat bridge reset " + b.cfg.Name})
	}
}

// refused tells of a login that failed.
func (e *examination) refused(err error, took time.Duration) {
	var no *refusedConnect
	var at *dial.Error
	switch {
	case late(err) == errLate:
		err = &noConnack{fmt.Errorf("no answer to CONNECT within %v", e.visit.StepTimeout)}
	case !errors.As(err, &no) && !errors.As(err, &at):
		err = &noConnack{fmt.Errorf("no MQTT %s answer to CONNECT: %w", e.b.cfg.Version, err)}
	}
	what, remedy := Diagnose(err)
	f := Finding{Step: "login", Outcome: Failed, Text: what, Remedy: remedy, Took: took}
	if at != nil { // with TLS 1.3, servers tell only now what they think of the client's certificate
		f.Step = stepOf(err)
	} else if !e.visit.OwnID {
		f.Remedy += "; if the server lets the bridge's own client id in alone, -own-id tries with it"
		if e.b.profile.name == "aws-iot" { // its policies mostly name the client
			f.Outcome = Doubtful
		}
	}
	e.tell(f)
}

// allows says what CONNACK does.
func (g *guest) allows(b *Bridge) string {
	a := &g.ack
	if g.version != packet.V5 {
		return "let in; MQTT 3.1.1 tells no limits"
	}
	receive, qos, expiry := 65535, byte(2), b.cfg.SessionExpiry
	if a.ReceiveMaximum > 0 {
		receive = int(a.ReceiveMaximum)
	}
	if a.HasMaximumQoS {
		qos = min(a.MaximumQoS, 2)
	}
	text := fmt.Sprintf("let in; receive maximum %d, maximum QoS %d", receive, qos)
	if a.MaxPacketSize > 0 {
		text += fmt.Sprintf(", packets of %v at most", config.Size(a.MaxPacketSize))
	}
	if a.RetainUnavailable {
		text += ", no RETAIN"
	}
	switch {
	case !g.own:
		text += ", session not kept (that of the bridge: asked for " + lasting(expiry) + ")"
	case a.HasSessionExpiry:
		text += ", session kept for " + lasting(time.Duration(a.SessionExpiry)*time.Second)
	default:
		text += ", session kept for " + lasting(expiry)
	}
	if a.HasServerKeepAlive {
		text += fmt.Sprintf(", keep alive %ds", a.ServerKeepAlive)
	}
	return text
}

// lasting is a duration as in the configuration.
func lasting(d time.Duration) string {
	if day := 24 * time.Hour; d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}

// roundTrip has a message go to the cloud and come back.
func (e *examination) roundTrip(ctx context.Context, g *guest, b *Bridge) {
	f := Finding{Step: "round trip", Outcome: Skipped}
	topic := doctorTopic(&b.cfg)
	switch why := b.profile.topicProblem(topic, e.b.cfg.ClientID); {
	case g.own && g.ack.SessionPresent:
		f.Text = "it would change the session that the bridge has there"
	case g.ack.HasMaximumQoS && g.ack.MaximumQoS == 0:
		f.Text = "the server takes QoS 0 only"
	case why != "":
		f.Text = fmt.Sprintf("topic %s: %s", topic, why)
	case b.profile.filterProblem(topic, e.b.cfg.ClientID) != "":
		f.Text = fmt.Sprintf("topic %s: %s", topic, b.profile.filterProblem(topic, e.b.cfg.ClientID))
	default:
		e.tell(e.tryRoundTrip(ctx, g, topic))
		return
	}
	e.tell(f)
}

func (e *examination) tryRoundTrip(ctx context.Context, g *guest, topic string) Finding {
	within, cancel := context.WithTimeout(ctx, e.visit.StepTimeout)
	defer cancel()
	began := time.Now()
	err := g.within(within, func() error { return g.roundTrip(topic, []byte("packetboat doctor "+rand.Text())) })
	f := Finding{Step: "round trip", Outcome: Fine, Text: "QoS 1 by " + topic, Took: time.Since(began)}
	switch {
	case err == nil:
	case errors.Is(err, errMayNotSubscribe), errors.Is(err, errMayNotPublish), errors.Is(err, errNotBack):
		f.Outcome, f.Text = Skipped, fmt.Sprintf("topic %s: %v", topic, err)
		f.Remedy = "none needed, if the bridge's own topics are allowed; else allow them at the server"
	default:
		f.Outcome, f.Text = Failed, fmt.Sprintf("topic %s: %v", topic, err)
		f.Remedy = "the server lets in and does not carry messages: see its log"
	}
	return f
}

// doctorTopic is beside the bridge's own topics: where it may publish that, it most
// likely may this.
func doctorTopic(c *config.Bridge) string {
	base := c.Gateway
	for _, own := range []string{c.Status, c.Gaps} {
		if i := strings.LastIndexByte(own, '/'); i > 0 {
			base = own[:i]
			break
		}
	}
	return base + "/doctor"
}
