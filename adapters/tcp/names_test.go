package tcp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/adapters"
	"packetboat/adapters/frame"
)

func TestTheFirstFrameIsTheName(t *testing.T) {
	f := start(t, func(o *Options) { o.FirstFrame, o.Stream.Ack = true, []byte("OK\n") })
	for _, tt := range []struct {
		name   string
		chunks []string
		topic  string
	}{
		{"with the next frames in one packet", []string{"pump-1\r\na\r\nb\r\n"}, "gw/dev/pump-1"},
		{"alone", []string{"pump-2\n", "a\nb\n"}, "gw/dev/pump-2"},
		{"in pieces", []string{"pum", "p-3", "\n", "a", "\nb", "\n"}, "gw/dev/pump-3"},
		{"behind blank lines", []string{"\r\n\r\npump-4\r\na\nb\n"}, "gw/dev/pump-4"},
		{"with what has a meaning in topics", []string{" a/+/# \na\nb\n"}, "gw/dev/a____"},
	} {
		c := f.dial(t)
		for _, chunk := range tt.chunks {
			io.WriteString(c, chunk)
		}
		for _, want := range []string{"a", "b"} {
			if m := <-f.broker.c; m.Topic != tt.topic || string(m.Payload) != want {
				t.Errorf("%s: %s %q", tt.name, m.Topic, m.Payload)
			}
		}
		c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "OK\nOK\n" { // none for the name
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
	if st := f.Stats(); st.Refused != 0 || st.Frame.Frames != 10 {
		t.Errorf("%+v", st)
	}
}

func TestWhatIsNoNameEndsTheConnection(t *testing.T) {
	f := start(t, func(o *Options) { o.FirstFrame, o.Stream.Framing = true, frame.Line{Trim: true, Max: 500} })
	for i, text := range []string{
		"\xff\xfe\n", "a\x01b\n", strings.Repeat("x", 129) + "\n",
		strings.Repeat("x", 501) + "\nreading\n", // the reading must not become the name
	} {
		c := f.dial(t)
		io.WriteString(c, text)
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%d: %q", i, b)
		}
		f.awaitRefused(t, uint64(i+1))
	}
	c := f.dial(t)
	io.WriteString(c, "half a na")
	c.CloseWrite()
	f.awaitRefused(t, 5)
	if st := f.Stats(); st.Opened != 0 || st.Published != 0 {
		t.Errorf("%+v", st)
	}
}

// TestOfTwoConnectionsWithOneNameTheNewerStays: the older one has brought half a
// frame, which goes with it.
func TestOfTwoConnectionsWithOneNameTheNewerStays(t *testing.T) {
	f := start(t, func(o *Options) { o.FirstFrame, o.MaxConnections = true, 10 })
	other := f.dial(t)
	io.WriteString(other, "other\nhello\n")
	<-f.broker.c
	var old net.Conn
	for i := range 20 {
		c := f.dial(t)
		fmt.Fprintf(c, "pump\nline %d\nhalf", i)
		if m := <-f.broker.c; m.Topic != "gw/dev/pump" || string(m.Payload) != fmt.Sprint("line ", i) {
			t.Fatalf("%s %q", m.Topic, m.Payload)
		}
		if old != nil {
			if b, err := io.ReadAll(old); len(b) > 0 || err != nil {
				t.Fatalf("%q, %v", b, err)
			}
		}
		old = c
	}
	f.command("on") // to the two that are left
	for _, c := range []net.Conn{old, other} {
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "on\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
	if st := f.Stats(); st.Open != 2 || st.Opened != 21 || st.Refused != 0 {
		t.Errorf("%+v", st)
	}
	f.stop()
	if n := len(f.names.now); n > 0 {
		t.Errorf("%d names are kept", n)
	}
}

func TestManyAtOnceWithOneNameEndAsOne(t *testing.T) {
	f := start(t, func(o *Options) { o.FirstFrame, o.MaxConnections = true, 100 })
	var wg sync.WaitGroup
	replaced, served := make(chan struct{}, 50), make(chan struct{}, 50)
	for range 50 {
		c := f.dial(t)
		wg.Go(func() {
			io.WriteString(c, "pump\nx\n")
			if _, err := c.Read(make([]byte, 1)); err == nil { // the command
				served <- struct{}{}
			} else {
				replaced <- struct{}{}
			}
		})
	}
	for range 49 {
		<-replaced
	}
	f.command("on")
	<-served
	f.stop()
	wg.Wait()
}

// named is an adapter for names over pipes, in a bubble.
func named(t *testing.T, framing frame.Framing, idle time.Duration) *Adapter {
	t.Helper()
	a, err := NewAdapter(Options{Listen: ":0", FirstFrame: true, Stream: adapters.Options{
		Topic: tmpl(t, "{remote}"), Framing: framing, IdleTimeout: idle, Broker: broker{nil}, Disk: disk{},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestANameIsBoundedInTime, however slowly it comes.
func TestANameIsBoundedInTime(t *testing.T) {
	for _, tt := range []struct {
		name       string
		idle, want time.Duration
	}{
		{"10 s", 0, nameTimeout},
		{"idle_timeout, when that is shorter", 3 * time.Second, 3 * time.Second},
		{"10 s, when that is longer", time.Hour, nameTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := named(t, nil, tt.idle)
				peer, ours := net.Pipe()
				var wg sync.WaitGroup
				wg.Go(func() {
					for {
						if _, err := peer.Write([]byte("x")); err != nil {
							return
						}
						time.Sleep(100 * time.Millisecond)
					}
				})
				began := time.Now()
				if err := a.serve(t.Context(), ours, ""); !errors.Is(err, errNoName) {
					t.Error(err)
				}
				if d := time.Since(began); d != tt.want {
					t.Errorf("after %v", d)
				}
				wg.Wait()
			})
		})
	}
}

func TestStoppingDoesNotWaitForNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := named(t, nil, 0)
		_, ours := net.Pipe()
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		began := time.Now()
		if err := a.serve(ctx, ours, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if d := time.Since(began); d != time.Second {
			t.Errorf("after %v", d)
		}
		if a.Stats().Refused != 0 {
			t.Error("counted as refused")
		}
	})
}

// gaps is a framing of our own: a frame ends with a silence.
type gaps struct{}

func (gaps) Check() error                               { return nil }
func (gaps) NewDecoder() frame.Decoder                  { return &gapDecoder{} }
func (gaps) Append(dst, payload []byte) ([]byte, error) { return append(dst, payload...), nil }

type gapDecoder struct {
	buf []byte
	c   frame.Counters
}

func (d *gapDecoder) Push(chunk []byte)        { d.buf = append(d.buf, chunk...) }
func (d *gapDecoder) Next() ([]byte, bool)     { return nil, false }
func (d *gapDecoder) Idle() time.Duration      { return 20 * time.Millisecond }
func (d *gapDecoder) Reset()                   { d.buf = nil }
func (d *gapDecoder) Counters() frame.Counters { return d.c }
func (d *gapDecoder) Flush() ([]byte, bool) {
	f := d.buf
	d.buf = nil
	return f, len(f) > 0
}

func TestANameThatASilenceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := named(t, gaps{}, 0)
		peer, ours := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(time.Second)
			io.WriteString(peer, "pu")
			time.Sleep(10 * time.Millisecond)
			io.WriteString(peer, "mp")
			time.Sleep(30 * time.Millisecond)
			io.WriteString(peer, "reading")
		})
		link, name, err := a.readName(t.Context(), ours)
		if err != nil || name != "pump" {
			t.Fatalf("%q, %v", name, err)
		}
		b := make([]byte, 10)
		if n, err := link.Read(b); err != nil || string(b[:n]) != "reading" {
			t.Errorf("%q, %v", b[:n], err)
		}
		wg.Wait()
	})
}
