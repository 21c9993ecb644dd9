package sim

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"packetboat/broker/packet"
)

// Publisher is an MQTT client that publishes the numbers of a source, each
// until it is acknowledged, over as many connections as that takes.
//
// It keeps its half of the session as the specification asks: after a cut it
// sends again, in order and under the same identifiers, what was not
// acknowledged, and PUBREL for what the server has confirmed with PUBREC. When
// the server has forgotten the session it starts anew with what it holds.
type Publisher struct {
	Addr    string
	Topic   string
	QoS     byte // 1 or 2
	Version byte // packet.V311 or packet.V5; 0 is the latter
	Source  *Source
	Rate    int    // a second; 0: as fast as acknowledgements come
	Count   uint64 // numbers to publish; 0: until Stop is closed
	Window  int    // in flight; 0 is 32
	Expiry  uint32 // seconds, MQTT 5 only; 0: the messages do not expire

	// Stop, when closed, ends Run once all that is in flight is acknowledged.
	Stop <-chan struct{}

	// Unwanted, if not nil, is called for each number that the server has acknowledged
	// with No matching subscribers (MQTT 5), instead of counting it as acknowledged.
	Unwanted func(n uint64)

	// Refused counts publishes that the server did not take; they are given up.
	Refused atomic.Uint64
	// Forgotten counts connects at which the server did not know the session.
	Forgotten atomic.Uint64

	flying  []flight
	written uint64
	known   bool // the server once had our session
	out     []byte
}

// flight is a publish that is not finished.
type flight struct {
	n        uint64
	id       uint16
	received bool // PUBREC came
	unwanted bool // nobody subscribes to it, the server said
}

// Run publishes until Count or Stop, and all of it is acknowledged; or until
// ctx ends, which is an error.
func (p *Publisher) Run(ctx context.Context) error {
	if p.Version == 0 {
		p.Version = packet.V5
	}
	if p.Window == 0 {
		p.Window = 32
	}
	if err := redial(ctx, p.session); err != nil {
		return fmt.Errorf("publisher %s with %d in flight: %w", p.Source.Name, len(p.flying), err)
	}
	return nil
}

// session is one connection.
func (p *Publisher) session(ctx context.Context) (done bool, err error) {
	c := &packet.Connect{Version: p.Version, ClientID: p.Source.Name, KeepAlive: 60}
	if p.Version == packet.V5 {
		c.SessionExpiry = 3600
	}
	x, ack, err := dial(ctx, p.Addr, c)
	if err != nil {
		return false, err
	}
	acks := make(chan ackEvent, 256)
	gone := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() { gone <- x.readAcks(ctx, acks) }()
	ended := false
	defer func() {
		cancel()
		_ = x.Close()
		if !ended {
			<-gone
		}
	}()
	window := p.Window
	if ack.ReceiveMaximum > 0 {
		window = min(window, int(ack.ReceiveMaximum))
	}
	p.resume(ack.SessionPresent)

	var pace <-chan time.Time
	if p.Rate > 0 {
		t := time.NewTicker(time.Second / time.Duration(p.Rate))
		defer t.Stop()
		pace = t.C
	}
	for {
		if p.over() && len(p.flying) == 0 {
			if _, err := x.Write(packet.AppendDisconnect(p.out[:0], p.Version, &packet.Disconnect{})); err != nil {
				return true, nil // all is acknowledged; how the connection ends is of no interest
			}
			return true, nil
		}
		for p.Rate == 0 && !p.over() && len(p.flying) < window {
			p.publish()
		}
		if len(p.out) > 0 {
			if _, err := x.Write(p.out); err != nil {
				return false, err
			}
			p.out = p.out[:0]
		}
		stop := p.Stop
		if p.over() {
			stop = nil
		}
		select {
		case a := <-acks:
			p.take(a)
			for len(acks) > 0 {
				p.take(<-acks)
			}
		case <-pace:
			if !p.over() && len(p.flying) < window {
				p.publish()
			}
		case <-stop:
		case err := <-gone:
			ended = true
			return false, err
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// over reports whether no more numbers are to be taken.
func (p *Publisher) over() bool {
	if p.Count > 0 && p.written >= p.Count {
		return true
	}
	select {
	case <-p.Stop:
		return true
	default:
		return false
	}
}

// resume writes what a new connection begins with.
func (p *Publisher) resume(present bool) {
	if !present && p.known {
		p.Forgotten.Add(1)
	}
	p.known = true
	flying := p.flying
	p.flying, p.out = p.flying[:0], p.out[:0]
	for _, f := range flying {
		switch {
		case f.received && !present:
			// The server took it and has forgotten the rest: it is finished,
			// without the PUBCOMP that would have counted.
			continue
		case f.received:
			p.out = packet.AppendAck(p.out, p.Version, packet.PUBREL, f.id, packet.Success)
		default:
			p.send(f, present)
		}
		p.flying = append(p.flying, f)
	}
}

func (p *Publisher) publish() {
	p.written++
	n := p.Source.Next()
	f := flight{n: n, id: uint16(1 + n%60000)}
	p.flying = append(p.flying, f)
	p.send(f, false)
}

func (p *Publisher) send(f flight, dup bool) {
	p.out = packet.AppendPublish(p.out, p.Version, &packet.Publish{
		Topic: p.Topic, QoS: p.QoS, ID: f.id, Dup: dup, Payload: p.Source.Payload(f.n),
		HasExpiry: p.Expiry > 0, Expiry: p.Expiry,
	})
}

// take uses an acknowledgement.
func (p *Publisher) take(a ackEvent) {
	i := 0
	for i < len(p.flying) && p.flying[i].id != a.id {
		i++
	}
	if i == len(p.flying) {
		return
	}
	f := &p.flying[i]
	f.unwanted = f.unwanted || a.code == packet.NoMatchingSubscribers
	switch {
	case a.code >= 0x80 && (a.typ == packet.PUBACK || a.typ == packet.PUBREC):
		p.Refused.Add(1)
	case a.typ == packet.PUBREC && p.QoS == 2:
		f.received = true
		p.out = packet.AppendAck(p.out, p.Version, packet.PUBREL, f.id, packet.Success)
		return
	case a.typ == packet.PUBACK && p.QoS == 1 || a.typ == packet.PUBCOMP && p.QoS == 2:
		p.acknowledged(f)
	default:
		return
	}
	p.flying = append(p.flying[:i], p.flying[i+1:]...)
}

func (p *Publisher) acknowledged(f *flight) {
	if f.unwanted && p.Unwanted != nil {
		p.Unwanted(f.n)
		return
	}
	p.Source.Acked(f.n)
}

type ackEvent struct {
	typ  byte
	id   uint16
	code byte
}

// readAcks hands over acknowledgements until the connection ends.
func (x *conn) readAcks(ctx context.Context, to chan<- ackEvent) error {
	for {
		typ, flags, body, err := x.packets.Next()
		if err != nil {
			return err
		}
		switch typ {
		case packet.PUBACK, packet.PUBREC, packet.PUBCOMP:
			a, err := packet.ParseAck(typ, flags, body, x.version)
			if err != nil {
				return err
			}
			select {
			case to <- ackEvent{typ, a.ID, a.Code}:
			case <-ctx.Done():
				return ctx.Err()
			}
		case packet.DISCONNECT:
			return errors.New("the server has disconnected")
		}
	}
}
