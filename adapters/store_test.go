package adapters

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"packetboat/adapters/decode"
	"packetboat/broker/store"
)

var (
	_ Disk     = (*store.Store)(nil)
	_ Commands = (*store.Consumer)(nil)
)

// uplink publishes to one durable consumer of a real store.
type uplink struct {
	st *store.Store
	to *store.Consumer
}

func (u uplink) Publish(m *store.Message) (store.Receipt, error) {
	return u.st.Publish(m, []store.Target{{Consumer: u.to, QoS: m.QoS}})
}

func openStore(t *testing.T, dir string) (*store.Store, func()) {
	t.Helper()
	st, err := store.Open(dir, store.Options{MaxSize: 64 << 20, SegmentSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := st.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop := sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return st, stop
}

func consumer(t *testing.T, st *store.Store, name string) *store.Consumer {
	t.Helper()
	c, err := st.Consumer(name, store.SessionIDs)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWithTheRealStore(t *testing.T) {
	dir := t.TempDir()
	const frames, each = 500, 100
	t.Run("acks and commands", func(t *testing.T) {
		st, stop := openStore(t, dir)
		commands, up := consumer(t, st, "adapter/dev"), consumer(t, st, "bridge/cloud/0")
		s, err := NewStream(Options{
			Name: "dev", Topic: tmpl(t, "gw/dev"), QoS: 1, Ack: []byte("OK\n"), Broker: uplink{st, up}, Disk: st,
			Command: &CommandOptions{
				Attach: func(string) (Commands, func(), error) { return commands, func() {}, nil },
				Topic:  tmpl(t, "gw/dev/set"),
				Encode: decode.Command{Template: tmpl(t, "{payload}\n")},
				TTL:    time.Minute,
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(t.Context())
		device, ours := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = s.Run(ctx, func(ctx context.Context) error { return s.Serve(ctx, ours, Place{}) })
		})
		for i := range each {
			m := &store.Message{Topic: "gw/dev/set", Payload: []byte(strconv.Itoa(i)), QoS: byte(i % 3)}
			if _, err := st.Publish(m, []store.Target{{Consumer: commands, QoS: max(1, m.QoS)}}); err != nil {
				t.Fatal(err)
			}
		}
		wg.Go(func() {
			for i := range frames {
				_, _ = io.WriteString(device, strconv.Itoa(i)+"\n")
			}
		})
		acks, next := 0, 0
		for in := bufio.NewReader(device); acks < frames || next < each; {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			switch line {
			case "OK\n":
				acks++
			case strconv.Itoa(next) + "\n":
				next++
			default:
				t.Fatalf("got %q, want an ack or command %d", line, next)
			}
		}
		end()
		wg.Wait()
		// One more while the adapter is away.
		r, err := st.Publish(&store.Message{Topic: "gw/dev/set", Payload: []byte("later"), QoS: 1}, []store.Target{{Consumer: commands, QoS: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Wait(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		stop()
	})
	t.Run("after a restart", func(t *testing.T) {
		st, _ := openStore(t, dir)
		commands, up := consumer(t, st, "adapter/dev"), consumer(t, st, "bridge/cloud/0")
		if n := up.Lag().Messages; n != frames {
			t.Fatalf("%d frames in the queue, %d were acknowledged", n, frames)
		}
		d, err := commands.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if pending := string(d.Payload); pending != "later" {
			t.Fatalf("the first command after the restart is %q", pending)
		}
	})
}
