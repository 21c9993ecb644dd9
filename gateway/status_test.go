package gateway

import (
	"errors"
	"testing"
	"time"

	"packetboat/bridge"
	"packetboat/gateway/admin"
)

func TestTheStatusLineSaysWhatIsWrongFirst(t *testing.T) {
	online := bridgeState{name: "cloud", state: bridge.State{Phase: bridge.Online}, waiting: 3}
	refused := bridgeState{name: "cloud", state: bridge.State{
		Phase: bridge.Refused, Until: time.Now(), Err: errors.New("h:1883: refused with 0x87\nnot authorized")}, waiting: 40000}
	for _, c := range []struct {
		name string
		s    snapshot
		want string
	}{
		{"all is well", snapshot{bridges: []bridgeState{online}, adapters: 2, ready: 2, clients: 5},
			"bridge cloud online, 3 waiting; 2 of 2 adapters ready; 5 MQTT clients"},
		{"the cloud refuses; one line all the same", snapshot{bridges: []bridgeState{refused}, clients: 1},
			"bridge cloud refused, 40000 waiting (h:1883: refused with 0x87, not authorized); 1 MQTT client"},
		{"a disk that fails is the first thing to know",
			snapshot{failed: errors.New("no space left on device"), paused: 1, closed: []string{"0.0.0.0:1883"}, adapters: 1},
			"THE DISK QUEUE CANNOT WRITE: no space left on device; not listening on 0.0.0.0:1883; 1 device held up by the full queue; 0 of 1 adapters ready; 0 MQTT clients"},
	} {
		if got := c.s.String(); got != c.want {
			t.Errorf("%s:\n%s\nnot\n%s", c.name, got, c.want)
		}
	}
}

func TestAProblemIsOneLine(t *testing.T) {
	s := snapshot{bridges: []bridgeState{{name: "cloud", state: bridge.State{
		Phase: bridge.BackingOff, Err: errors.Join(errors.New("a:1883: no"), errors.New("b:1883: neither"))}, waiting: 3}}}
	got, want := s.problems(), admin.Problem{
		What:   "bridge cloud is backing off: a:1883: no; b:1883: neither",
		Remedy: "3 messages wait on the disk, the oldest for 0s; they go when it is online",
		Of:     "bridge/cloud",
	}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v, not %+v", got, want)
	}
}

func TestTheLogIsToldOfChangesAndNotOfNumbersThatMove(t *testing.T) {
	with := func(change func(s *snapshot)) snapshot {
		s := snapshot{bridges: []bridgeState{{state: bridge.State{Phase: bridge.Online}, waiting: 3}}, adapters: 2, ready: 2, clients: 5}
		if change != nil {
			change(&s)
		}
		return s
	}
	for _, c := range []struct {
		name   string
		change func(s *snapshot)
		want   bool
	}{
		{"nothing", nil, false},
		{"a few more that wait", func(s *snapshot) { s.bridges[0].waiting = 90 }, false},
		{"many more", func(s *snapshot) { s.bridges[0].waiting = 900 }, true},
		{"clients come", func(s *snapshot) { s.clients = 9 }, false},
		{"the link is down", func(s *snapshot) { s.bridges[0].state.Phase = bridge.BackingOff }, true},
		{"an adapter's port is gone", func(s *snapshot) { s.ready = 1 }, true},
		{"the disk fails", func(s *snapshot) { s.failed = errors.New("x") }, true},
		{"a device is held up", func(s *snapshot) { s.paused = 1 }, true},
		{"a listener is closed", func(s *snapshot) { s.closed = []string{"x"} }, true},
	} {
		if got := with(c.change).worthTelling(with(nil)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
