package bench

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/client"
)

// receiver subscribes to all that is published, and counts what arrives.
type receiver struct {
	run        *run
	conn       *client.Packets
	subscribed chan error // one: what came of the subscription

	mu      sync.Mutex
	of      []arrivals // by client, from 1 on
	half    map[uint16]bool
	arrived atomic.Uint64 // different messages
	strange uint64        // of no such run
	out     []byte
}

const subscribeID = 1

// subscribe asks for the messages, and waits for the answer.
func (r *receiver) subscribe() error {
	o := &r.run.opt
	b := packet.AppendSubscribe(nil, o.Dial.Connect.Version, &packet.Subscribe{
		ID: subscribeID, Filters: []packet.Filter{{Filter: o.Topic.Filter(), QoS: o.QoS}},
	})
	if _, err := r.conn.Write(b); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

// read takes what comes until the connection ends; when this side has closed it,
// that is no error.
func (r *receiver) read() error {
	for {
		typ, flags, body, err := r.conn.Reader.Next()
		if err == nil {
			err = r.take(typ, flags, body)
		}
		if err == nil && len(r.out) > 0 && !r.conn.Reader.Buffered() {
			_, err = r.conn.Write(r.out)
			r.out = r.out[:0]
		}
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("of the subscriber: %w", client.Ending(err))
		}
	}
}

// take uses a packet.
func (r *receiver) take(typ, flags byte, body []byte) error {
	version := r.run.opt.Dial.Connect.Version
	switch typ {
	case packet.SUBACK:
		var a packet.Suback
		if err := packet.ParseSuback(typ, body, version, &a); err != nil {
			return err
		}
		if len(a.Codes) != 1 || a.Codes[0] >= 0x80 {
			return &client.Refused{What: "to subscribe to " + r.run.opt.Topic.Filter(), Code: a.Codes[0]}
		}
		r.subscribed <- nil
	case packet.PUBLISH:
		var p packet.Publish
		if err := packet.ParsePublish(flags, body, version, &p); err != nil {
			return err
		}
		r.message(&p)
	case packet.PUBREL:
		a, err := packet.ParseAck(typ, flags, body, version)
		if err != nil {
			return err
		}
		delete(r.half, a.ID)
		r.out = packet.AppendAck(r.out, version, packet.PUBCOMP, a.ID, packet.Success)
	case packet.DISCONNECT:
		return disconnected(body, version)
	}
	return nil
}

// message counts one, and answers.
func (r *receiver) message(p *packet.Publish) {
	version := r.run.opt.Dial.Connect.Version
	fresh := true
	switch p.QoS {
	case 1:
		r.out = packet.AppendAck(r.out, version, packet.PUBACK, p.ID, packet.Success)
	case 2:
		r.out = packet.AppendAck(r.out, version, packet.PUBREC, p.ID, packet.Success)
		fresh = !r.half[p.ID] // else a repeat, which the protocol allows for
		r.half[p.ID] = true
	}
	if !fresh || p.Retain {
		return
	}
	h, ok := parseHead(p.Payload, r.run.id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok || h.client < 1 || int(h.client) > len(r.of) {
		r.strange++
		return
	}
	a := &r.of[h.client-1]
	before := a.count
	a.add(h.n)
	if a.count > before {
		r.arrived.Add(1)
		r.run.deliveries.Add(time.Duration(r.run.clock.now() - h.at))
	}
}
