package adapters

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"packetboat/broker"
	"packetboat/broker/store"
	"packetboat/config"
)

func TestOnTheRealBroker(t *testing.T) {
	st, _ := openStore(t, t.TempDir())
	b, err := broker.New(broker.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("x.toml", []byte(`
[gateway]
id = "gw"
[[tcp]]
name = "dev"
listen = ":7000"
[tcp.command]
`), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	opt, err := NewHost(b, st, nil).Stream(&cfg.TCP[0].Stream)
	if err != nil {
		t.Fatal(err)
	}
	cloud, err := b.Attach("bridge/cloud", 0, []broker.Subscription{{Filter: "gw/dev", QoS: 2}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	s, err := NewStream(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	device, ours := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Run(ctx, func(ctx context.Context) error { return s.Serve(ctx, ours, Place{}) })
	})

	io.WriteString(device, "12.5 kg\r\n")
	d, err := cloud.Lane(0).Next(t.Context())
	if err != nil || string(d.Payload) != "12.5 kg" || d.Topic != "gw/dev" || d.QoS != 1 {
		t.Fatalf("%+v, %v", d, err)
	}

	in := bufio.NewReader(device)
	for qos, payload := range []string{"TARE", "ZERO", "PRINT"} {
		if _, err := b.Publish(&broker.Message{Topic: "gw/dev/set", Payload: []byte(payload), QoS: byte(qos)}); err != nil {
			t.Fatal(err)
		}
		if line, err := in.ReadString('\n'); err != nil || line != payload+"\r\n" {
			t.Fatalf("QoS %d: %q, %v", qos, line, err)
		}
	}
	stop()
	wg.Wait()
}

// TestAnAdapterInThePlaceOfAnother: no command is missed or had twice, one that was
// not finished is there again, and the old adapter's end changes nothing.
func TestAnAdapterInThePlaceOfAnother(t *testing.T) {
	st, _ := openStore(t, t.TempDir())
	b, err := broker.New(broker.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	h := NewHost(b, st, nil)
	attach := func(filter string) (Commands, func()) {
		t.Helper()
		c, detach, err := h.Attach("dev", filter)
		if err != nil {
			t.Fatal(err)
		}
		return c, detach
	}
	command := func(topic, payload string) {
		t.Helper()
		if _, err := b.Publish(&broker.Message{Topic: topic, Payload: []byte(payload), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	next := func(c Commands, want string) uint64 {
		t.Helper()
		d, err := c.Next(t.Context())
		if err != nil || string(d.Payload) != want {
			t.Fatalf("%q, %v; want %q", d.Payload, err, want)
		}
		return d.Seq
	}
	old, detachOld := attach("a/set")
	command("a/set", "1")
	old.Done(next(old, "1"))
	command("a/set", "2")
	next(old, "2") // not finished
	command("a/set", "3")
	now, detach := attach("b/set")
	command("b/set", "4")
	command("a/set", "nobody wants it any more")
	detachOld()
	command("b/set", "5")
	for _, want := range []string{"2", "3", "4", "5"} {
		now.Done(next(now, want))
	}
	detach()
	command("b/set", "nobody is there")
	again, _ := attach("b/set") // after a while without commands
	command("b/set", "6")
	again.Done(next(again, "6"))
}

// TestAnAdapterThatComesBackHasItsQueueKept: while it was not configured its
// commands were the first to go when the queue is full; they are not any more.
func TestAnAdapterThatComesBackHasItsQueueKept(t *testing.T) {
	st, err := store.Open(t.TempDir(), store.Options{MaxSize: 1 << 20, SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = st.Run(ctx) })
	defer wg.Wait()
	defer stop()
	b, err := broker.New(broker.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Attach("bridge/bulk", 0, []broker.Subscription{{Filter: "bulk", QoS: 1}}, nil); err != nil {
		t.Fatal(err)
	}
	h := NewHost(b, st, nil)
	_, detach, err := h.Attach("valve", "open")
	if err != nil {
		t.Fatal(err)
	}
	detach()
	st.Lookup("adapter/valve").SetOrphan(true) // as a gateway does where it is not configured
	if _, _, err := h.Attach("valve", "open"); err != nil {
		t.Fatal(err)
	}
	publish := func(topic string, payload []byte) {
		t.Helper()
		r, err := b.Publish(&broker.Message{Topic: topic, Payload: payload, QoS: 1})
		if err == nil {
			err = st.Wait(t.Context(), r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	publish("open", []byte("1"))
	for range 100 {
		publish("bulk", make([]byte, 20<<10))
	}
	if l := st.Lookup("bridge/bulk").Lag(); l.Lost[store.Dropped] == 0 {
		t.Fatal("nothing was dropped: the test tests nothing")
	}
	if l := st.Lookup("adapter/valve").Lag(); l.Messages != 1 {
		t.Errorf("%d commands wait; lost %v", l.Messages, l.Lost)
	}
}
