package broker

import "packetboat/broker/packet"

// quota is the server's side of the send quota that section 4.9 gives an MQTT
// 5.0 client: it begins with each connection, a PUBLISH takes from it, and
// PUBACK, PUBCOMP and a refusing PUBREC give back, also when they are for what
// a former connection left open.
//
// It belongs to the reader.
type quota struct {
	open int // QoS 2 publishes of this connection that are not released
	more int // releases of others, whose PUBCOMP gave the client what it had not taken
}

// sentNow marks, in a session's memory of a QoS 2 publish, that the present
// connection has sent it.
const sentNow received = 0x80

// remember notes a QoS 2 publish that this connection has sent.
func (c *conn) remember(id uint16, kept received) {
	s := c.session
	if s.received == nil {
		s.received = make(map[uint16]received)
	}
	if s.received[id]&sentNow == 0 {
		c.quota.open++
	}
	s.received[id] = kept | sentNow
}

// release is the end of a QoS 2 publish, if the session remembers it.
func (c *conn) release(id uint16) {
	if c.session.received[id]&sentNow != 0 {
		c.quota.open--
	} else if c.quota.more < 65535 { // there are no more identifiers
		c.quota.more++
	}
	delete(c.session.received, id)
}

// newConnection: of what a session remembers, nothing counts any more.
func (s *session) newConnection() {
	for id, kept := range s.received {
		s.received[id] = kept &^ sentNow
	}
}

// takeQuota holds the client to the receive maximum. MQTT 3.1.1 has none:
// there the reader waits until answers have left.
func (c *conn) takeQuota(p *packet.Publish) error {
	if c.version != packet.V5 {
		return c.boundAnswers()
	}
	_, publishes := c.unanswered()
	if publishes+c.quota.open < c.b.opt.MaxInflight+c.quota.more {
		return nil
	}
	if p.QoS == 2 && c.session.received[p.ID]&sentNow != 0 {
		return nil // a repetition
	}
	return errReceiveMaximum // [MQTT-3.3.4-7]
}
