package adapters

import (
	"bytes"
	"context"
	"io"
	"net"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/adapters/decode"
	"packetboat/broker/store"
)

// device reads all that it is sent.
type device struct {
	net.Conn
	wait func() error
	mu   sync.Mutex
	got  bytes.Buffer
}

func (d *device) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.got.Write(p)
}

func (d *device) commands() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.FieldsFunc(d.got.String(), func(r rune) bool { return r == '\r' || r == '\n' })
}

// running is a rig whose Stream runs until the test's end.
type running struct {
	*rig
	ctx context.Context
	wg  sync.WaitGroup
}

func run(t *testing.T, edit func(r *rig, o *Options)) *running {
	ctx, stop := context.WithCancel(t.Context())
	r := &running{rig: newRig(t, edit), ctx: ctx}
	r.wg.Go(func() { _ = r.s.Run(ctx, r.wait) })
	t.Cleanup(func() {
		stop()
		r.wg.Wait()
	})
	return r
}

// connect opens a link whose device reads everything.
func (r *running) connect(remote string) *device {
	d := r.connectStuck(remote)
	r.wg.Go(func() { _, _ = io.Copy(d, struct{ io.Reader }{d.Conn}) })
	return d
}

// connectStuck opens a link whose device reads nothing.
func (r *running) connectStuck(remote string) *device {
	c, wait := r.serve(r.ctx, Place{Remote: remote})
	r.t.Cleanup(func() { _ = c.Close() })
	return &device{Conn: c, wait: wait}
}

func (r *running) expect(done []uint64, gaveUp map[uint64]store.Reason) {
	r.t.Helper()
	synctest.Wait()
	if gaveUp == nil {
		gaveUp = map[uint64]store.Reason{}
	}
	if d, g := r.cmds.finished(); !reflect.DeepEqual(d, done) || !reflect.DeepEqual(g, gaveUp) {
		r.t.Fatalf("done %v, gave up %v; want %v, %v", d, g, done, gaveUp)
	}
}

func TestCommandsAreWrittenInOrderAndThenDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, withCommands("gw/dev/set"))
		d := r.connect("")
		var want []string
		var done []uint64
		for i := range 1000 {
			qos := byte(i % 3)
			done = append(done, r.cmds.send("gw/dev/set", strconv.Itoa(i), func(d *store.Delivery) { d.QoS = qos }))
			want = append(want, strconv.Itoa(i))
		}
		r.expect(done, nil)
		if got := d.commands(); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %q", got)
		}
		if r.cmds.filter != "gw/dev/set" {
			t.Fatalf("filter %q", r.cmds.filter)
		}
		if st := r.s.Stats(); st.CommandsSent != 1000 || st.CommandsWaiting != 0 {
			t.Fatalf("%+v", st)
		}
	})
}

func TestCommandsWaitForTheDeviceUntilTheyExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, withCommands("set"))
		r.cmds.send("set", "old")
		time.Sleep(30 * time.Second)
		r.cmds.send("set", "new")
		r.cmds.send("set", "short", func(d *store.Delivery) { d.HasExpiry, d.Expiry = true, 10 })
		r.cmds.send("set", "long", func(d *store.Delivery) { d.HasExpiry, d.Expiry = true, 1000 })
		time.Sleep(10*time.Second - time.Millisecond)
		r.expect(nil, nil)
		time.Sleep(time.Millisecond)
		r.expect(nil, map[uint64]store.Reason{3: store.Expired}) // message expiry
		time.Sleep(20*time.Second - time.Millisecond)
		r.expect(nil, map[uint64]store.Reason{3: store.Expired})
		time.Sleep(time.Millisecond)
		r.expect(nil, map[uint64]store.Reason{1: store.Expired, 3: store.Expired}) // ttl
		d := r.connect("")
		r.expect([]uint64{2, 4}, map[uint64]store.Reason{1: store.Expired, 3: store.Expired})
		if got := d.commands(); !reflect.DeepEqual(got, []string{"new", "long"}) {
			t.Fatalf("got %q", got)
		}
		if st := r.s.Stats(); st.CommandsExpired != 2 || st.CommandsSent != 2 || st.CommandsWaiting != 0 {
			t.Fatalf("%+v", st)
		}
	})
}

func TestACommandTooOldFromTheQueueIsNeverWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, withCommands("set"))
		stamp := r.disk.now()
		time.Sleep(time.Hour)
		d := r.connect("")
		r.cmds.send("set", "stale", func(d *store.Delivery) { d.Received = stamp })
		r.cmds.send("set", "expired when it came", func(d *store.Delivery) { d.HasExpiry = true })
		r.cmds.send("set", "fresh")
		r.expect([]uint64{3}, map[uint64]store.Reason{1: store.Expired, 2: store.Expired})
		if got := d.commands(); !reflect.DeepEqual(got, []string{"fresh"}) {
			t.Fatalf("got %q", got)
		}
	})
}

func TestACommandOfUnknownAgeIsNeverWritten(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := run(t, func(r *rig, o *Options) {
				r.disk.boot, r.disk.wall = 2, trusted
				withCommands("set")(r, o)
			})
			r.connect("")
			r.cmds.send("set", "of the last boot", func(d *store.Delivery) { d.Received.Boot = 1 })
			r.cmds.send("set", "of this boot")
			if trusted {
				r.expect([]uint64{1, 2}, nil)
			} else {
				r.expect([]uint64{2}, map[uint64]store.Reason{1: store.Expired})
			}
		})
	}
}

func TestACommandForAllGoesToEachOpenLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, withCommands("set"))
		a, b := r.connect("a"), r.connect("b")
		synctest.Wait()
		r.cmds.send("set", "x")
		r.expect([]uint64{1}, nil)
		c := r.connect("c")
		synctest.Wait()
		if len(a.commands()) != 1 || len(b.commands()) != 1 || len(c.commands()) != 0 {
			t.Fatalf("%q %q %q", a.commands(), b.commands(), c.commands())
		}
	})
}

func TestACommandForAllIsDoneWhenOneLinkTookIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, withCommands("set"))
		a, stuck := r.connect("a"), r.connectStuck("b")
		synctest.Wait()
		r.cmds.send("set", "x")
		r.expect(nil, nil)
		time.Sleep(2 * time.Second) // the write's deadline
		r.expect([]uint64{1}, nil)
		if err := stuck.wait(); err == nil || !strings.Contains(err.Error(), "write command") {
			t.Fatalf("the stuck link ended with %v", err)
		}
		if len(a.commands()) != 1 {
			t.Fatalf("%q", a.commands())
		}
	})
}

func TestACommandForOnePeerHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, withCommands("gw/{remote}/set"))
		if r.cmds.filter != "gw/+/set" {
			t.Fatalf("filter %q", r.cmds.filter)
		}
		a1, a2, b := r.connect("10.0.0.1"), r.connect("10.0.0.1"), r.connect("fe80::1%x/y")
		synctest.Wait()
		r.cmds.send("gw/10.0.0.9/set", "for an absent one")
		r.cmds.send("gw/10.0.0.1/set", "for a")
		r.cmds.send("gw/fe80::1%x_y/set", "for b")
		synctest.Wait()
		late := r.connect("10.0.0.9")
		synctest.Wait()
		for i, d := range []*device{a1, a2, b, late} {
			want := []string{"for a", "for a", "for b", "for an absent one"}[i]
			if got := d.commands(); !reflect.DeepEqual(got, []string{want}) {
				t.Fatalf("device %d got %q", i, got)
			}
		}
		if done, _ := r.cmds.finished(); len(done) != 3 || done[2] != 1 {
			t.Fatalf("done %v", done)
		}
	})
}

func TestAStuckWriteClosesTheLinkAndTheCommandGoesToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, withCommands("set"))
		stuck := r.connectStuck("")
		r.cmds.send("set", "a")
		r.cmds.send("set", "b")
		synctest.Wait()
		io.WriteString(stuck.Conn, "still read\n")
		began := time.Now()
		stuck.wait()
		if d := time.Since(began); d != 2*time.Second {
			t.Fatalf("held for %v", d)
		}
		r.expect(nil, nil)
		d := r.connect("")
		r.expect([]uint64{1, 2}, nil)
		if got := d.commands(); !reflect.DeepEqual(got, []string{"a", "b"}) {
			t.Fatalf("got %q", got)
		}
		if got := r.broker.payloads(""); !reflect.DeepEqual(got, []string{"still read"}) {
			t.Fatalf("got %q", got)
		}
	})
}

func TestACommandThatCannotBeWrittenEndsAfterSomeTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, withCommands("set"))
		r.cmds.send("set", "poison")
		for range maxWrites {
			r.connectStuck("").wait()
		}
		r.expect(nil, map[uint64]store.Reason{1: store.Refused})
		if st := r.s.Stats(); st.CommandsFailed != 1 || st.CommandsWaiting != 0 {
			t.Fatalf("%+v", st)
		}
	})
}

func TestACommandThatCannotBeEncodedIsGivenUpAndTheNextGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, func(r *rig, o *Options) {
			withCommands("set")(r, o)
			o.Command.Encode = decode.Command{Template: tmpl(t, "SET {field:v}\r\n")}
		})
		d := r.connect("")
		r.cmds.send("set", "no JSON")
		r.cmds.send("set", `{"v": 5}`)
		r.expect([]uint64{2}, map[uint64]store.Reason{1: store.Refused})
		if got := d.commands(); !reflect.DeepEqual(got, []string{"SET 5"}) {
			t.Fatalf("got %q", got)
		}
	})
}

func TestAReleasedCommandIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, withCommands("set"))
		r.cmds.send("", "", func(d *store.Delivery) { d.Released = true })
		r.expect([]uint64{1}, nil)
	})
}

func TestWhatTheOutboxHoldsIsBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		payload    string
		sent, held int
	}{
		"by number": {"x", 1000, maxHeld},
		"by bytes":  {strings.Repeat("x", maxHeldBytes/4), 10, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, withCommands("set"))
				for range tt.sent {
					r.cmds.send("set", tt.payload)
				}
				synctest.Wait()
				if n := r.s.Stats().CommandsWaiting; n != tt.held {
					t.Fatalf("%d held", n)
				}
				r.connect("")
				synctest.Wait()
				if n := r.s.Stats().CommandsSent; n != uint64(tt.sent) {
					t.Fatalf("%d sent", n)
				}
			})
		})
	}
}

func TestWhatIsNotWrittenAtTheEndStaysInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withCommands("set"))
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = r.s.Run(ctx, r.wait) })
		r.cmds.send("set", "x")
		synctest.Wait()
		stop()
		wg.Wait()
		if d, g := r.cmds.finished(); len(d)+len(g) != 0 || r.cmds.closed {
			t.Fatalf("done %v, gave up %v, detached %v", d, g, r.cmds.closed)
		}
		if r.s.Close(); !r.cmds.closed {
			t.Fatal("not detached")
		}
	})
}

func TestALinkThatEndsMidWriteAtTheStopIsNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withCommands("set"))
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = r.s.Run(ctx, r.wait) })
		device, wait := r.serve(ctx, Place{})
		r.cmds.send("set", "abc")
		synctest.Wait()
		stop()
		time.Sleep(time.Second) // within the write's deadline the device still gets all of it
		got := make([]byte, 5)
		if _, err := io.ReadFull(device, got); err != nil || string(got) != "abc\r\n" {
			t.Fatalf("got %q, %v", got, err)
		}
		wait()
		wg.Wait()
		if d, _ := r.cmds.finished(); !reflect.DeepEqual(d, []uint64{1}) {
			t.Fatalf("done %v", d)
		}
	})
}
