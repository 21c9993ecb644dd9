package demo

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"packetboat/cmd/packetboat/sim"
)

func TestTheCountSaysWhetherThePromiseWasKept(t *testing.T) {
	for _, c := range []struct {
		name   string
		row    row
		broken bool
		shows  string
	}{
		{"all arrived", row{Counts: sim.Counts{Written: 5, Acked: 5, Arrived: 5}}, false, "lost 0,"},
		{"one acknowledged is missing", row{Counts: sim.Counts{Written: 5, Acked: 5, Arrived: 4, Missing: 1}}, true, "lost 1,"},
		{"a duplicate at QoS 1 is allowed", row{Counts: sim.Counts{Written: 5, Acked: 5, Arrived: 5, Duplicates: 2}}, false, "duplicates 2"},
		{"at QoS 2 it is not", row{once: true, Counts: sim.Counts{Written: 5, Acked: 5, Arrived: 5, Duplicates: 1}}, true, "NOT KEPT"},
		{"order matters", row{Counts: sim.Counts{Written: 5, Acked: 5, Arrived: 5, Disordered: 1}}, true, "1 x broken"},
		{"a serial line of the time around the kill is excused and told",
			row{silent: true, around: 9, excused: 2, Counts: sim.Counts{Written: 50, Arrived: 48, Missing: 2}}, false, "9, of which 2 did not arrive"},
		{"one of another time is lost", row{silent: true, around: 9, excused: 1, Counts: sim.Counts{Written: 50, Arrived: 48, Missing: 2}}, true, "lost 1,"},
	} {
		r := report{rows: []row{c.row}}
		if r.broken() != c.broken {
			t.Errorf("%s: broken is %v", c.name, r.broken())
		}
		var b bytes.Buffer
		r.write(&b)
		if !strings.Contains(b.String(), c.shows) || strings.Contains(b.String(), "NOT KEPT") != c.broken {
			t.Errorf("%s: shown as\n%s", c.name, b.String())
		}
	}
	if r := (report{strange: 1}); !r.broken() {
		t.Error("what nobody sent is no break")
	}
}

func TestACutLinkEndsConnectionsAndTakesNone(t *testing.T) {
	far, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	l, err := newLink(far.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var s stopper
	s.start(l.run)
	defer s.stop()
	through := func() (near, other net.Conn) {
		near, err := net.Dial("tcp", l.addr())
		if err != nil {
			t.Fatal(err)
		}
		other, err = far.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return near, other
	}
	hears := func(from, to net.Conn) {
		if _, err := io.WriteString(from, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(to, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	a, b := through()
	hears(a, b)
	hears(b, a)
	l.Cut()
	for _, c := range []net.Conn{a, b} {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection outlives the cut")
		}
		c.Close()
	}
	c, err := net.Dial("tcp", l.addr())
	if err == nil { // taken by the kernel, and closed
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection comes through a cut link")
		}
		c.Close()
	}
	l.Restore()
	a, b = through()
	hears(a, b)
	a.Close()
	b.Close()
}

func TestAGatewayThatCannotStartIsTold(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"a command that is not there", []string{dir + "/none"}, "start the gateway"},
		{"one that ends at once", []string{"false"}, "it should have listened"},
	} {
		var out bytes.Buffer
		err := Run(context.Background(), Options{Once: true, Gateway: c.args, Dir: dir, Out: &out})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
