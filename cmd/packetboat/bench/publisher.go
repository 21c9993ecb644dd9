package bench

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/client"
)

// publisher is a client that publishes, each message in a slot of its window. Its
// packet identifier is that of the slot, from 1 on.
type publisher struct {
	run    *run
	conn   *client.Packets
	client int // from 1 on
	window int
	due    pace

	mu      sync.Mutex // the rest, and writing
	slots   []slot
	free    []uint16
	next    uint64 // number of the next message
	stopped bool
	payload []byte
	topic   string
	out     []byte
	idle    chan struct{} // closed when it is stopped and nothing is in flight, or the connection is gone
	isIdle  bool
}

// slot is a message in flight.
type slot struct {
	n    uint64
	at   int64 // when it was due
	busy bool
}

// batch is how many bytes are written at once, at least.
const batch = 16 << 10

// begin sends the first messages and, where acknowledgements do not, goes on until
// ctx ends or the connection does.
func (p *publisher) begin(ctx context.Context) {
	if p.run.opt.QoS > 0 && p.run.opt.Rate == 0 {
		p.fill()
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		if p.run.opt.Rate > 0 {
			timer.Reset(p.wait())
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
		if !p.fill() {
			return
		}
	}
}

// wait is how long until the next message is due. When it is overdue and the window
// is full, an acknowledgement sends it.
func (p *publisher) wait() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := time.Duration(p.due.next() - p.run.clock.now())
	if d <= 0 && p.run.opt.QoS > 0 && len(p.free) == 0 {
		d = time.Duration(p.due.every)
	}
	return d
}

// stop has no more messages sent.
func (p *publisher) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.restLocked(false)
}

// restLocked closes idle when there is nothing left to wait for.
func (p *publisher) restLocked(gone bool) {
	if !p.isIdle && (gone || p.stopped && len(p.free) == p.window) {
		p.isIdle = true
		close(p.idle)
	}
}

// fill sends what there is room for and is due; false: no more can be sent.
func (p *publisher) fill() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for now := p.run.clock.now(); !p.stopped && (p.run.opt.QoS == 0 || len(p.free) > 0); {
		at, ok := p.due.take(now)
		if !ok {
			break
		}
		p.append(at)
		if len(p.out) >= batch {
			if p.run.opt.QoS == 0 {
				break
			}
			if !p.flush() {
				return false
			}
		}
	}
	return p.flush() && !p.stopped
}

// append makes the next message, which was due at that time.
func (p *publisher) append(at int64) {
	m := packet.Publish{QoS: p.run.opt.QoS, Topic: p.topic, Payload: p.payload}
	if !p.run.opt.Topic.Fixed() {
		m.Topic = p.run.opt.Topic.Of(p.client, p.next+1)
	}
	if m.QoS > 0 {
		m.ID = p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
		p.slots[m.ID-1] = slot{p.next, at, true}
	}
	(&head{p.run.id, uint32(p.client), p.next, at}).put(p.payload)
	p.next++
	p.run.sent.Add(1)
	p.out = packet.AppendPublish(p.out, p.run.opt.Dial.Connect.Version, &m)
}

func (p *publisher) flush() bool {
	if len(p.out) == 0 {
		return true
	}
	_, err := p.conn.Write(p.out)
	p.out = p.out[:0]
	return err == nil // the reader says why
}

// read takes acknowledgements until the connection ends, and notes why.
func (p *publisher) read() {
	p.run.fault(p.readAll()) // before anybody goes on
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.restLocked(true)
}

func (p *publisher) readAll() error {
	for {
		typ, flags, body, err := p.conn.Reader.Next()
		if err == nil {
			err = p.take(typ, flags, body)
		}
		switch {
		case errors.Is(err, net.ErrClosed): // by this side
			return nil
		case err != nil:
			return client.Ending(err)
		}
		if !p.conn.Reader.Buffered() {
			p.fill()
		}
	}
}

// take uses a packet.
func (p *publisher) take(typ, flags byte, body []byte) error {
	switch typ {
	case packet.PUBACK, packet.PUBREC, packet.PUBCOMP:
	case packet.DISCONNECT:
		return disconnected(body, p.run.opt.Dial.Connect.Version)
	default:
		return nil
	}
	a, err := packet.ParseAck(typ, flags, body, p.run.opt.Dial.Connect.Version)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.ID == 0 || int(a.ID) > len(p.slots) || !p.slots[a.ID-1].busy {
		return nil
	}
	s := &p.slots[a.ID-1]
	switch {
	case a.Code >= 0x80:
		p.run.refuse(a.Code)
	case typ == packet.PUBREC:
		p.out = packet.AppendAck(p.out, p.run.opt.Dial.Connect.Version, packet.PUBREL, a.ID, packet.Success)
		return nil // fill sends it
	default:
		now := p.run.clock.now()
		p.run.acks.Add(time.Duration(now - s.at))
		p.run.lastAck.Store(now)
		p.run.acked.Add(1)
	}
	s.busy = false
	p.free = append(p.free, a.ID)
	p.restLocked(false)
	return nil
}

// disconnected is the error of a broker that takes leave.
func disconnected(body []byte, version byte) error {
	var d packet.Disconnect
	if err := packet.ParseDisconnect(body, version, &d); err != nil {
		return err
	}
	return &client.Refused{What: "to go on", Code: d.Code, Text: d.ReasonString}
}

// pace says when messages are due: by a rate, else always.
type pace struct {
	every float64 // nanoseconds; 0: always
	first float64
	n     uint64
}

// next is when the next message is due.
func (p *pace) next() int64 { return int64(p.first + float64(p.n)*p.every) }

// take takes the next one if it is due, and says since when: an answer to a message
// that could not be sent in time has taken longer.
func (p *pace) take(now int64) (at int64, ok bool) {
	if p.every == 0 {
		return now, true
	}
	if at = p.next(); at > now {
		return 0, false
	}
	p.n++
	return at, true
}
