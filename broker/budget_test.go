package broker

import (
	"runtime"
	"strings"
	"testing"

	"packetboat/broker/packet"
)

func TestUnfinishedConnectsShareABudget(t *testing.T) {
	r := rigTCP(t, Options{})
	r.b.connects.most = 20 << 10
	connect := packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: strings.Repeat("x", 30_000), CleanStart: true})
	first := r.dial()
	first.version = packet.V5
	first.send(connect[:20<<10])
	for r.b.connects.used.Load() != 16<<10 {
		runtime.Gosched() // it has not read all of it
	}
	second := r.dial()
	second.send(connect[:12<<10])
	if _, _, _, err := second.next(); err == nil {
		t.Error("one that goes beyond the budget is answered")
	}
	third := r.dial()
	third.version = packet.V5
	third.send(packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: "small", CleanStart: true}))
	if ack := third.wantConnack(); ack.Code != packet.Success {
		t.Errorf("a small one: code %02x", ack.Code)
	}
	first.send(connect[20<<10:])
	if ack := first.wantConnack(); ack.Code != packet.Success {
		t.Errorf("the first, when it is complete: code %02x", ack.Code)
	}
	if n := r.b.connects.used.Load(); n != 0 {
		t.Errorf("%d bytes are still taken", n)
	}
}

func TestWhatWaitsBeyondAFairShareComesFromABudget(t *testing.T) {
	r := rigPipes(t, Options{})
	r.b.outputs.most = 100
	one, two := &conn{b: r.b}, &conn{b: r.b}
	for _, step := range []struct {
		what string
		c    *conn
		size int
		ok   bool
		used int64
	}{
		{"a fair share", one, fairOutput, true, 0},
		{"some more", one, fairOutput + 60, true, 60},
		{"less does not give back while it waits", one, fairOutput + 10, true, 60},
		{"another's fair share", two, fairOutput, true, 60},
		{"all that is left", two, fairOutput + 40, true, 100},
		{"no more is left", two, fairOutput + 41, false, 100},
		{"for neither", one, fairOutput + 61, false, 100},
	} {
		if ok := step.c.mayWaitLocked(step.size); ok != step.ok || r.b.outputs.used.Load() != step.used {
			t.Errorf("%s: %v, %d used", step.what, ok, r.b.outputs.used.Load())
		}
	}
	one.waitsLessLocked() // nothing waits any more
	if n := r.b.outputs.used.Load(); n != 40 {
		t.Errorf("%d used after one has written all", n)
	}
	if !two.mayWaitLocked(fairOutput + 100) {
		t.Error("what was given back cannot be taken")
	}
}
