package bridge

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// A message on which the server disconnects would come first on the next
// connection, and on the one after it: a lane that is blocked for ever. It is
// found in two steps.
//
//	suspicion   the server has ended suspectAfter connections in a row with the
//	            same message first in flight of a lane
//	probe       what was in flight of that lane then goes one by one, with nothing
//	            else under way, on connections on which the server has answered a
//	            PINGREQ. A message that is acknowledged is innocent. One on which the
//	            server has disconnected proofs times is a dead letter.
//
// Cuts of the network look like that by chance, now and then: the pings and the
// proofs are what keeps them apart. Ends by timeouts, by our own doing, or for a
// reason that no message can cause prove nothing.
const (
	suspectAfter = 2
	proofs       = 3
)

// probe is what is known about such messages. Bridge.mu guards it, but
// for alone.
type probe struct {
	suspects [lanes]suspect
	alone    atomic.Bool // the message under proof is in flight
}

// suspect is the search in one lane.
type suspect struct {
	first uint64 // seq in flight at the last end
	ends  int    // by the server, in a row, with that one
	high  uint64 // probing: from first on, below this; 0 = not
	times int    // that the server has disconnected on first alone
}

// probing is the lane that is searched now, the highest first; -1 = none.
func (p *probe) probing() int {
	for i := lanes - 1; i >= 0; i-- {
		if p.suspects[i].high > 0 {
			return i
		}
	}
	return -1
}

// probeLocked returns the lane from which messages go one by one, -1 for none.
// Lanes in which all suspects are finished are done with.
func (b *Bridge) probeLocked() int {
	for {
		lane := b.probe.probing()
		if lane < 0 {
			return lane
		}
		s := &b.probe.suspects[lane]
		floor := b.lanes[lane].consumer.Floor()
		if floor < s.high {
			if floor > s.first {
				s.first, s.times = floor, 0
			}
			return lane
		}
		*s = suspect{}
		b.log.Info("none of the other messages makes the server disconnect", "lane", lane)
	}
}

func (b *Bridge) isProbing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.probe.probing() >= 0
}

// blame notes what the end of a connection says about messages, and gives up the
// one that is proved to be the cause. The pump and the client must have ended.
func (c *conn) blame(err error) {
	b := c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	b.echoes.connected(false)
	alone := b.probe.alone.Swap(false)
	if !blames(err) {
		return
	}
	if lane := b.probeLocked(); lane >= 0 {
		if alone {
			c.proveLocked(lane, err)
		}
		return
	}
	for i := range b.lanes {
		s := &b.probe.suspects[i]
		first, end, ok := b.lanes[i].consumer.InFlight()
		switch {
		case !ok:
			*s = suspect{}
		case s.ends == 0 || first != s.first:
			*s = suspect{first: first, ends: 1}
		default:
			s.ends++
		}
		if s.ends >= suspectAfter {
			s.high = end
			b.log.Warn("the server keeps disconnecting while the same message is in flight; sending one by one to find out whether that is the cause",
				"lane", i, "messages", end-first, "error", err)
		}
	}
}

// proveLocked takes a proof against the message that was in flight alone.
func (c *conn) proveLocked(lane int, err error) {
	b := c.b
	s := &b.probe.suspects[lane]
	first, _, ok := b.lanes[lane].consumer.InFlight()
	if !ok {
		return // it was acknowledged before the end
	}
	if first != s.first {
		s.first, s.times = first, 0
	}
	if s.times++; s.times < proofs {
		return
	}
	b.lanes[lane].window.GiveUp(first, store.Poison, fmt.Sprintf("%d times, while it was in flight alone: %v", s.times, err))
	s.first, s.times = first+1, 0
	b.log.Warn("the server disconnects whenever it gets this message; it is a dead letter now",
		"lane", lane, "seq", first, "queue", b.deadName(), "error", err)
}

// pong notes an answer to PINGREQ: the connection works.
func (c *conn) pong() {
	c.b.mu.Lock()
	c.proven = true
	c.b.mu.Unlock()
	c.link.kick()
}

// blames reports whether a connection may have ended because of what was sent.
func blames(err error) bool {
	var d *disconnected
	if errors.As(err, &d) {
		switch d.code {
		case packet.UnspecifiedError, packet.MalformedPacket, packet.ProtocolError, packet.ImplementationSpecificError,
			packet.NotAuthorized, packet.TopicNameInvalid, packet.PacketTooLarge, packet.PayloadFormatInvalid,
			packet.RetainNotSupported, packet.QoSNotSupported:
			return true
		}
		return false
	}
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}
