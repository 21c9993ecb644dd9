package broker

import (
	"packetboat/broker/packet"
)

// publishWill publishes a will as if the client had. There is nobody to answer
// and nobody to refuse it to.
func (b *Broker) publishWill(s *session, w *packet.Will) {
	if b.checkTopic(w.Topic) != nil || reserved(w.Topic) {
		return
	}
	m := Message{
		Topic: w.Topic, Payload: w.Payload, QoS: w.QoS, Retain: w.Retain && !b.opt.NoRetain,
		Props: w.Props, Expiry: w.Expiry, HasExpiry: w.HasExpiry, Origin: s.origin,
	}
	r := b.router()
	res := r.route(s, &m)
	r.flush()
	b.routers.Put(r)
	if res.err != nil {
		b.log.Error("will not published", "client", s.id, "topic", w.Topic, "error", res.err)
	}
}

// keepWill copies a will out of the read buffer.
func keepWill(w *packet.Will) *packet.Will {
	if w == nil {
		return nil
	}
	c := *w
	c.Payload = append([]byte(nil), w.Payload...)
	c.Props = append([]byte(nil), w.Props...)
	return &c
}
