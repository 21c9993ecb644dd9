package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"packetboat/broker/packet"
)

// client311 speaks MQTT 3.1.1 on the link, with our own codec. Its goroutines
// are a reader and the pinger.
type client311 struct {
	c       *conn
	buf     []byte // what was read and is not taken; the reader's own
	limit   int    // of a packet, bytes
	reading chan struct{}
	cause   error // set before reading is closed
	stop    context.CancelFunc
	jobs    sync.WaitGroup

	mu      sync.Mutex
	waiting map[uint16]chan packet.Suback // by packet identifier
	lost    bool
}

// maxInbound bounds a packet from a server when the configuration does not.
const maxInbound = 64 << 20

func newClient311(c *conn) *client311 {
	m := &client311{c: c, limit: c.b.maxPacket, reading: make(chan struct{}), waiting: make(map[uint16]chan packet.Suback)}
	if m.limit <= 0 {
		m.limit = maxInbound
	}
	return m
}

func (m *client311) connect(ctx context.Context) error {
	c := m.c
	waiting, cancel := context.WithTimeout(ctx, c.b.cfg.ConnectTimeout)
	defer cancel()
	end := context.AfterFunc(waiting, func() { c.link.fail(context.Cause(waiting)) })
	p := c.connectPacket()
	c.link.append(func(dst []byte) []byte { return packet.AppendConnect(dst, &p) })
	typ, _, body, err := m.next()
	if !end() {
		err = context.Cause(waiting)
	}
	var ack packet.Connack
	if err == nil && typ != packet.CONNACK {
		err = fmt.Errorf("the first packet is of type %d, not CONNACK [MQTT-3.2.0-1]", typ)
	}
	if err == nil {
		err = packet.ParseConnack(body, packet.V311, &ack)
	}
	switch {
	case err != nil:
		close(m.reading)
		return c.connectError(err)
	case ack.Code != packet.Success:
		close(m.reading)
		return &refusedConnect{code: ack.Code}
	}
	if err := c.settle(ack.SessionPresent, limitsOf(nil, c.b.cfg.Inflight)); err != nil {
		close(m.reading)
		return err
	}
	working, stop := context.WithCancel(ctx)
	m.stop = stop
	m.jobs.Go(func() { newPinger(c).run(working, p.KeepAlive) })
	m.jobs.Go(m.read)
	return nil
}

// next returns the next packet, which is valid until it is called again.
func (m *client311) next() (typ, flags byte, body []byte, err error) {
	for {
		typ, flags, body, n, err := packet.Next(m.buf, m.limit)
		if err != nil {
			return 0, 0, nil, err
		}
		if n > 0 {
			m.buf = m.buf[n:]
			return typ, flags, body, nil
		}
		m.buf = slices.Grow(m.buf, readBuffer)
		n, err = m.c.link.Read(m.buf[len(m.buf):cap(m.buf)])
		if err != nil {
			return 0, 0, nil, err
		}
		m.buf = m.buf[:len(m.buf)+n]
	}
}

// read takes packets until the link ends.
func (m *client311) read() {
	defer close(m.reading)
	for {
		typ, flags, body, err := m.next()
		if err == nil {
			err = m.packet(typ, flags, body)
		}
		if err != nil {
			var malformed *packet.Error
			if errors.As(err, &malformed) {
				m.cause = err
			}
			m.c.link.fail(err)
			m.giveUp()
			return
		}
	}
}

func (m *client311) packet(typ, flags byte, body []byte) error {
	switch typ {
	case packet.PUBLISH:
		var p packet.Publish
		if err := packet.ParsePublish(flags, body, packet.V311, &p); err != nil {
			return err
		}
		p.Topic, p.Payload = strings.Clone(p.Topic), bytes.Clone(p.Payload) // it may be parked
		m.c.received(&p)
	case packet.PUBACK, packet.PUBREC, packet.PUBREL, packet.PUBCOMP:
		a, err := packet.ParseAck(typ, flags, body, packet.V311)
		if err != nil {
			return err
		}
		m.c.acknowledged(typ, a.ID, a.Code)
	case packet.SUBACK, packet.UNSUBACK:
		var a packet.Suback
		if err := packet.ParseSuback(typ, body, packet.V311, &a); err != nil {
			return err
		}
		a.Codes = bytes.Clone(a.Codes)
		m.answered(&a)
	case packet.PINGRESP:
		m.c.pong()
	default:
		return &packet.Error{Code: packet.ProtocolError, Reason: fmt.Sprintf("a packet of type %d from a server", typ)}
	}
	return nil
}

func (m *client311) answered(a *packet.Suback) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if resp, ok := m.waiting[a.ID]; ok {
		delete(m.waiting, a.ID)
		resp <- *a // it has room for one
	}
}

// giveUp releases those who wait for an answer.
func (m *client311) giveUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost = true
	for id, resp := range m.waiting {
		delete(m.waiting, id)
		close(resp)
	}
}

// ask sends a packet that f makes, and waits for the answer to it.
func (m *client311) ask(ctx context.Context, f func(dst []byte, id uint16) []byte) (packet.Suback, error) {
	resp := make(chan packet.Suback, 1)
	id := uint16(firstRequestID)
	m.mu.Lock()
	for m.waiting[id] != nil && id < lastRequestID {
		id++
	}
	if m.lost || m.waiting[id] != nil {
		m.mu.Unlock()
		return packet.Suback{}, errLinkClosed
	}
	m.waiting[id] = resp
	m.mu.Unlock()
	m.c.link.append(func(dst []byte) []byte { return f(dst, id) })
	waiting, cancel := context.WithTimeout(ctx, m.c.b.cfg.ConnectTimeout)
	defer cancel()
	select {
	case a, ok := <-resp:
		if !ok {
			return packet.Suback{}, errLinkClosed
		}
		return a, nil
	case <-waiting.Done():
		m.mu.Lock()
		delete(m.waiting, id)
		m.mu.Unlock()
		return packet.Suback{}, context.Cause(waiting)
	}
}

func (m *client311) subscribe(ctx context.Context, subs []packet.Filter) ([]byte, error) {
	a, err := m.ask(ctx, func(dst []byte, id uint16) []byte {
		return packet.AppendSubscribe(dst, packet.V311, &packet.Subscribe{ID: id, Filters: subs})
	})
	return a.Codes, err
}

func (m *client311) unsubscribe(ctx context.Context, filters []string) error {
	_, err := m.ask(ctx, func(dst []byte, id uint16) []byte {
		return packet.AppendUnsubscribe(dst, packet.V311, &packet.Unsubscribe{ID: id, Filters: filters})
	})
	return err
}

func (m *client311) done() <-chan struct{} { return m.reading }

func (m *client311) problem() error { return m.cause }

func (m *client311) close() {
	_ = m.c.link.Close()
	if m.stop != nil {
		m.stop()
	}
	m.jobs.Wait()
	<-m.reading
}
