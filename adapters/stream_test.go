package adapters

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/adapters/frame"
	"packetboat/broker/store"
)

// serve serves one end of a pipe and returns the other and a way to wait for
// Serve's error.
func (r *rig) serve(ctx context.Context, at Place) (net.Conn, func() error) {
	device, ours := net.Pipe()
	var err error
	ended := make(chan struct{})
	r.links.Go(func() { err = r.s.Serve(ctx, ours, at); close(ended) })
	return device, func() error { <-ended; return err }
}

func TestFramesBecomeMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(r *rig, o *Options) {
			o.Topic = tmpl(t, "gw/{remote}/{port}/{time}")
			o.QoS, o.Retain, o.MaxAge = 2, true, 1500*time.Millisecond
		})
		device, wait := r.serve(t.Context(), Place{Remote: "fe80::1%a/b", Port: "7000"})
		io.WriteString(device, "23.5\r\n\xb0C")
		io.WriteString(device, "\n")
		device.Close()
		if err := wait(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		want := []store.Message{
			{Topic: "gw/fe80::1%a_b/7000/2000-01-01T00:00:00.000Z", Payload: []byte("23.5"), Props: []byte{1, 1}, QoS: 2, Retain: true, HasExpiry: true, Expiry: 2, Origin: "adapter/dev"},
			{Topic: "gw/fe80::1%a_b/7000/2000-01-01T00:00:00.000Z", Payload: []byte("\xb0C"), QoS: 2, Retain: true, HasExpiry: true, Expiry: 2, Origin: "adapter/dev"},
		}
		if !reflect.DeepEqual(r.broker.messages(), want) {
			t.Fatalf("got %+v", r.broker.messages())
		}
		st := r.s.Stats()
		if st.Published != 2 || st.Frame.Frames != 2 || st.Frame.Bytes != 9 || st.Opened != 1 || st.Open != 0 || st.LastFrame.IsZero() {
			t.Fatalf("stats %+v", st)
		}
	})
}

func TestAFullBrokerHoldsTheLinkUpAndNothingIsLost(t *testing.T) {
	for _, cause := range []error{store.ErrFull, store.ErrFailed} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			r.broker.setRefuse(func(*store.Message) error { return cause })
			device, wait := r.serve(t.Context(), Place{})
			var written sync.WaitGroup
			written.Go(func() {
				for i := range 1000 {
					io.WriteString(device, strconv.Itoa(i)+"\n")
				}
				device.Close()
			})
			time.Sleep(time.Minute)
			st := r.s.Stats()
			if st.Paused != 1 || st.Pauses != 1 || st.Frame.Frames > 1 || r.broker.attempts() > 70 {
				t.Fatalf("%v: %+v after %d tries", cause, st, r.broker.attempts())
			}
			r.broker.setRefuse(nil)
			wait()
			written.Wait()
			got := r.broker.payloads("")
			if len(got) != 1000 || got[0] != "0" || got[999] != "999" {
				t.Fatalf("%d messages", len(got))
			}
			if n := r.log.count("not reading: the broker takes nothing"); n != 1 {
				t.Fatalf("told %d times", n)
			}
		})
	}
}

func TestWhatIsReadAtTheEndOfAPauseIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.broker.setRefuse(func(*store.Message) error { return store.ErrFull })
		ctx, stop := context.WithCancel(t.Context())
		device, wait := r.serve(ctx, Place{})
		io.WriteString(device, "a\nb\nc\n")
		synctest.Wait()
		stop()
		if err := wait(); err != nil {
			t.Fatal(err)
		}
		if st := r.s.Stats(); st.Dropped != 3 || st.Published != 0 {
			t.Fatalf("%+v", st)
		}
	})
}

func TestARefusedFrameIsCountedAndTheRestGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.broker.setRefuse(func(m *store.Message) error {
			if string(m.Payload) == "b" {
				return errors.New("not allowed")
			}
			return nil
		})
		device, wait := r.serve(t.Context(), Place{})
		io.WriteString(device, "a\nb\nc\n")
		device.Close()
		wait()
		if got := r.broker.payloads(""); !reflect.DeepEqual(got, []string{"a", "c"}) || r.s.Stats().Dropped != 1 {
			t.Fatalf("%q, %+v", got, r.s.Stats())
		}
	})
}

func TestAcksComeAfterTheDiskInOrderAndReadingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(r *rig, o *Options) {
			o.Ack = []byte("OK\n")
			r.disk.gate = make(chan struct{})
		})
		device, wait := r.serve(t.Context(), Place{})
		for range 1000 {
			io.WriteString(device, "x\n")
		}
		synctest.Wait()
		if st := r.s.Stats(); st.Published != 1000 || st.Acked != 0 {
			t.Fatalf("before the commit: %+v", st)
		}
		close(r.disk.gate)
		in := bufio.NewReader(device)
		for i := range 1000 {
			if line, err := in.ReadString('\n'); err != nil || line != "OK\n" {
				t.Fatalf("ack %d: %q, %v", i, line, err)
			}
		}
		device.Close()
		wait()
		if st := r.s.Stats(); st.Acked != 1000 {
			t.Fatalf("%+v", st)
		}
	})
}

func TestAcksThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(r *rig, o *Options) {
			o.Ack = []byte("!")
			r.disk.gate = make(chan struct{})
		})
		ctx, stop := context.WithCancel(t.Context())
		device, wait := r.serve(ctx, Place{})
		var writer sync.WaitGroup
		writer.Go(func() {
			for {
				if _, err := io.WriteString(device, "x\n"); err != nil {
					return
				}
			}
		})
		synctest.Wait()
		if n := r.s.Stats().Published; n != maxAcks+2 { // one in the acker, one that waits for room
			t.Fatalf("%d frames taken", n)
		}
		began := time.Now()
		stop()
		if err := wait(); err != nil || time.Since(began) > grace {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		writer.Wait()
		if st := r.s.Stats(); st.Acked != 0 {
			t.Fatalf("%d acks without the disk", st.Acked)
		}
	})
}

func TestAcksInFlightAreWrittenWhenTheAdapterStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(r *rig, o *Options) {
			o.Ack = []byte("OK\n")
			r.disk.gate = make(chan struct{})
		})
		ctx, stop := context.WithCancel(t.Context())
		device, wait := r.serve(ctx, Place{})
		io.WriteString(device, "x\ny\n")
		synctest.Wait()
		stop()
		time.AfterFunc(time.Second, func() { close(r.disk.gate) })
		got, _ := io.ReadAll(device)
		if string(got) != "OK\nOK\n" {
			t.Fatalf("got %q", got)
		}
		wait()
	})
}

func TestWithAcksAFrameThatIsNotTakenEndsTheLink(t *testing.T) {
	for name, send := range map[string]string{
		"refused by the broker": "a\nno\nb\n",
		"longer than max":       "a\n" + strings.Repeat("x", 20) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(r *rig, o *Options) {
					o.Ack = []byte("OK\n")
					o.Framing = frame.Line{Max: 10}
				})
				r.broker.setRefuse(func(m *store.Message) error {
					if string(m.Payload) == "no" {
						return errors.New("no")
					}
					return nil
				})
				device, wait := r.serve(t.Context(), Place{})
				io.WriteString(device, send)
				got, _ := io.ReadAll(device)
				if string(got) != "OK\n" {
					t.Fatalf("acks %q, want one for the frame that was taken", got)
				}
				if err := wait(); !errors.Is(err, errNotTaken) {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestADiskThatFailsIsNotAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(r *rig, o *Options) {
			o.Ack = []byte("OK\n")
			o.Disk = failingDisk{r.disk}
		})
		device, wait := r.serve(t.Context(), Place{})
		io.WriteString(device, "a\n")
		if got, _ := io.ReadAll(device); len(got) != 0 {
			t.Fatalf("acknowledged: %q", got)
		}
		if err := wait(); !errors.Is(err, store.ErrFailed) {
			t.Fatal(err)
		}
	})
}

type failingDisk struct{ *fakeDisk }

func (failingDisk) Wait(context.Context, store.Receipt) error { return store.ErrFailed }

func TestIdleTimeoutClosesAQuietLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(r *rig, o *Options) { o.IdleTimeout = 10 * time.Second })
		device, wait := r.serve(t.Context(), Place{})
		began := time.Now()
		for range 3 {
			time.Sleep(9 * time.Second)
			io.WriteString(device, "x\n")
		}
		if err := wait(); !errors.Is(err, errIdle) {
			t.Fatal(err)
		}
		if d := time.Since(began); d != 37*time.Second {
			t.Fatalf("closed after %v", d)
		}
	})
}

// lossyLink loses input during a pause.
type lossyLink struct {
	net.Conn
	mu        sync.Mutex
	lost      uint64
	discarded bool
}

func (l *lossyLink) Overruns() uint64 { l.mu.Lock(); defer l.mu.Unlock(); return l.lost }
func (l *lossyLink) DiscardInput() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.discarded = true
	return nil
}

func TestInputLostDuringAPauseIsCountedAndNotGlued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.broker.setRefuse(func(*store.Message) error { return store.ErrFull })
		device, ours := net.Pipe()
		link := &lossyLink{Conn: ours}
		var wg sync.WaitGroup
		wg.Go(func() { _ = r.s.Serve(t.Context(), link, Place{}) })
		io.WriteString(device, "a\nhalf of ")
		synctest.Wait()
		link.mu.Lock()
		link.lost = 7
		link.mu.Unlock()
		r.broker.setRefuse(nil)
		io.WriteString(device, "another\nb\n")
		device.Close()
		wg.Wait()
		if got := r.broker.payloads(""); !reflect.DeepEqual(got, []string{"a", "another", "b"}) {
			t.Fatalf("got %q", got)
		}
		if st := r.s.Stats(); st.Overruns != 7 || st.Frame.Unfinished != 1 || !link.discarded {
			t.Fatalf("%+v", st)
		}
	})
}

func TestReopen(t *testing.T) {
	t.Run("an absent device is told once and tried once per jitter", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			ctx, stop := context.WithTimeout(t.Context(), time.Hour)
			defer stop()
			tries := 0
			_ = r.s.Reopen(ctx, func(context.Context) (Link, Place, error) {
				tries++
				return nil, Place{}, errors.New("not there")
			})
			if tries < 3600 || tries > 3601 || r.log.count("cannot open; will keep trying") != 1 {
				t.Fatalf("%d tries, told %d times", tries, r.log.count("cannot open; will keep trying"))
			}
		})
	})
	t.Run("a link that goes is opened again, and no frame has parts of two", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			ctx, stop := context.WithCancel(t.Context())
			devices := make(chan net.Conn)
			var wg sync.WaitGroup
			wg.Go(func() {
				_ = r.s.Reopen(ctx, func(context.Context) (Link, Place, error) {
					device, ours := net.Pipe()
					devices <- device
					return ours, Place{}, nil
				})
			})
			began := time.Now()
			for i := range 20 {
				d := <-devices
				io.WriteString(d, "tail\nline "+strconv.Itoa(i)+"\nhead ")
				d.Close()
			}
			if d := time.Since(began); d != 19*time.Second {
				t.Fatalf("took %v", d)
			}
			<-devices
			stop()
			wg.Wait()
			got := r.broker.payloads("")
			if len(got) != 40 {
				t.Fatalf("%d frames", len(got))
			}
			for _, f := range got {
				if f != "tail" && !strings.HasPrefix(f, "line ") {
					t.Fatalf("mixed frame %q", f)
				}
			}
			if st := r.s.Stats(); st.Opened != 21 || st.Frame.Unfinished != 20 {
				t.Fatalf("%+v", st)
			}
			if n := r.log.count("open") + r.log.count("gone; will reopen"); n > 6 {
				t.Fatalf("%d lines logged in 20 s of flapping", n)
			}
		})
	})
}

func TestNewStreamSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(r *rig, o *Options)
		want string
	}{
		{"no topic", func(r *rig, o *Options) { o.Topic = tmpl(r.t, "") }, "topic: "},
		{"wildcards in the topic", func(r *rig, o *Options) { o.Topic = tmpl(r.t, "a/#") }, "topic: "},
		{"wildcards in the status", func(r *rig, o *Options) { o.Status = tmpl(r.t, "a/+") }, "status: "},
		{"a framing that cannot be", func(r *rig, o *Options) { o.Framing = frame.Line{Max: -1} }, "frame: max"},
		{"remote as a part of a level", withCommands("gw/x{remote}/set"), "command.topic: {remote}"},
		{"remote twice", withCommands("{remote}/{remote}"), "command.topic: {remote}"},
		{"no filter", withCommands("a/#/b"), "command.topic: "},
		{"remote and commands that never expire", func(r *rig, o *Options) { withCommands("{remote}/set")(r, o); o.Command.TTL = 0 }, "command.ttl: "},
		{"a broker that says no", func(r *rig, o *Options) {
			withCommands("set")(r, o)
			o.Command.Attach = func(string) (Commands, func(), error) { return nil, nil, errors.New("no") }
		}, "command.topic: no"},
	} {
		r := &rig{t: t, broker: &fakeBroker{}, disk: newFakeDisk()}
		r.cmds = newFakeCommands(r.disk)
		o := Options{Name: "dev", Topic: tmpl(t, "gw/dev"), Broker: r.broker, Disk: r.disk}
		tt.edit(r, &o)
		if _, err := NewStream(o); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// nobody takes everything and keeps nothing.
type nobody struct{}

func (nobody) Publish(*store.Message) (store.Receipt, error) { return store.Receipt{}, nil }

func TestTheWayInAllocatesNothing(t *testing.T) {
	r := newRig(t, func(r *rig, o *Options) { o.Broker, o.MaxAge = nobody{}, time.Hour })
	c := &conn{s: r.s, framing: r.s.opt.Framing.NewDecoder(), decoder: r.s.opt.NewDecoder(), topic: "x"}
	chunk := []byte(strings.Repeat("scale,12.345,kg\r\n", 50) + "half a li")
	if n := testing.AllocsPerRun(100, func() {
		c.framing.Push(chunk)
		if err := c.take(t.Context(), c.framing.Next); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations for 50 frames", n)
	}
}
