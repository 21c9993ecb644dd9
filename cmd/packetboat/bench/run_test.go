package bench

import (
	"context"
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/client"
)

// liar is a broker that acknowledges everything at QoS 1 and delivers as it likes.
type liar struct {
	t    *testing.T
	ln   net.Listener
	mu   sync.Mutex
	to   net.Conn // the subscriber
	held []byte   // a delivery that another one overtakes

	lost, twice, late int
	refuse            byte // instead
	silent            bool // it acknowledges nothing
	leaves            int  // after so many of a client; 0: never
	keep              uint16
	pings             atomic.Uint32
	pinged            func() // at the third
}

func newLiar(t *testing.T) *liar {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{t: t, ln: ln}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { l.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		conns.Wait()
	})
	return l
}

func (l *liar) serve(c net.Conn) {
	defer c.Close()
	r := packet.NewReader(c, 4<<10, 0)
	taken := 0
	for {
		typ, flags, body, err := r.Next()
		if err != nil {
			return
		}
		var out []byte
		switch typ {
		case packet.CONNECT:
			out = packet.AppendConnack(nil, packet.V5, &packet.Connack{ReceiveMaximum: 20, ServerKeepAlive: l.keep, HasServerKeepAlive: l.keep > 0})
		case packet.PINGREQ:
			out = packet.AppendPing(nil, packet.PINGRESP)
			if l.pings.Add(1) == 3 {
				l.pinged()
			}
		case packet.SUBSCRIBE:
			l.mu.Lock()
			l.to = c
			l.mu.Unlock()
			out = packet.AppendSuback(nil, packet.V5, packet.SUBACK, &packet.Suback{ID: subscribeID, Codes: []byte{1}})
		case packet.PUBLISH:
			var p packet.Publish
			if err := packet.ParsePublish(flags, body, packet.V5, &p); err != nil {
				l.t.Error(err)
				return
			}
			if p.QoS > 0 && !l.silent {
				out = packet.AppendAck(nil, packet.V5, packet.PUBACK, p.ID, l.refuse)
			}
			if l.refuse == 0 {
				l.deliver(&p)
			}
			if taken++; taken > l.leaves && l.leaves > 0 {
				return
			}
		case packet.DISCONNECT:
			return
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// deliver loses the fourth of ten, sends the sixth twice, and the eighth behind the
// ninth.
func (l *liar) deliver(p *packet.Publish) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.to == nil {
		return
	}
	p.QoS, p.ID = 0, 0
	b := packet.AppendPublish(nil, packet.V5, p)
	switch binary.BigEndian.Uint64(p.Payload[8:]) % 10 {
	case 3:
		l.lost++
		return
	case 5:
		l.twice++
		b = append(b, b...)
	case 7:
		l.held = b
		return
	case 8:
		l.late++
		b = append(b, l.held...)
		l.held = nil
	}
	_, _ = l.to.Write(b) // the subscriber may have left
}

func (l *liar) options() Options {
	return Options{
		Dial:    client.Options{Server: "mqtt://" + l.ln.Addr().String(), Timeout: 10 * time.Second, Connect: packet.Connect{Version: packet.V5, ClientID: "b"}},
		Clients: 1, QoS: 1, Size: 100, Window: 1000, Topic: "bench/{client}", For: time.Minute, Drain: 30 * time.Second, Subscriber: Live,
	}
}

func TestWhatABrokerLosesRepeatsAndMixesUpIsCounted(t *testing.T) {
	l := newLiar(t)
	o := l.options()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Progress = func(p Progress) {
		if p.Arrived > 100 {
			cancel()
		}
	}
	r, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := uint64(l.lost)
	if l.held != nil {
		lost++ // the end came before the ninth
	}
	if l.lost == 0 || r.Missing != lost || r.Twice != uint64(l.twice) || r.Disordered != uint64(l.late) {
		t.Errorf("lost %d, twice %d, late %d: %+v", lost, l.twice, l.late, r)
	}
	if r.Window != 20 || !r.Interrupted || r.Acknowledged != r.Sent || r.Unanswered != 0 || r.Elapsed <= 0 || r.Acks.Count() != r.Acknowledged {
		t.Errorf("%+v", r)
	}
}

func TestRefusalsAreNoLosses(t *testing.T) {
	l := newLiar(t)
	l.refuse = packet.QuotaExceeded
	o := l.options()
	o.For = 50 * time.Millisecond
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Refused[packet.Reason(packet.QuotaExceeded)]; n == 0 || n != r.Sent || r.Missing != 0 || r.Acknowledged != 0 {
		t.Errorf("%+v", r)
	}
}

func TestWhatIsNotAnsweredIsSaid(t *testing.T) {
	l := newLiar(t)
	l.silent = true
	o := l.options()
	o.For, o.Drain = 50*time.Millisecond, 200*time.Millisecond
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Unanswered != 20 || r.Sent != 20 || r.Missing != 0 || r.Acks.Count() != 0 {
		t.Errorf("%+v", r)
	}
}

func TestConnectionsThatEndEarlyAreSaid(t *testing.T) {
	l := newLiar(t)
	l.leaves = 5
	o := l.options()
	o.Clients, o.Window, o.Subscriber = 3, 1, None // nobody waits for a minute then
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	broken := uint64(0)
	for _, n := range r.Broken {
		broken += n
	}
	if r.Counted || r.Acknowledged != 15 || broken != 3 {
		t.Errorf("%+v", r)
	}
	_ = l.ln.Close()
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "connect client") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("no broker: %v", err)
	}
}

func TestConnectionsAreKeptAlive(t *testing.T) {
	l := newLiar(t)
	l.keep = 1
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l.pinged = cancel
	o := l.options()
	o.Clients, o.Rate, o.QoS = 2, 1, 0
	if r, err := Run(ctx, o); err != nil || !r.Interrupted || len(r.Broken) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
