package bridge

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/qos"
	"packetboat/broker/store"
)

// The cloud's answers to what was sent. They run on the connection's reader;
// none of them waits for the disk.

// acknowledged takes what the cloud says about a packet identifier.
func (c *conn) acknowledged(typ byte, id uint16, code byte) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.acknowledgedLocked(typ, id, code)
	c.link.patience = c.patienceLocked()
}

// workTime is what a server takes for a message at least.
const workTime = 4 * time.Microsecond

// patienceLocked is how long the server has enough to work on, so that its
// acknowledgements may gather, and the pump need not send one message for each that
// comes: servers that answer one by one would cost us a wake-up and three system calls
// for each. Not much is held back: a server that gathers its answers until TCP
// acknowledges the ones before (Nagle) waits for what we send.
func (c *conn) patienceLocked() time.Duration {
	most, n := c.limits.inFlight, c.inFlightLocked()
	if n <= most/2 || most-n >= most/16 || c.answers.Len() > 0 {
		return 0
	}
	return min(time.Duration(n)*workTime, kickDelay)
}

func (c *conn) acknowledgedLocked(typ byte, id uint16, code byte) {
	switch typ {
	case packet.PUBACK:
		c.pubackLocked(id, code)
	case packet.PUBREC:
		c.pubrecLocked(id, code)
	case packet.PUBREL:
		c.pubrelLocked(id)
	case packet.PUBCOMP:
		c.pubcompLocked(id)
	}
}

// acks takes acknowledgements of MQTT 5, whole packets, as many as have come
// together. It runs on the reader; one that is malformed ends the link.
func (c *conn) acks(packets []byte) {
	b := c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(packets) > 0 {
		typ, flags, body, n, err := packet.Next(packets, 0)
		var a packet.Ack
		if err == nil && n > 0 {
			a, err = packet.ParseAck(typ, flags, body, packet.V5)
		}
		if err != nil || n == 0 {
			c.link.fail(fmt.Errorf("read an acknowledgement: %w", cmp.Or(err, io.ErrUnexpectedEOF)))
			return
		}
		packets = packets[n:]
		c.acknowledgedLocked(typ, a.ID, a.Code)
	}
	c.link.patience = c.patienceLocked()
}

// pubackLocked is the end of a QoS 1 message.
func (c *conn) pubackLocked(id uint16, code byte) {
	ln := c.b.laneOf(id)
	if ln == nil {
		return
	}
	if code >= packet.UnspecifiedError {
		c.refusedLocked(ln, id, code)
		return
	}
	c.ackedLocked(ln, id, ln.window.Puback)
}

// pubrecLocked moves a QoS 2 message to its second half: PUBREL leaves when that is
// on disk [MQTT-4.3.3-4].
func (c *conn) pubrecLocked(id uint16, code byte) {
	ln := c.b.laneOf(id)
	if ln != nil && code >= packet.UnspecifiedError {
		c.refusedLocked(ln, id, code)
		return
	}
	c.progress = time.Now()
	a := qos.Answer{Type: packet.PUBREL, ID: id, Code: packet.PacketIDNotFound}
	var after store.Receipt
	if ln != nil {
		var known bool
		if after, known = ln.window.Pubrec(id); known {
			a.Code = packet.Success
		}
	}
	c.answerLocked(after, a)
}

// pubcompLocked is the end of a QoS 2 message, whatever its code: "not found" says
// that the server has finished it before.
func (c *conn) pubcompLocked(id uint16) {
	delete(c.released, id)
	if ln := c.b.laneOf(id); ln != nil {
		c.ackedLocked(ln, id, ln.window.Pubcomp)
	}
}

func (c *conn) ackedLocked(ln *lane, id uint16, finish func(uint16) bool) {
	if len(ln.refused) > 0 {
		if seq, _, ok := ln.consumer.Seq(id); ok {
			delete(ln.refused, seq)
		}
	}
	if !finish(id) {
		return // of a message that was finished before, or never sent
	}
	c.toldLocked()
	c.progress = time.Now()
	c.b.count.acked.Add(1)
	if c.inFlightLocked() == 0 {
		c.b.count.inFlight.Store(0)
		select {
		case c.drained <- struct{}{}:
		default:
		}
	}
}

// maxAnswers bounds what may wait to be answered: more is owed only to a peer
// that violates its receive maximum.
const maxAnswers = 8192

// answerLocked queues an answer; the pump sends it when its receipt is
// durable. Bridge.mu is held.
func (c *conn) answerLocked(after store.Receipt, a qos.Answer) {
	if c.answers.Len() >= maxAnswers {
		c.link.fail(errTooManyAnswers)
		return
	}
	c.answers.Push(after, a)
}

// forNow are the reason codes with which a server says that it cannot take the
// message at present; the message is sent again after a pause.
func forNow(code byte) bool {
	switch code {
	case packet.UnspecifiedError, packet.ImplementationSpecificError, packet.PacketIDInUse, packet.QuotaExceeded:
		return true
	}
	return false
}

// refusedLocked deals with PUBACK or PUBREC of 0x80 and more: the exchange is
// over [MQTT-4.4.0-2], the message is not.
func (c *conn) refusedLocked(ln *lane, id uint16, code byte) {
	seq, released, ok := ln.consumer.Seq(id)
	if !ok || released {
		return
	}
	c.progress = time.Now()
	r := ln.refused[seq]
	r.times++
	if forNow(code) && r.times <= c.b.cfg.Retries {
		r.last = true
		if ln.refused == nil {
			ln.refused = make(map[uint64]refusal)
		}
		ln.refused[seq] = r
		c.link.fail(&refusedMessage{code: code, times: r.times, retries: c.b.cfg.Retries})
		return
	}
	delete(ln.refused, seq)
	ln.window.GiveUp(seq, store.Refused, packet.Reason(code))
	c.b.warn.refused.warn(c.b.log, 1, "the server refused messages for good; they are dead letters",
		"queue", c.b.deadName(),
		"reason", packet.Reason(code), "attempts", r.times, "packet_id", id, "remedy", messageRemedy(code))
}

// refusedMessage ends a connection on which the server refused a message for
// now.
type refusedMessage struct {
	code           byte
	times, retries int
}

func (e *refusedMessage) Error() string {
	return fmt.Sprintf("the server refused a message for now: %s (%d of %d attempts)", packet.Reason(e.code), e.times, e.retries+1)
}
