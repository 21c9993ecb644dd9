package adapters

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/adapters/frame"
)

// say writes parts to a device's link, 10 ms apart; "" is 30 ms of silence.
func say(device io.Writer, parts ...string) {
	for _, part := range parts {
		if part == "" {
			time.Sleep(30 * time.Millisecond)
			continue
		}
		io.WriteString(device, part)
		time.Sleep(10 * time.Millisecond)
	}
}

func TestAFramingMayEndFramesBySilence(t *testing.T) {
	gap := 20 * time.Millisecond
	for _, tt := range []struct {
		name  string
		of    frame.Framing
		parts []string
		want  []string
	}{
		{"idle", frame.Idle{Gap: gap}, []string{"a", "b", "", "c", ""}, []string{"ab", "c"}},
		{"modbus-rtu, two frames of one burst", frame.ModbusRTU{Gap: gap}, []string{"\x11\x03\x00\x6b\x00\x03\x76\x87\x11\x03\x00\x6b", "\x00\x03\x76\x87", ""}, []string{"\x11\x03\x00\x6b\x00\x03", "\x11\x03\x00\x6b\x00\x03"}},
		{"start-end, without its end", frame.StartEnd{Start: "<", End: ">", FlushAfter: gap}, []string{"<a", "b", "", "<c>", ""}, []string{"ab", "c"}},
		{"fixed, one cut short", frame.Fixed{Size: 3, FlushAfter: gap}, []string{"ab", "", "cd", "e", ""}, []string{"cde"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(r *rig, o *Options) { o.Framing, o.IdleTimeout = tt.of, time.Second })
				device, wait := r.serve(t.Context(), Place{})
				say(device, tt.parts...)
				if got := r.broker.payloads(""); !reflect.DeepEqual(got, tt.want) {
					t.Fatalf("got %q", got)
				}
				if err := wait(); !errors.Is(err, errIdle) {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestASilenceEndsAFrameBeforeItEndsTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(r *rig, o *Options) {
			o.Framing = frame.StartEnd{Start: "<", End: ">", FlushAfter: time.Second}
			o.IdleTimeout = time.Second
		})
		device, wait := r.serve(t.Context(), Place{})
		io.WriteString(device, "<a")
		if err := wait(); !errors.Is(err, errIdle) {
			t.Fatal(err)
		}
		if got := r.broker.payloads(""); !reflect.DeepEqual(got, []string{"a"}) {
			t.Fatalf("got %q, %+v", got, r.s.Stats())
		}
	})
}

// stalledLink reads late: as when the program was not running while a deadline
// passed and bytes came.
type stalledLink struct {
	net.Conn
	stalls int
}

func (l *stalledLink) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && l.stalls > 0 {
		l.stalls--
		time.Sleep(50 * time.Millisecond)
	}
	return n, err
}

func TestBytesThatCameInTimeButAreReadLateAreNoOtherFrame(t *testing.T) {
	for _, tt := range []struct {
		name   string
		more   bool
		frames []string
	}{
		{"bytes wait", true, []string{"ab"}},
		{"none wait", false, []string{"a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(r *rig, o *Options) { o.Framing, o.IdleTimeout = frame.Idle{}, time.Second })
				device, ours := net.Pipe()
				r.links.Go(func() { _ = r.s.Serve(t.Context(), &stalledLink{Conn: ours, stalls: 1}, Place{}) })
				io.WriteString(device, "a")
				time.Sleep(frame.DefaultGap + time.Millisecond)
				if tt.more {
					io.WriteString(device, "b") // returns when it is read
				}
				r.links.Wait()
				if got := r.broker.payloads(""); !reflect.DeepEqual(got, tt.frames) {
					t.Fatalf("got %q, want %q", got, tt.frames)
				}
			})
		})
	}
}

func TestALinkThatIsSilentIsNotLookedAtAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(r *rig, o *Options) { o.Framing = frame.Idle{} })
		device, ours := net.Pipe()
		link := &countingLink{Conn: ours}
		ctx, stop := context.WithCancel(t.Context())
		r.links.Go(func() { _ = r.s.Serve(ctx, link, Place{}) })
		say(device, "a")
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := link.reads.Load(); n != 3 { // the byte, the gap, and what waits now
			t.Fatalf("%d reads", n)
		}
		stop()
		r.links.Wait()
	})
}

// countingLink counts reads.
type countingLink struct {
	net.Conn
	reads atomic.Int64
}

func (l *countingLink) Read(p []byte) (int, error) {
	l.reads.Add(1)
	return l.Conn.Read(p)
}
