package broker

import (
	"packetboat/broker/packet"
)

var (
	errNotConnect    = &packet.Error{Code: packet.ProtocolError, Reason: "first packet is no CONNECT"}
	errSecondConnect = &packet.Error{Code: packet.ProtocolError, Reason: "second CONNECT"}
	errServerPacket  = &packet.Error{Code: packet.ProtocolError, Reason: "packet that only a server sends"}
	errAuth          = &packet.Error{Code: packet.ProtocolError, Reason: "AUTH without an authentication method"}
)

// readLoop is the reader of an attached connection, in rounds: read what is
// there, handle every whole packet, then write what that has put out, here and
// for others.
func (c *conn) readLoop() error {
	for {
		err := c.handleInput()
		c.endRound()
		if err != nil {
			return err
		}
		if err := c.wait(); err != nil {
			return err
		}
	}
}

// handleInput handles the whole packets that were read.
func (c *conn) handleInput() error {
	if c.in.b == nil {
		return nil
	}
	next := c.nextPacket()
	at := 0
	for {
		typ, flags, body, n, err := next(c.in.b.b[at:c.in.n], c.b.opt.MaxPacketSize)
		if err != nil {
			return err
		}
		if n == 0 || typ == packet.PUBLISH && !c.pace.take(n) {
			break
		}
		at += n
		if err := c.handle(typ, flags, body); err != nil {
			return err
		}
	}
	c.in.consume(at)
	return nil
}

// nextPacket is what cuts the client's packets.
func (c *conn) nextPacket() func(b []byte, maxSize int) (typ, flags byte, body []byte, n int, err error) {
	if c.version == packet.V31 {
		return packet.Next31
	}
	return packet.Next
}

// endRound writes what the round has put out.
func (c *conn) endRound() {
	if c.pumpDue {
		c.pumpDue = false
		c.pump()
	}
	c.out.mu.Lock()
	c.out.traffic.messagesIn += c.stats.publishReceived
	c.out.traffic.bytesIn += c.stats.bytesReceived
	c.flushAndUnlock()
	c.releaseRouter()
	c.b.stats.add(&c.stats)
}

func (c *conn) releaseRouter() {
	if c.router != nil {
		c.router.flush()
		c.b.routers.Put(c.router)
		c.router = nil
	}
}

func (c *conn) handle(typ, flags byte, body []byte) error {
	c.stats.received++
	switch typ {
	case packet.PUBLISH:
		return c.handlePublish(flags, body)
	case packet.PUBACK, packet.PUBREC, packet.PUBREL, packet.PUBCOMP:
		a, err := packet.ParseAck(typ, flags, body, c.version)
		if err != nil {
			return err
		}
		return c.handleAck(typ, a)
	case packet.SUBSCRIBE:
		return c.handleSubscribe(body)
	case packet.UNSUBSCRIBE:
		return c.handleUnsubscribe(body)
	case packet.PINGREQ:
		if len(body) != 0 {
			return &packet.Error{Code: packet.MalformedPacket, Reason: "PINGREQ with a body"}
		}
		c.frame = packet.AppendPing(c.frame[:0], packet.PINGRESP)
		c.append(c.frame)
		return nil
	case packet.DISCONNECT:
		return c.handleDisconnect(body)
	case packet.CONNECT:
		return errSecondConnect // [MQTT-3.1.0-2]
	case packet.AUTH:
		return errAuth // [MQTT-4.12.0-7]
	}
	return errServerPacket
}

// append puts out a packet that waits for nothing.
func (c *conn) append(frame []byte) {
	o := &c.out
	o.mu.Lock()
	if !o.closed {
		o.endLocked(append(o.beginLocked(), frame...))
		o.sent.packets++
	}
	o.mu.Unlock()
}

func (c *conn) handleAck(typ byte, a packet.Ack) error {
	switch typ {
	case packet.PUBACK:
		return c.handlePuback(a)
	case packet.PUBREC:
		return c.handlePubrec(a)
	case packet.PUBCOMP:
		return c.handlePubcomp(a)
	}
	return c.handlePubrel(a)
}

var errExpiryRaised = &packet.Error{Code: packet.ProtocolError, Reason: "session expiry in DISCONNECT after none in CONNECT"}

func (c *conn) handleDisconnect(body []byte) error {
	var d packet.Disconnect
	if err := packet.ParseDisconnect(body, c.version, &d); err != nil {
		return err
	}
	if d.HasSessionExpiry {
		if d.SessionExpiry != 0 && c.session.requested == 0 { // section 3.14.2.2.2
			return errExpiryRaised
		}
		c.b.changeExpiry(c.session, d.SessionExpiry)
	}
	if d.Code == packet.NormalDisconnection { // [MQTT-3.14.4-3]
		c.will = nil
	}
	c.goodbye = true
	return errClosed
}
