package bridge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

func numbers(from, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(from + i)
	}
	return list
}

// firsts is list without what occurred before.
func firsts(list []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool {
		defer func() { seen[s] = true }()
		return seen[s]
	})
}

func TestWhatWasQueuedOfflineArrivesInOrder(t *testing.T) {
	for qos := range byte(3) {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			r := newRig(t, nil)
			r.start()
			r.publishMany("t", 0, 500, qos)
			r.run()
			r.cloud.await(t, "500 messages", func() bool { return len(r.cloud.got) >= 500 })
			r.publishMany("t", 500, 100, qos)
			r.cloud.await(t, "100 more", func() bool { return len(r.cloud.got) >= 600 })
			r.awaitIdle()
			if got := r.cloud.payloads(); !slices.Equal(got, numbers(0, 600)) {
				t.Errorf("got %v", got)
			}
			for _, p := range r.cloud.got {
				if p.QoS != qos || p.Topic != "t" {
					t.Fatalf("got %+v, want QoS %d", p, qos)
				}
			}
		})
	}
}

func TestACutAtAnyPacketBoundaryLosesAndRepeatsNothing(t *testing.T) {
	for _, v := range []verdict{cutBefore, cutAfter} {
		for at := 0; ; at++ {
			r := newRig(t, func(c *config.Bridge) { c.Inflight = 3 })
			n, wasCut := 0, false
			r.faults.set(func(bool, byte, []byte) verdict {
				if n++; n == at+1 {
					wasCut = true
					return v
				}
				return pass
			})
			r.start()
			r.publishMany("t", 0, 5, 2)
			r.run()
			r.cloud.await(t, "5 messages", func() bool { return len(r.cloud.got) >= 5 })
			r.awaitIdle()
			r.stop()
			r.faults.set(nil) // and nobody judges any more
			if got := r.cloud.payloads(); !slices.Equal(got, numbers(0, 5)) {
				t.Fatalf("cut (%d) at packet %d: got %v; packets %v", v, at, got, r.cloud.frames)
			}
			if !wasCut {
				if at < 20 {
					t.Errorf("only %d packets passed", at)
				}
				break
			}
		}
	}
}

func TestQoS2StaysExactlyOnceOverManyCuts(t *testing.T) {
	r := newRig(t, nil)
	rng := rand.New(rand.NewPCG(7, 7))
	cuts, n := 0, 0
	r.faults.set(func(bool, byte, []byte) verdict {
		if n++; cuts < 60 && rng.IntN(100) == 0 {
			cuts++
			return verdict(2 + rng.IntN(2))
		}
		return pass
	})
	r.start()
	r.publishMany("t", 0, 1500, 2)
	r.run()
	r.publishMany("t", 1500, 500, 2)
	r.cloud.await(t, "2000 messages", func() bool { return len(r.cloud.got) >= 2000 })
	r.awaitIdle()
	r.faults.set(nil) // and nobody counts any more
	if got := r.cloud.payloads(); !slices.Equal(got, numbers(0, 2000)) {
		t.Errorf("not each exactly once and in order: %v", got)
	}
	if cuts < 20 {
		t.Errorf("only %d cuts in %d packets", cuts, n)
	}
}

func TestQoS1IsRepeatedOnlyWithinTheWindow(t *testing.T) {
	r := newRig(t, nil)
	rng := rand.New(rand.NewPCG(8, 8))
	cuts := 0
	r.faults.set(func(bool, byte, []byte) verdict {
		if cuts < 30 && rng.IntN(60) == 0 {
			cuts++
			return cutBefore
		}
		return pass
	})
	r.start()
	r.publishMany("t", 0, 2000, 1)
	r.run()
	r.awaitIdle()
	r.faults.set(nil) // and nobody counts any more
	got := r.cloud.payloads()
	if f := firsts(got); !slices.Equal(f, numbers(0, 2000)) {
		t.Errorf("first occurrences: %v", f)
	}
	if more := len(got) - 2000; more > r.cfg.Inflight*cuts {
		t.Errorf("%d repeats after %d cuts", more, cuts)
	}
	if cuts < 10 {
		t.Errorf("only %d cuts", cuts)
	}
}

func TestRepeatsAfterACutHaveDupAndTheSameIdentifier(t *testing.T) {
	r := newRig(t, nil)
	r.cloud.mute = true
	r.start()
	r.publishMany("t", 0, 3, 1)
	r.run()
	r.cloud.await(t, "3 messages", func() bool { return len(r.cloud.got) >= 3 })
	r.cloud.do(func() { r.cloud.mute = false })
	r.cloud.cut()
	r.awaitIdle()
	want := []string{
		"CONNECT clean=true", "CONNECT clean=false", "PUBLISH 1 1 0", "PUBLISH 1 2 1", "PUBLISH 1 3 2",
		"CONNECT clean=false", "PUBLISH 1 1 dup 0", "PUBLISH 1 2 dup 1", "PUBLISH 1 3 dup 2",
	}
	if got := r.cloud.talk(); !slices.Equal(got, want) {
		t.Errorf("packets %q, want %q", got, want)
	}
}

func TestNeverMoreInFlightThanTheServerTakes(t *testing.T) {
	for _, tt := range []struct {
		name        string
		ours, their int
		want        int
	}{
		{"ours is lower", 10, 100, 10},
		{"the server's is lower", 50, 7, 7},
		{"one at a time", 50, 1, 1},
		{"the server gives none", 20, 0, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(c *config.Bridge) { c.Inflight = tt.ours })
			held, most := map[uint16]bool{}, 0
			r.cloud.onConnect = func(_ *packet.Connect, a *packet.Connack) { a.ReceiveMaximum = uint16(tt.their) }
			r.faults.set(func(up bool, typ byte, frame []byte) verdict {
				id := func(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }
				switch {
				case up && typ == packet.PUBLISH:
					held[id(frame[packet.PublishID(frame):])] = true
					most = max(most, len(held))
				case !up && (typ == packet.PUBACK || typ == packet.PUBCOMP):
					delete(held, id(frame[2:]))
				}
				return pass
			})
			r.start()
			r.publishMany("t", 0, 100, 2)
			r.publishMany("t", 100, 100, 1)
			r.run()
			r.awaitIdle()
			r.faults.set(nil) // and nobody counts any more
			if most > tt.want {
				t.Errorf("%d in flight, want at most %d", most, tt.want)
			}
			if got := r.cloud.payloads(); !slices.Equal(got, numbers(0, 200)) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestHigherLanesGoFirst(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) {
		c.Inflight = 8
		c.Up = []config.Up{
			up("alarm", "{topic}", func(u *config.Up) { u.Priority = 3 }),
			up("#", "{topic}"),
		}
	})
	r.start()
	r.publishMany("bulk", 0, 50, 1)
	r.publishMany("alarm", 1000, 20, 1)
	r.run()
	r.awaitIdle()
	got := r.cloud.payloads()
	if !slices.Equal(got[:20], numbers(1000, 20)) || !slices.Equal(got[20:], numbers(0, 50)) {
		t.Errorf("got %v", got)
	}
	for _, p := range r.cloud.got {
		if lane := 0; p.Topic == "alarm" {
			lane = 3
			if ids := store.LaneIDs(lane); p.ID < ids.First {
				t.Errorf("an alarm was sent with identifier %d", p.ID)
			}
		}
	}
}

func TestABacklogLeavesRoomForTheHighestLane(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) {
		c.Inflight = 16
		c.Up = []config.Up{up("alarm", "{topic}", func(u *config.Up) { u.Priority = 2 }), up("#", "{topic}")}
	})
	r.cloud.mute = true // the window stays full
	r.start()
	r.publishMany("bulk", 0, 50, 1)
	r.run()
	r.cloud.await(t, "a full window", func() bool { return len(r.cloud.got) >= 14 })
	r.publishMany("alarm", 100, 2, 1)
	r.cloud.await(t, "the alarms", func() bool { return len(r.cloud.got) >= 16 })
	if got := r.cloud.payloads(); !slices.Equal(got, append(numbers(0, 14), "100", "101")) {
		t.Errorf("got %v", got)
	}
}

func TestMessagesThatTheServerDoesNotTake(t *testing.T) {
	const bad = "bad"
	for _, tt := range []struct {
		name      string
		codes     []byte // answers to bad; afterwards 0
		attempts  int
		delivered bool
		log       string
	}{
		{"no matching subscribers is delivered", []byte{0x10}, 1, true, ""},
		{"quota exceeded is sent again", []byte{0x97, 0x97}, 3, true, "for now: quota exceeded (0x97) (1 of 4 attempts)"},
		{"unspecified error too", []byte{0x80}, 2, true, ""},
		{"implementation specific error too", []byte{0x83}, 2, true, ""},
		{"packet identifier in use too", []byte{0x91}, 2, true, ""},
		{"given up when the retries are used up", []byte{0x97, 0x97, 0x97, 0x97}, 4, false, "refused messages for good"},
		{"not authorized is for good", []byte{0x87}, 1, false, "allow this client to publish"},
		{"a bad topic name is for good", []byte{0x90}, 1, false, "change the topic of the rule"},
	} {
		for qos := byte(1); qos <= 2; qos++ {
			t.Run(fmt.Sprintf("%s, QoS %d", tt.name, qos), func(t *testing.T) {
				r := newRig(t, nil)
				attempts := 0
				r.cloud.onPublish = func(p *packet.Publish) (byte, bool) {
					if string(p.Payload) != bad {
						return 0, true
					}
					if attempts++; p.Dup {
						r.cloud.frames = append(r.cloud.frames, "DUP AFTER A REFUSAL")
					}
					if attempts <= len(tt.codes) {
						return tt.codes[attempts-1], true
					}
					return 0, true
				}
				r.start()
				r.publish(store.Message{Topic: "t", Payload: []byte("first"), QoS: qos})
				r.publish(store.Message{Topic: "t", Payload: []byte(bad), QoS: qos})
				r.publish(store.Message{Topic: "t", Payload: []byte("last"), QoS: qos})
				r.run()
				r.awaitIdle()
				if attempts != tt.attempts {
					t.Errorf("%d attempts, want %d", attempts, tt.attempts)
				}
				want := []string{"bad", "first", "last"}
				lost := uint64(0)
				if !tt.delivered {
					want, lost = want[1:], 1
				}
				got := firsts(r.cloud.payloads())
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
				r.cloud.do(func() {
					if slices.Contains(r.cloud.frames, "DUP AFTER A REFUSAL") {
						t.Error("a refused message was sent again with DUP")
					}
				})
				if l := r.bridge.Lag()[0]; l.Lost[store.Refused] != lost || l.Accepted != 3 {
					t.Errorf("ledger %+v, want %d refused", l, lost)
				}
				if !strings.Contains(r.log.String(), tt.log) {
					t.Errorf("the log does not say %q", tt.log)
				}
			})
		}
	}
}

func TestWhatTheServerCannotTakeAtAll(t *testing.T) {
	t.Run("larger than its maximum packet size", func(t *testing.T) {
		r := newRig(t, nil)
		r.cloud.onConnect = func(_ *packet.Connect, a *packet.Connack) { a.MaxPacketSize = 100 }
		r.start()
		r.publish(store.Message{Topic: "t", Payload: make([]byte, 200), QoS: 2})
		r.publish(store.Message{Topic: "t", Payload: []byte("fits"), QoS: 2})
		r.run()
		r.awaitIdle()
		if got := r.cloud.payloads(); !slices.Equal(got, []string{"fits"}) {
			t.Errorf("got %v", got)
		}
		if l := r.bridge.Lag()[0]; l.Lost[store.TooLarge] != 1 {
			t.Errorf("ledger %+v", l)
		}
	})
	t.Run("QoS above its maximum is lowered, RETAIN left out", func(t *testing.T) {
		r := newRig(t, nil)
		r.cloud.onConnect = func(_ *packet.Connect, a *packet.Connack) {
			a.MaximumQoS, a.HasMaximumQoS, a.RetainUnavailable = 1, true, true
		}
		r.start()
		r.publish(store.Message{Topic: "t", Payload: []byte("x"), QoS: 2, Retain: true})
		r.run()
		r.awaitIdle()
		if p := r.cloud.got[0]; p.QoS != 1 || p.Retain {
			t.Errorf("got %+v", p)
		}
	})
	t.Run("no QoS at all", func(t *testing.T) {
		r := newRig(t, nil)
		r.cloud.onConnect = func(_ *packet.Connect, a *packet.Connack) { a.MaximumQoS, a.HasMaximumQoS = 0, true }
		r.start()
		r.publishMany("t", 0, 100, 1)
		r.run()
		r.cloud.await(t, "100 messages", func() bool { return len(r.cloud.got) >= 100 })
		r.awaitIdle()
		if got := r.cloud.payloads(); !slices.Equal(got, numbers(0, 100)) {
			t.Errorf("got %v", got)
		}
	})
}

func TestPresentRulesDecideTopicRetainAndAge(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	r.publish(store.Message{Topic: "a/1", Payload: []byte("kept"), QoS: 1, Retain: true})
	r.publish(store.Message{Topic: "b/1", Payload: []byte("quiet"), QoS: 1, Retain: true})
	r.publish(store.Message{Topic: "c/1", Payload: []byte("nobody's"), QoS: 1})
	r.publish(store.Message{Topic: "d/1", Payload: []byte("limited"), QoS: 1})
	r.stop()
	r.cfg.Up = []config.Up{
		up("a/+", "new/{1}"),
		up("b/+", "new/{1}", func(u *config.Up) { u.Retain = "never"; u.QoS = 2 }),
		up("d/+", "{topic}", func(u *config.Up) { u.MaxAge = time.Hour }),
	}
	r.start()
	r.run()
	r.awaitIdle()
	var got []string
	for _, p := range r.cloud.got {
		got = append(got, fmt.Sprintf("%s %s QoS %d retain=%t expires=%t", p.Topic, p.Payload, p.QoS, p.Retain, p.HasExpiry))
	}
	want := []string{
		"new/1 kept QoS 1 retain=true expires=false",
		"new/1 quiet QoS 1 retain=false expires=false",
		"d/1 limited QoS 1 retain=false expires=true",
	}
	// Behind them the retained ones come again: new rules get what matches, once.
	if !slices.Equal(got[:3], want) {
		t.Errorf("got %q", got)
	}
	if l := r.bridge.Lag()[0]; l.Lost[store.NoRule] != 1 {
		t.Errorf("ledger %+v, want one that no rule takes", l)
	}
	if !strings.Contains(r.log.String(), "no rule takes them any more") {
		t.Error("nothing was said about the message that no rule takes")
	}
}

func TestPropertiesArriveWhole(t *testing.T) {
	r := newRig(t, nil)
	var props []byte
	props = packet.AppendByteProp(props, packet.PropPayloadFormat, 1)
	props = packet.AppendStringProp(props, packet.PropContentType, "text/plain")
	props = packet.AppendStringProp(props, packet.PropResponseTopic, "reply/here")
	props = packet.AppendStringProp(props, packet.PropCorrelationData, "\x00\x01")
	props = packet.AppendUserProp(props, "k", "1")
	props = packet.AppendUserProp(props, "k", "2")
	r.start()
	r.publish(store.Message{Topic: "t", Payload: []byte("x"), QoS: 1, Props: props})
	r.run()
	r.awaitIdle()
	if got := r.cloud.got[0].Props; string(got) != string(props) {
		t.Errorf("got % x, want % x", got, props)
	}
}

func TestQoS0GoesDirectlyWhileOnline(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	r.run()
	r.awaitState(Online)
	r.publishMany("t", 0, 10, 0)
	r.cloud.await(t, "10 messages", func() bool { return len(r.cloud.got) >= 10 })
	if l := r.bridge.Lag()[0]; l.Accepted != 0 {
		t.Errorf("QoS 0 went through the queue: %+v", l)
	}
	if got := r.cloud.payloads(); !slices.Equal(got, numbers(0, 10)) {
		t.Errorf("got %v", got)
	}
}
