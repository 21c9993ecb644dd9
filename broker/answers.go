package broker

import (
	"packetboat/broker/packet"
	"packetboat/broker/qos"
	"packetboat/broker/store"
)

// answers is the one queue of a connection for what has to wait for the disk,
// in the order in which it was asked for [MQTT-4.6.0-2]. The committer
// releases it once per commit. It is bounded by the receive maximum: a client
// that goes beyond it is disconnected (5.0) or not read until answers have
// left (3.1.1).
type answers struct {
	qos.Answers
	acks  int  // of publishes, as the receive maximum counts them
	armed bool // the committer will call
}

// endsPublish: the publish that x answers counts no more against the receive
// maximum.
func endsPublish(x *qos.Answer) bool {
	return x.Type == packet.PUBACK || x.Type == packet.PUBCOMP || x.Type == packet.PUBREC && x.Code >= packet.UnspecifiedError
}

// answer sends an acknowledgement as soon as r is durable and everything
// before it has left.
func (c *conn) answer(r store.Receipt, typ byte, id uint16, code byte) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	if o.answers.Len() == 0 && c.isDurable(r) {
		o.endLocked(packet.AppendAck(o.beginLocked(), c.version, typ, id, code))
		o.sent.packets++
		return
	}
	c.pushLocked(r, qos.Answer{Type: typ, ID: id, Code: code})
}

func (c *conn) pushLocked(r store.Receipt, x qos.Answer) {
	a := &c.out.answers
	a.Push(r, x)
	if endsPublish(&x) {
		a.acks++
	}
	c.armLocked()
}

// answerRefused refuses a publish of an MQTT 5.0 client in its turn, and says why
// if the client wants to know [MQTT-3.1.2-29] and takes so large a packet
// [MQTT-3.4.2-2] [MQTT-3.5.2-2].
func (c *conn) answerRefused(typ byte, id uint16, code byte, why string) {
	if c.noProblemInfo || c.maxPacket > 0 && len(why)+headroom > c.maxPacket {
		c.answer(store.Receipt{}, typ, id, code)
		return
	}
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	if o.answers.Len() == 0 {
		o.endLocked(packet.AppendAckReason(o.beginLocked(), typ, id, code, why))
		o.sent.packets++
		return
	}
	c.pushLocked(store.Receipt{}, qos.Answer{Type: typ, ID: id, Code: code, Raw: packet.AppendAckReason(nil, typ, id, code, why)})
}

// answerFrame is answer for an encoded packet, which is copied when it waits.
func (c *conn) answerFrame(r store.Receipt, frame []byte) error {
	if c.maxPacket > 0 && len(frame) > c.maxPacket { // [MQTT-3.1.2-24]
		return errAnswerTooLarge
	}
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil
	}
	if o.answers.Len() == 0 && c.isDurable(r) {
		o.endLocked(append(o.beginLocked(), frame...))
		o.sent.packets++
		return nil
	}
	o.answers.Push(r, qos.Answer{Raw: append([]byte(nil), frame...)})
	c.armLocked()
	return nil
}

var errAnswerTooLarge = &packet.Error{Code: packet.PacketTooLarge, Reason: "the answer is larger than the client takes"}

func (b *Broker) isDurable(r store.Receipt) bool { return r.IsZero() || b.store.IsDurable(r) }

func (c *conn) isDurable(r store.Receipt) bool { return c.b.isDurable(r) }

// armLocked asks the committer to call when the first answer has become
// durable.
func (c *conn) armLocked() {
	a := &c.out.answers
	r, waiting := a.Waiting()
	if a.armed || !waiting {
		return
	}
	a.armed = true
	if !c.b.store.OnDurable(r, c.onDurable) {
		c.onDurable() // meanwhile it is
	}
}

// releaseAnswers appends the answers that have become durable.
func (c *conn) releaseAnswers() {
	o := &c.out
	o.mu.Lock()
	a := &o.answers
	a.armed = false
	if !o.closed {
		b := o.beginLocked()
		for {
			x, ok := a.Pop(c.b.durable)
			if !ok {
				break
			}
			if endsPublish(&x) {
				a.acks--
			}
			o.sent.packets++
			if x.Raw != nil {
				b = append(b, x.Raw...)
			} else {
				b = packet.AppendAck(b, c.version, x.Type, x.ID, x.Code)
			}
		}
		o.endLocked(b)
		o.trimLocked()
		c.armLocked()
	}
	room := a.Len() < c.b.opt.MaxInflight
	o.mu.Unlock()
	if room {
		select {
		case c.resume <- struct{}{}:
		default:
		}
	}
}

// unanswered is how many answers wait, and how many of them end a publish.
func (c *conn) unanswered() (all, publishes int) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.answers.Len(), c.out.answers.acks
}
