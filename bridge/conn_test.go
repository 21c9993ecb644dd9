package bridge

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/bridge/dial"
	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

func TestAServerThatStopsAcknowledging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		swallowed := false
		r.faults.set(func(up bool, typ byte, _ []byte) verdict {
			if !up && typ == packet.PUBACK && !swallowed {
				swallowed = true
				return swallow
			}
			return pass
		})
		r.start()
		r.run()
		r.awaitState(Online)
		began := time.Now()
		r.publish(store.Message{Topic: "t", Payload: []byte("x"), QoS: 1})
		r.awaitState(Stalled)
		if d := time.Since(began); d < r.cfg.AckTimeout/2 || d > r.cfg.AckTimeout {
			t.Errorf("stalled after %v", d)
		}
		s := r.awaitState(BackingOff)
		if d := time.Since(began); d < r.cfg.AckTimeout || d > r.cfg.AckTimeout*5/4 || !errors.Is(s.Err, errAckTimeout) {
			t.Errorf("given up after %v: %v", d, s)
		}
		r.awaitIdle()
		want := []string{"CONNECT clean=true", "CONNECT clean=false", "PUBLISH 1 1 x", "CONNECT clean=false", "PUBLISH 1 1 dup x"}
		if got := r.cloud.talk(); !slices.Equal(got, want) {
			t.Errorf("packets %q", got)
		}
	})
}

func TestAServerThatIsOnlySlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.cloud.mute = true
		r.start()
		r.run()
		r.awaitState(Online)
		r.publish(store.Message{Topic: "t", Payload: []byte("x"), QoS: 1})
		r.awaitState(Stalled)
		r.cloud.raw("gw1", packet.AppendAck(nil, packet.V5, packet.PUBACK, 1, 0))
		r.awaitState(Online)
		r.awaitIdle()
		if len(r.cloud.connects) != 2 {
			t.Error("the connection was given up")
		}
	})
}

func TestKeepAlive(t *testing.T) {
	t.Run("an idle connection is kept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			r.start()
			r.run()
			r.awaitState(Online)
			time.Sleep(10 * time.Minute)
			pings := 0
			r.cloud.do(func() {
				for _, f := range r.cloud.frames {
					if f == "PINGREQ" {
						pings++
					}
				}
			})
			if pings < 10 || pings > 20 || len(r.cloud.connects) != 2 {
				t.Errorf("%d pings in 10 minutes, %d connects", pings, len(r.cloud.connects))
			}
		})
	})
	t.Run("a link that is open on our side only is found", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(c *config.Bridge) { c.KeepAlive, c.AckTimeout = 10*time.Second, 5*time.Second })
			r.start()
			r.run()
			r.awaitState(Online)
			r.faults.set(func(up bool, _ byte, _ []byte) verdict {
				if !up {
					return swallow
				}
				return pass
			})
			began := time.Now()
			s := r.awaitState(BackingOff)
			if d := time.Since(began); d > r.cfg.KeepAlive+r.cfg.AckTimeout+time.Second || !errors.Is(s.Err, errNoPong) {
				t.Errorf("found after %v: %v", d, s)
			}
		})
	})
	t.Run("the server's keep alive counts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			r.cloud.onConnect = func(_ *packet.Connect, a *packet.Connack) { a.ServerKeepAlive, a.HasServerKeepAlive = 5, true }
			r.start()
			r.run()
			r.awaitState(Online)
			time.Sleep(6 * time.Second)
			r.cloud.do(func() {
				if !slices.Contains(r.cloud.frames, "PINGREQ") {
					t.Errorf("no ping: %q", r.cloud.frames)
				}
			})
		})
	})
}

func TestARefusedConnectionSaysWhyAndIsTriedAgain(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) { c.Username, c.Password = "u", "wrong" })
	refuse := true
	r.cloud.onConnect = func(p *packet.Connect, a *packet.Connack) {
		if refuse {
			a.Code, a.SessionPresent = packet.BadUserNameOrPassword, false
		}
		if p.User != "u" || string(p.Password) != "wrong" {
			a.Code = packet.ProtocolError
		}
	}
	r.start()
	r.run()
	s := r.awaitState(Refused)
	if !strings.Contains(s.String(), "refused: cloud.test:1883: bad user name or password") {
		t.Errorf("state %q", s)
	}
	r.cloud.await(t, "five attempts", func() bool { return len(r.cloud.connects) >= 5 })
	log := r.log.String()
	if strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, `remedy="check username and password"`) ||
		strings.Contains(log, "wrong") {
		t.Errorf("log:\n%s", log)
	}
	r.cloud.do(func() { refuse = false })
	if s := r.awaitState(Online); s.Err == nil {
		t.Error("the last error is forgotten")
	}
}

func TestTroubleOnTheWayToAConnection(t *testing.T) {
	for _, tt := range []struct {
		name string
		dial func(r *rig) (net.Conn, error)
		want string
	}{
		{"nobody listens", func(*rig) (net.Conn, error) { return nil, errors.New("connection refused") }, "connection refused"},
		{"the server says nothing", func(r *rig) (net.Conn, error) {
			r.cloud.deaf = true
			return r.cloud.dial(nil)
		}, "no answer to CONNECT within 5s"},
		{"the server closes", func(*rig) (net.Conn, error) {
			a, b := net.Pipe()
			return a, b.Close()
		}, "no MQTT 5 answer to CONNECT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.start()
				r.bridge.dial = func(context.Context, dial.Server) (net.Conn, error) { return tt.dial(r) }
				r.run()
				if s := r.awaitState(BackingOff); !strings.Contains(s.String(), tt.want) {
					t.Errorf("state %q, want %q", s, tt.want)
				}
			})
		})
	}
}

func TestADisconnectByTheServerIsExplained(t *testing.T) {
	for code, want := range map[byte]string{
		packet.SessionTakenOver:   "session taken over (0x8E): another client uses the client id",
		packet.ServerShuttingDown: "server shutting down (0x8B): bye",
	} {
		t.Run(want, func(t *testing.T) {
			r := newRig(t, unhurried)
			r.start()
			r.run()
			r.awaitState(Online)
			d := packet.Disconnect{Code: code}
			if code == packet.ServerShuttingDown {
				d.ReasonString = "bye"
			}
			r.cloud.raw("gw1", packet.AppendDisconnect(nil, packet.V5, &d))
			if s := r.awaitState(BackingOff); !strings.Contains(s.Err.Error(), want) {
				t.Errorf("state %v", s)
			}
			r.awaitState(Online)
		})
	}
}

func TestWhatPahoCannotReadIsReported(t *testing.T) {
	r := newRig(t, unhurried)
	r.start()
	r.run()
	r.awaitState(Online)
	r.cloud.raw("gw1", []byte{packet.PUBACK << 4, 1, 0})
	if s := r.awaitState(BackingOff); !strings.Contains(s.Err.Error(), "read from the server") {
		t.Errorf("state %v", s)
	}
}

func TestPresenceOnTheStatusTopic(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) { c.Status = "gw1/status" })
	r.start()
	r.publishMany("t", 0, 5, 1)
	r.run()
	r.cloud.await(t, "6 messages", func() bool { return len(r.cloud.got) == 6 })
	w := r.cloud.connects[1].Will
	if w == nil || w.Topic != "gw1/status" || string(w.Payload) != "offline" || !w.Retain {
		t.Errorf("will %+v", w)
	}
	if p := r.cloud.got[0]; p.Topic != "gw1/status" || string(p.Payload) != "online" || !p.Retain || p.QoS != 0 {
		t.Errorf("first message %+v", p)
	}
	r.awaitIdle()
	r.halt()
	r.cloud.await(t, "DISCONNECT", func() bool { return r.cloud.frames[len(r.cloud.frames)-1] == "DISCONNECT 00" })
	if p := r.cloud.got[6]; string(p.Payload) != "offline" || !p.Retain {
		t.Errorf("last message %+v", p)
	}
}

func TestTheEndWaitsForAcknowledgementsButNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.cloud.mute = true
		r.start()
		r.run()
		r.publish(store.Message{Topic: "t", Payload: []byte("x"), QoS: 1})
		r.cloud.await(t, "a message", func() bool { return len(r.cloud.got) == 1 })
		began := time.Now()
		r.halt()
		if d := time.Since(began); d > 2*finishWait {
			t.Errorf("the end took %v", d)
		}
		r.cloud.await(t, "DISCONNECT", func() bool { return r.cloud.frames[len(r.cloud.frames)-1] == "DISCONNECT 00" })
		r.cloud.do(func() { r.cloud.mute = false })
		r.run() // Run may run again
		r.awaitIdle()
	})
}

func TestTheEndIsNotHeldUpByABlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.start()
		hole := make(chan struct{})
		r.bridge.dial = func(context.Context, dial.Server) (net.Conn, error) {
			a, b := net.Pipe()
			go func() { // answers CONNECT and then reads no more
				buf := make([]byte, 4096)
				_, _ = b.Read(buf)
				_, _ = b.Write(packet.AppendConnack(nil, protocol(rigVersion), &packet.Connack{}))
				<-hole
				_ = b.Close()
			}()
			return a, nil
		}
		r.publishMany("t", 0, 50, 1)
		r.run()
		r.awaitState(Online)
		began := time.Now()
		r.halt()
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("the end took %v", d)
		}
		close(hole)
	})
}

// bootClock is a clock that follows the bubble's time.
type bootClock struct{ base time.Time }

func (c bootClock) BootID() [16]byte        { return [16]byte{1} }
func (c bootClock) Uptime() time.Duration   { return time.Since(c.base) + time.Hour }
func (c bootClock) Wall() (time.Time, bool) { return time.Now(), true }

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *config.Bridge) {
			c.Up = []config.Up{
				up("aged/#", "{topic}", func(u *config.Up) { u.MaxAge = 30 * time.Second }),
				up("#", "{topic}"),
			}
		})
		r.clock = bootClock{time.Now()}
		r.start()
		say := func(topic string, expiry uint32) {
			r.publish(store.Message{Topic: topic, Payload: []byte(topic), QoS: 1, Expiry: expiry, HasExpiry: expiry > 0})
		}
		say("short", 10)
		say("long", 100)
		say("aged/plain", 0)
		say("aged/short", 25)
		for range 1000 {
			say("aged/crowd", 12)
		}
		say("never", 0)
		time.Sleep(20 * time.Second)
		r.run()
		r.awaitIdle()
		got := map[string]uint32{}
		for _, p := range r.cloud.got {
			got[p.Topic] = p.Expiry
			if p.HasExpiry != (p.Expiry > 0) {
				t.Errorf("%+v", p)
			}
		}
		want := map[string]uint32{"long": 80, "aged/plain": 10, "aged/short": 5, "never": 0}
		if len(got) != len(want) {
			t.Errorf("got %v", got)
		}
		for topic, left := range want {
			if got[topic] != left {
				t.Errorf("%s has %d s left, want %d", topic, got[topic], left)
			}
		}
		if l := r.bridge.Lag()[0]; l.Lost[store.Expired] != 1001 {
			t.Errorf("ledger %+v, want 1001 expired", l)
		}
	})
}

func TestWhatMayHaveBeenSentDoesNotExpireAtQoS2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.clock = bootClock{time.Now()}
		r.faults.set(func(up bool, typ byte, _ []byte) verdict {
			if up && typ == packet.PUBLISH {
				return cutBefore
			}
			return pass
		})
		r.start()
		r.publish(store.Message{Topic: "t", Payload: []byte("x"), QoS: 2, Expiry: 10, HasExpiry: true})
		r.run()
		r.awaitState(BackingOff)
		r.faults.cut(true)
		time.Sleep(20 * time.Second)
		r.faults.set(nil)
		r.faults.cut(false)
		r.awaitIdle()
		if len(r.cloud.got) != 1 || r.cloud.got[0].Expiry != 1 {
			t.Errorf("got %+v", r.cloud.got)
		}
	})
}
