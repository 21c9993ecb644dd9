package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"packetboat/bridge/dial"
	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

// cleans are the Clean Start flags of all CONNECTs, "C" or "r" for resumed.
func (c *cloud) cleans() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var s strings.Builder
	for _, p := range c.connects {
		if p.CleanStart {
			s.WriteByte('C')
		} else {
			s.WriteByte('r')
		}
	}
	return s.String()
}

func TestASessionIsResumedOnlyWhereItWasLastLive(t *testing.T) {
	r := newRig(t, nil)
	life := func() {
		r.start()
		r.run()
		r.awaitState(Online)
		r.stop()
	}
	life() // a new consumer
	life() // the same again
	r.cfg.ClientID = "gw2"
	life() // another client id
	life()
	r.cfg.Servers = []string{"mqtt://other.test"}
	life() // another server
	life()
	r.start()
	r.store.Delete(SessionKey("cloud"))
	r.stop()
	life() // reset
	r.start()
	r.store.Remove("bridge/cloud/3")
	r.stop()
	life() // a lane is new, its identifiers begin anew
	life()
	if got := r.cloud.cleans(); got != "CrrCrrCrrCrCrr" {
		t.Errorf("CONNECTs were %s, want CrrCrrCrrCrCrr", got)
	}
	for i, p := range r.cloud.connects {
		if rigVersion != 5 {
			break
		}
		if p.SessionExpiry != 3600 || p.KeepAlive != 30 || p.ReceiveMaximum != 64 {
			t.Errorf("CONNECT %d: %+v", i, p)
		}
	}
}

// TestABridgeThatComesBackDoesNotResumeAnothersSession: one of another name has used
// the client id meanwhile, and so the identifiers of the session.
func TestABridgeThatComesBackDoesNotResumeAnothersSession(t *testing.T) {
	for _, shared := range []bool{false, true} {
		r := newRig(t, nil)
		r.cfg.SharedSessions = shared
		life := func(name, server, client string) {
			r.cfg.Name, r.cfg.Servers, r.cfg.ClientID = name, []string{"mqtt://" + server}, client
			r.start()
			r.run()
			r.awaitState(Online)
			r.stop()
		}
		life("cloud", "cloud.test", "gw")
		life("new", "cloud.test", "gw")   // takes the session over
		life("cloud", "cloud.test", "gw") // and back
		life("cloud", "cloud.test", "gw")
		life("new", "cloud.test", "gw")
		life("third", "cloud.test", "own")
		life("fourth", "other.test", "gw")
		life("new", "cloud.test", "gw")
		if got := r.cloud.cleans(); got != "CrCrCrrCrCrCrr" {
			t.Errorf("shared %v: CONNECTs were %s, want CrCrCrrCrCrCrr", shared, got)
		}
	}
}

func TestSharedServersAreOne(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) { c.SharedSessions = true })
	for _, s := range []string{"mqtt://a.test", "mqtt://b.test"} {
		r.cfg.Servers = []string{s}
		r.start()
		r.run()
		r.awaitState(Online)
		r.stop()
	}
	if got := r.cloud.cleans(); got != "Crr" {
		t.Errorf("CONNECTs were %s, want Crr", got)
	}
}

func TestACloudThatForgotTheSession(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			r := newRig(t, nil)
			r.cloud.mute = true
			r.start()
			r.publishMany("t", 0, 10, qos)
			r.run()
			r.cloud.await(t, "10 messages", func() bool { return len(r.cloud.got) >= 10 })
			r.cloud.do(func() {
				r.cloud.mute = false
				clear(r.cloud.sessions)
				r.cloud.got, r.cloud.frames = nil, nil
			})
			r.cloud.cut()
			r.cloud.await(t, "10 messages again", func() bool { return len(r.cloud.got) >= 10 })
			r.awaitIdle()
			if got := r.cloud.payloads(); !slices.Equal(got, numbers(0, 10)) {
				t.Errorf("got %v", got)
			}
			for _, f := range r.cloud.frames {
				if strings.Contains(f, "dup") {
					t.Errorf("to a server that has never seen it: %s", f)
				}
			}
			if s := r.bridge.Stats(); s.SessionsLost != 1 || s.Reconnects != 1 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestReleasedMessagesGoAgainToACloudThatForgot(t *testing.T) {
	r := newRig(t, nil)
	// PUBREC arrives, PUBREL does not: many servers would not have handed the
	// messages on, and forget them with the session. This one has.
	r.faults.set(func(up bool, typ byte, _ []byte) verdict {
		if up && typ == packet.PUBREL {
			return swallow
		}
		return pass
	})
	r.start()
	r.publishMany("t", 0, 10, 2)
	r.run()
	released := func() int {
		n := 0
		for id := uint16(1); id <= 10; id++ {
			if _, rel, ok := r.bridge.lanes[0].consumer.Seq(id); ok && rel {
				n++
			}
		}
		return n
	}
	r.await("10 released", func() bool { return released() == 10 })
	r.faults.set(nil)
	r.cloud.do(func() { clear(r.cloud.sessions) })
	r.cloud.cut()
	r.awaitIdle()
	if got := r.cloud.payloads(); !slices.Equal(got, append(numbers(0, 10), numbers(0, 10)...)) {
		t.Errorf("got %v", got)
	}
}

func TestAServerThatResumesWhatItWasToldToDrop(t *testing.T) {
	r := newRig(t, nil)
	r.cloud.onConnect = func(_ *packet.Connect, a *packet.Connack) {
		a.SessionPresent = true
		if r.cloud.sessions["gw1"] == nil {
			r.cloud.sessions["gw1"] = &cloudSession{}
		}
	}
	r.start()
	r.publishMany("t", 0, 1, 1)
	r.run()
	s := r.awaitState(BackingOff)
	if !errors.Is(s.Err, errSessionPresent) {
		t.Errorf("state %v", s)
	}
	r.halt()
	if len(r.cloud.got) > 0 {
		t.Error("something was sent on it")
	}
}

// Two servers with sessions of ours: identifiers of the one mean nothing to
// the other.
func TestFailoverAndBack(t *testing.T) {
	a, b := newCloud(), newCloud()
	t.Cleanup(a.close)
	t.Cleanup(b.close)
	up := map[string]*cloud{"a.test:1883": a, "b.test:1883": b}
	r := newRig(t, func(c *config.Bridge) {
		c.Servers = []string{"mqtt://a.test", "mqtt://b.test"}
		c.Inflight = 5
	})
	r.start()
	dead := map[string]bool{}
	gate := newFaults() // only as a lock for dead
	r.bridge.dial = func(_ context.Context, s dial.Server) (net.Conn, error) {
		gate.mu.Lock()
		defer gate.mu.Unlock()
		if dead[s.Address] {
			return nil, errors.New("no route to host")
		}
		return up[s.Address].dial(nil)
	}
	kill := func(address string, is bool) {
		gate.mu.Lock()
		dead[address] = is
		gate.mu.Unlock()
		up[address].cut()
	}
	// a holds five identifiers for which it gives no answer.
	a.mute = true
	r.publishMany("t", 0, 10, 2)
	r.run()
	a.await(t, "5 messages at a", func() bool { return len(a.got) >= 5 })
	kill("a.test:1883", true)
	b.await(t, "10 messages at b", func() bool { return len(b.got) >= 10 })
	r.awaitIdle()
	// Back to a, where identifiers 1 to 5 are still held: nothing new may be
	// swallowed. The identifiers are made to come round by a crafted session.
	a.do(func() {
		a.mute = false
		a.got = nil
		for id := uint16(1); id <= 200; id++ {
			a.sessions["gw1"].held[id] = true
		}
	})
	gate.mu.Lock()
	dead["a.test:1883"] = false
	gate.mu.Unlock()
	b.cut() // b answers still, so the session stays there
	r.publishMany("t", 10, 10, 2)
	b.await(t, "20 messages at b", func() bool { return len(b.got) >= 20 })
	r.awaitIdle()
	kill("b.test:1883", true)
	r.publishMany("t", 20, 10, 2)
	a.await(t, "10 new messages at a", func() bool { return len(a.got) >= 10 })
	r.awaitIdle()
	if got := b.payloads(); !slices.Equal(got, numbers(0, 20)) {
		t.Errorf("b got %v", got)
	}
	if got := a.payloads(); !slices.Equal(got, numbers(20, 10)) {
		t.Errorf("a got %v", got)
	}
	if a, b := a.cleans(), b.cleans(); a != "CrCr" || b != "Crr" {
		t.Errorf("CONNECTs at a %s, want CrCr; at b %s, want Crr", a, b)
	}
}

func TestNothingIsSentBeforeTheNewSessionIsOnDisk(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) { c.Down = []config.Down{down("cmd", "{topic}", 2)} })
	r.start()
	r.publishMany("t", 0, 3, 1)
	r.gate.shut()
	r.run()
	r.cloud.await(t, "CONNECT", func() bool { return len(r.cloud.connects) == 1 })
	r.gate.awaitCaught(t)
	r.cloud.do(func() {
		if len(r.cloud.frames) != 1 {
			t.Errorf("before the record was durable: %q", r.cloud.frames)
		}
	})
	r.gate.open()
	r.cloud.await(t, "3 messages", func() bool { return len(r.cloud.got) >= 3 })
	r.awaitIdle()
}

func TestPubrelWaitsForTheDisk(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	r.run()
	r.awaitState(Online)
	r.cloud.onPublish = func(*packet.Publish) (byte, bool) {
		r.gate.shut() // from the PUBREC on
		return 0, true
	}
	r.publish(store.Message{Topic: "t", Payload: []byte("x"), QoS: 2})
	r.gate.awaitCaught(t)
	r.cloud.do(func() {
		if slices.Contains(r.cloud.frames, "PUBREL 1 00") {
			t.Error("PUBREL left before the release was durable")
		}
	})
	r.gate.open()
	r.cloud.await(t, "PUBREL", func() bool { return slices.Contains(r.cloud.frames, "PUBREL 1 00") })
	r.awaitIdle()
}

func TestUnknownIdentifiersAreAnswered(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	r.run()
	r.awaitState(Online)
	var out []byte
	out = packet.AppendAck(out, packet.V5, packet.PUBACK, 5, 0)
	out = packet.AppendAck(out, packet.V5, packet.PUBCOMP, 6, 0)
	out = packet.AppendAck(out, packet.V5, packet.PUBREC, 7, 0)
	out = packet.AppendAck(out, packet.V5, packet.PUBREC, 65534, 0)
	out = packet.AppendAck(out, packet.V5, packet.PUBREC, 8, 0x97)
	out = packet.AppendAck(out, packet.V5, packet.PUBREL, 9, 0)
	r.cloud.raw("gw1", out)
	r.cloud.await(t, "the answers", func() bool {
		return slices.Equal(r.cloud.talkLocked()[2:], []string{"PUBREL 7 92", "PUBREL 65534 92", "PUBCOMP 9 00"})
	})
	if s := r.bridge.State(); s.Phase != Online {
		t.Errorf("state %v", s)
	}
}
