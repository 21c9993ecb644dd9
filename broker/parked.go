package broker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"packetboat/broker/packet"
)

const (
	// parkedBytes is how many bytes of topics and payloads one connection may
	// have parked; a single larger publish may be.
	parkedBytes = 1 << 20
	// parkedRetry is how often the store is asked again: it gains room a segment
	// at a time.
	parkedRetry = time.Second
)

var (
	// errNoRoom: the store does not take a publish now, and the client cannot be
	// told so.
	errNoRoom = errors.New("the queue takes nothing now")

	errParkedFull = &packet.Error{Code: packet.QuotaExceeded, Reason: "the queue takes nothing, and more publishes came than may be parked"}
)

// parked holds the QoS 1 and 2 publishes of an MQTT 3.1.1 connection from the
// first one on that the store did not take, copied, in their order. They have
// no place among the answers that wait: the client hears nothing of them
// before they are staged, and everything else it sends is served as ever.
//
// It belongs to the reader and ends with the connection, as the client then
// sends again what was not acknowledged. It is bounded by Options.MaxInflight
// and parkedBytes; beyond that the connection is closed.
type parked struct {
	q     []packet.Publish
	bytes int
}

// park keeps a copy of p.
func (c *conn) park(p *packet.Publish) error {
	k := &c.parked
	size := len(p.Topic) + len(p.Payload)
	if len(k.q) >= c.b.opt.MaxInflight || len(k.q) > 0 && k.bytes+size > parkedBytes {
		return errParkedFull
	}
	if len(k.q) == 0 {
		c.log.Debug("publishes are parked", "client", c.session.id, "remote", c.remote)
	}
	kept := *p
	kept.Topic, kept.Payload = strings.Clone(p.Topic), append([]byte(nil), p.Payload...)
	k.q = append(k.q, kept)
	k.bytes += size
	c.b.stats.parked.Add(1)
	c.b.held.add(c)
	return nil
}

// unpark takes in what the store takes now.
func (c *conn) unpark() error {
	k := &c.parked
	n := 0
	var err error
	for ; n < len(k.q); n++ {
		if all, _ := c.unanswered(); all >= c.b.opt.MaxInflight {
			break
		}
		if err = c.takeIn(&k.q[n]); err != nil {
			break
		}
		k.bytes -= len(k.q[n].Topic) + len(k.q[n].Payload)
	}
	c.b.stats.parked.Add(-int64(n))
	if k.q = k.q[n:]; len(k.q) == 0 {
		k.q = nil
		c.b.held.remove(c)
	}
	if n > 0 {
		c.endRound()
	}
	if err == errNoRoom {
		return nil
	}
	return err
}

// dropParked is the end of what is parked, with the connection.
func (c *conn) dropParked() {
	c.b.held.remove(c)
	c.b.stats.parked.Add(-int64(len(c.parked.q)))
	c.parked = parked{}
}

// held are the connections whose readers wait for the store without being told
// when it goes on: they have publishes parked, or as many answers waiting as
// there may be. It holds each connection at most once.
type held struct {
	mu    sync.Mutex
	conns map[*conn]struct{}
	wake  chan struct{} // one slot: there are some, or late wills
}

func (h *held) init() {
	h.conns = make(map[*conn]struct{})
	h.wake = make(chan struct{}, 1)
}

func (h *held) add(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns[c] = struct{}{}
	if len(h.conns) == 1 {
		h.kick()
	}
}

func (h *held) kick() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *held) remove(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
}

// nudge nudges all of them and returns how many there are.
func (h *held) nudge() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		c.nudge()
	}
	return len(h.conns)
}

// nudgeHeld makes the readers that wait for the store look again, and tries
// late wills, until ctx ends.
func (b *Broker) nudgeHeld(ctx context.Context) {
	tick := time.NewTicker(parkedRetry)
	defer tick.Stop()
	for {
		select {
		case <-b.held.wake:
		case <-ctx.Done():
			return
		}
		tick.Reset(parkedRetry)
		for some := true; some; {
			select {
			case <-tick.C:
				wills := b.retryWills() // before what their clients sent later
				some = b.held.nudge()+wills+b.saveWills() > 0
			case <-ctx.Done():
				return
			}
		}
		tick.Stop()
	}
}

// nudge makes the reader try its parked publishes again, wherever it waits.
func (c *conn) nudge() {
	c.nudged.Store(true)
	_ = c.sock.conn.SetReadDeadline(past) // the reader sets the one that counts
	select {
	case c.resume <- struct{}{}:
	default:
	}
}
