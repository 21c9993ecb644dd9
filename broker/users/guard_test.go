package users

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func newGuard(most, size int) *guard {
	g := &guard{size: size, from: make(map[netip.Addr]*failures)}
	g.most.Store(int64(most))
	return g
}

var day = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return day.Add(time.Duration(seconds) * time.Second) }

func TestAnAddressIsRefusedForAMinute(t *testing.T) {
	g := newGuard(3, 10)
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	refused := func(a netip.Addr, seconds int) bool {
		is, _ := g.refused(a, at(seconds))
		return is
	}
	g.failed(a, at(0))
	g.failed(a, at(1))
	g.failed(a, at(61)) // those before are forgotten
	if g.failed(a, at(62)) || refused(a, 62) {
		t.Error("refused too early")
	}
	if !g.failed(a, at(63)) || !refused(a, 63) || !refused(a, 122) || refused(b, 63) {
		t.Error("not refused, or somebody else")
	}
	if g.failed(a, at(64)) { // was under way
		t.Error("refused anew")
	}
	if refused(a, 123) {
		t.Error("refused for longer than a minute")
	}
	if g.failed(a, at(124)) || refused(a, 124) {
		t.Error("refused for one failure")
	}
}

func TestWithoutALimitOrAnAddressNobodyIsRefused(t *testing.T) {
	for most, a := range map[int]netip.Addr{0: netip.MustParseAddr("10.0.0.1"), 1: {}} {
		g := newGuard(most, 10)
		for range 10 {
			g.failed(a, at(0))
		}
		if refused, _ := g.refused(a, at(0)); refused || len(g.from) != 0 {
			t.Error("refused")
		}
	}
}

func TestOneAddressInItsForms(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1", "::ffff:10.0.0.1", true},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::1", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
		{"10.0.0.1", "10.0.0.2", false},
	} {
		g := newGuard(1, 10)
		g.failed(netip.MustParseAddr(c.a), at(0))
		if refused, _ := g.refused(netip.MustParseAddr(c.b), at(0)); refused != c.same {
			t.Errorf("%s and %s: %v", c.a, c.b, refused)
		}
	}
}

func TestAKnownPasswordPassesUntilOthersAreGuessed(t *testing.T) {
	g := newGuard(2, 10)
	a := netip.MustParseAddr("10.0.0.1")
	g.failed(a, at(0))
	g.failed(a, at(0))
	for _, want := range []bool{true, true, false, false} {
		refused, unlessKnown := g.refused(a, at(1))
		if !refused || unlessKnown != want {
			t.Errorf("%v, %v", refused, unlessKnown)
		}
		g.guessed(a, at(1))
	}
	if _, unlessKnown := g.refused(a, at(61)); !unlessKnown {
		t.Error("not even after the minute")
	}
}

func TestTheMemoryOfAddressesIsBounded(t *testing.T) {
	g := newGuard(2, 100)
	for i := range 1000 {
		g.failed(netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", i/200, i%200)), at(0))
	}
	if len(g.from) != 100 {
		t.Errorf("%d addresses", len(g.from))
	}
	g.failed(netip.MustParseAddr("10.1.0.0"), at(61))
	if len(g.from) != 1 {
		t.Errorf("%d addresses after a minute", len(g.from))
	}
}
