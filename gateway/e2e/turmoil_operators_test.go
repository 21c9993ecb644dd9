package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"packetboat/cmd/packetboat/sim"
)

// operators work on the queues of a gateway in turmoil.
type operators struct {
	*turmoil
	doomed, deep *sim.Source
	purged       uint64 // of the bridge with doomed
	resets       int    // of bridge cloud
	replayed     int
	moved        uint64
	did          map[string]int
}

// operated adds bridges for what operators do: what comes to "doomed" is purged, what
// "deep" sends has a topic that the cloud refuses, in the second version of its rule.
func operated(x *turmoil) {
	bridge := func(name, server, more string) string {
		return fmt.Sprintf("[[bridge]]\nname = %q\nclient_id = %q\nservers = [\"mqtt://%s\"]\nbackoff = { min = \"10ms\", max = \"100ms\", stable = \"1s\" }\nstatus = \"\"\ngaps = \"\"\n[[bridge.up]]\nfilter = \"%s/#\"\n%s\n",
			name, name, server, name, more)
	}
	x.knobs = append(x.knobs,
		knob{name: "deep", versions: []string{bridge("deep", x.at.cloud, ""), bridge("deep", x.at.cloud, "topic = \"1/2/3/4/5/6/7/{1}\"")}},
		knob{name: "doomed", versions: []string{
			bridge("doomed", x.at.cloud, ""), bridge("doomed", x.at.cloud, "topic = \"doomed/else/{1}\""), bridge("doomed", x.at.nobody, ""),
		}},
	)
}

// take takes the bridge second away.
func (o *operators) take() {
	o.t.Helper()
	for i := range o.knobs {
		if o.knobs[i].name == "second" {
			o.knobs[i].now = 1 + o.r.IntN(2)
		}
	}
	o.write(o.knobs.String())
	o.asked()
}

// operate does one thing.
func (o *operators) operate() {
	o.t.Helper()
	kind := []string{"purge", "reset", "kick", "replay", "move", "rename"}[o.r.IntN(6)]
	switch kind {
	case "purge":
		o.purged += o.g.purge("bridge/doomed/0")
	case "reset":
		o.must("bridge", "reset", []string{"cloud", "second", "deep"}[o.r.IntN(3)])
		o.resets++
	case "kick":
		if out, code := o.g.tool("kick", []string{"one", "two", "lanes", "other"}[o.r.IntN(4)]); code != 0 && !strings.Contains(out, "no such client") {
			o.t.Errorf("kick: %d, %s", code, out)
		}
	case "replay":
		o.replay()
	case "move":
		o.take()
		o.move()
	case "rename":
		o.take()
		o.must("queue", "rename", "bridge/second", "bridge/parked")
		if o.r.IntN(3) == 0 {
			o.kill()
		}
		o.must("queue", "rename", "bridge/parked", "bridge/second")
	}
	o.did[kind]++
}

func (o *operators) must(args ...string) string {
	o.t.Helper()
	out, code := o.g.tool(args...)
	if code != 0 {
		o.t.Fatalf("packetboat %v: exit code %d: %s", args, code, out)
	}
	return out
}

// replay has all dead letters go once more.
func (o *operators) replay() {
	o.t.Helper()
	out := o.must("queue", "replay", "bridge/deep/dead")
	var n int
	if _, err := fmt.Sscanf(out, "bridge/deep/dead: %d messages", &n); err != nil {
		o.t.Fatalf("replay: %s", out)
	}
	o.replayed += n
}

// move exports what waits for a bridge that is not there, purges and imports it.
func (o *operators) move() {
	o.t.Helper()
	const queue = "bridge/second/0"
	before := o.g.queue(queue)
	var export, told bytes.Buffer
	c := exec.Command(binary, "queue", "export", queue, "-config", o.g.config)
	c.Stdout, c.Stderr = &export, &told
	if err := c.Run(); err != nil {
		o.t.Fatalf("export: %v, %s", err, told.String())
	}
	lines := uint64(bytes.Count(export.Bytes(), []byte("\n")))
	// What the cloud has, and only its PUBCOMP is missing, is neither exported nor purged.
	n, after := o.g.purge(queue), o.g.queue(queue)
	if n != lines || n != before.Messages-after.Messages {
		o.t.Errorf("%d were exported, %d purged; %d waited, and now %d", lines, n, before.Messages, after.Messages)
	}
	if o.r.IntN(3) == 0 {
		o.kill()
	}
	c = exec.Command(binary, "queue", "import", queue, "-config", o.g.config)
	c.Stdin = &export
	out, err := c.CombinedOutput()
	if err != nil {
		o.t.Fatalf("import: %v, %s", err, out)
	}
	if want := fmt.Sprintf("%s: %d messages queued", queue, lines); !strings.Contains(string(out), want) {
		o.t.Errorf("import: %s; want %s", out, want)
	}
	o.moved += lines
}

// TestOperatorsInTurmoil: queues are purged, moved, renamed and replayed, sessions at the
// cloud reset and clients kicked, while the configuration changes and the gateway is
// killed. What was purged is counted exactly; nothing else is lost.
func TestOperatorsInTurmoil(t *testing.T) {
	t.Parallel()
	x := newTurmoilWith(t, false, "[broker]\nmax_topic_levels = 6\n", operated)
	o := &operators{turmoil: x, did: map[string]int{}}
	o.doomed = x.tally.Add(sim.Source{Name: "doomed", Kind: "QoS 2, purged now and then", Once: true})
	o.deep = x.tally.Add(sim.Source{Name: "deep", Kind: "QoS 2, refused now and then"})
	for _, s := range []*sim.Source{o.doomed, o.deep} {
		p := &sim.Publisher{Addr: relay(t, x.at.doors[:2]...), Topic: s.Name + "/x", QoS: 2, Source: s, Rate: 400, Stop: x.stop}
		x.start(p.Run)
	}
	for range scale(40, 500) {
		x.round(1, 10)
		o.operate()
	}
	x.calm()
	t.Logf("%v, %d resets, %d replayed, %d moved, %d purged", o.did, o.resets, o.replayed, o.moved, o.purged)
	await(t, patience, "no dead letter is left", func() bool {
		if n := x.g.queue("bridge/deep/dead").Messages; n == 0 {
			return o.deep.Waiting() == 0
		}
		o.replay()
		return false
	})
	o.account()
	x.g.stop()
}

// account compares what is missing with what was purged.
func (o *operators) account() {
	o.t.Helper()
	// What waits at the cloud ends with a session that is reset: commands are not
	// looked at.
	for _, s := range o.tally.Sources() {
		if s != o.doomed {
			await(o.t, patience, s.Name+" has arrived", func() bool { return s.Waiting() == 0 })
		}
	}
	o.g.await("the queues are empty", func() bool { return o.waitingBut("bridge/") == 0 })
	for _, s := range o.tally.Sources() {
		c := s.Counts()
		o.t.Logf("%s (%s): %+v", s.Name, s.Kind, c)
		if s.Once && c.Duplicates > uint64(200*o.resets) {
			o.t.Errorf("%s: %d arrived twice", s.Name, c.Duplicates)
		}
		if c.Disordered > 0 && (s == o.one || s == o.two || s == o.doomed) {
			o.t.Errorf("%s: %d arrived out of order", s.Name, c.Disordered)
		}
	}
	q := o.g.queue("bridge/doomed/0")
	missing := o.doomed.Counts().Missing
	if q.Lost["purged"] != o.purged || missing > o.purged || o.purged == 0 {
		o.t.Errorf("%d were purged by operators, the ledger has %v; %d are missing", o.purged, q.Lost, missing)
	}
	o.t.Logf("doomed: %d purged, %d missing", o.purged, missing)
	if out, code := o.g.tool("queue", "verify"); code != 0 {
		o.t.Errorf("queue verify: exit code %d: %s", code, tail(out, 20))
	}
}

// waitingBut is how many messages wait in queues of that kind; each ledger is right.
func (o *operators) waitingBut(kind string) (n uint64) {
	o.t.Helper()
	c := o.api()
	defer c.Close()
	all, err := c.Queues(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	for _, q := range all.Queues {
		if strings.HasPrefix(q.Queue, kind) {
			n += q.Messages
		}
		sum := q.Delivered + q.Messages
		for _, lost := range q.Lost {
			sum += lost
		}
		if q.Accepted != sum {
			o.t.Errorf("%s: accepted %d, delivered %d, waiting %d, lost %v", q.Queue, q.Accepted, q.Delivered, q.Messages, q.Lost)
		}
	}
	return n
}
