package conformance

import (
	"fmt"
	"testing"
	"time"
)

func TestQoS(t *testing.T) { runChapter(t, qosChapter) }

// qosChapter: sections 4.3, 4.4 and 4.6, the exchanges and how they go on
// after a reconnect.
var qosChapter = chapter{"QoS", []testCase{
	{
		name:  "QoS 0 is sent once, with QoS 0 and DUP 0",
		of5:   "4.3.1-1 3.3.1-2",
		of311: "4.3.1-1 3.3.1-2",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.kept("k")
			c.subscribe(topic, 0)
			w.publish(message{topic: topic, payload: "m", qos: 2})
			c.wantMessage(topic, "m", 0)
			c.drop()
			w.kept("k").quiet()
		},
	},
	{
		name:  "QoS 1 is sent with DUP 0, again with DUP 1 and the same identifier on the next connection, until PUBACK",
		of5:   "4.3.2-1 4.3.2-2 4.3.2-3 4.4.0-1 3.3.1-1 3.3.1-3",
		of311: "4.3.2-1 4.4.0-1 3.3.1-1 2.3.1-4",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.kept("k")
			c.subscribe(topic, 1)
			w.publish(message{topic: topic, payload: "m", qos: 1})
			w.publish(message{topic: topic, payload: "n", qos: 1})
			m, n := c.wantPublish(topic, "m", 1), c.wantPublish(topic, "n", 1)
			w.check(!m.msg.dup && !n.msg.dup && m.id != n.id, "DUP, or one identifier %d", m.id)
			c.quiet() // no repetition on the same connection
			for range 2 {
				c.drop()
				c = w.kept("k")
				for _, first := range []*received{m, n} {
					again := c.wantPublish(topic, first.msg.payload, 1)
					w.check(again.msg.dup && again.id == first.id, "DUP %t, identifier %d, was %d", again.msg.dup, again.id, first.id)
				}
				c.quiet()
			}
			c.ack(tPUBACK, m.id)
			c.quiet()
			c.drop()
			c = w.kept("k")
			again := c.wantPublish(topic, "n", 1)
			c.ack(tPUBACK, again.id)
			c.quiet()
			c.drop()
			c = w.kept("k")
			w.publish(message{topic: topic, payload: "new", qos: 1})
			w.check(!c.wantPublish(topic, "new", 1).msg.dup, "DUP")
		},
	},
	{
		name:  "QoS 2 is sent with DUP 0, again until PUBREC; then PUBREL is, until PUBCOMP, and PUBLISH never again",
		of5:   "4.3.3-1 4.3.3-2 4.3.3-3 4.3.3-4 4.3.3-5 4.3.3-6 4.4.0-1 3.3.1-1 3.6.1-1",
		of311: "4.3.3-1 4.4.0-1 3.3.1-1 2.3.1-4 3.6.1-1",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.kept("k")
			c.subscribe(topic, 2)
			w.publish(message{topic: topic, payload: "m", qos: 2})
			m := c.wantPublish(topic, "m", 2)
			w.check(!m.msg.dup, "DUP")
			for range 2 {
				c.drop()
				c = w.kept("k")
				again := c.wantPublish(topic, "m", 2)
				w.check(again.msg.dup && again.id == m.id, "DUP %t, identifier %d", again.msg.dup, again.id)
				c.quiet()
			}
			c.ack(tPUBREC, m.id)
			c.wantAck(tPUBREL, m.id)
			for range 2 {
				c.drop()
				c = w.kept("k")
				c.wantAck(tPUBREL, m.id)
				c.quiet()
			}
			c.ack(tPUBREC, m.id) // PUBREC once more: PUBREL once more
			c.wantAck(tPUBREL, m.id)
			c.ack(tPUBCOMP, m.id)
			c.quiet()
			c.drop()
			c = w.kept("k")
			w.publish(message{topic: topic, payload: "new", qos: 2})
			w.check(!c.wantMessage(topic, "new", 2).msg.dup, "DUP")
		},
	},
	{
		name: "PUBACK or PUBREC with an error acknowledges: nothing is sent again",
		of5:  "4.4.0-2 4.3.3-4 3.4.2-1 3.5.2-1",
		run: func(w *world) {
			topic := w.topic("a")
			for _, keep := range []bool{false, true} {
				c := w.connect(hello{id: w.id("k"), keep: keep})
				c.subscribe(topic, 2)
				for qos := byte(1); qos <= 2; qos++ {
					for _, code := range []byte{0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99} {
						w.publish(message{topic: topic, payload: "m", qos: qos})
						r := c.wantPublish(topic, "m", qos)
						c.ackCode([]byte{1: tPUBACK, 2: tPUBREC}[qos], r.id, code)
						c.quiet() // no PUBREL
					}
				}
				c.drop()
				if keep {
					c = w.kept("k")
					w.publish(message{topic: topic, payload: "new", qos: 1})
					c.wantMessage(topic, "new", 1)
				}
			}
		},
	},
	{
		name: "PUBACK and PUBREC with 0x10 are successes",
		of5:  "3.4.2-1 3.5.2-1 4.3.3-4",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.subscriber(topic, 2)
			w.publish(message{topic: topic, payload: "m", qos: 1})
			c.ackCode(tPUBACK, c.wantPublish(topic, "m", 1).id, 0x10)
			w.publish(message{topic: topic, payload: "m", qos: 2})
			id := c.wantPublish(topic, "m", 2).id
			c.ackCode(tPUBREC, id, 0x10)
			c.wantAck(tPUBREL, id)
			c.send(pkt(tPUBCOMP, u16(id), []byte{0}, props(v5, strProp(pReason, "done"), userProp("a", "b"))))
			c.quiet()
		},
	},
	{
		name:  "an identifier that was acknowledged by PUBACK is a new message, whatever DUP says",
		of5:   "4.3.2-4 4.3.2-5",
		of311: "4.3.2-2",
		run: func(w *world) {
			topic := w.topic("a")
			s := w.subscriber(topic, 1)
			c := w.plain()
			for i := range 3 {
				c.put(message{topic: topic, payload: fmt.Sprint(i), qos: 1, id: 7, dup: i == 2})
				s.wantMessage(topic, fmt.Sprint(i), 1)
			}
		},
	},
	{
		name:  "a QoS 2 publish is delivered once until PUBREL, however often it comes; afterwards its identifier is a new one",
		of5:   "4.3.3-8 4.3.3-10 4.3.3-11 4.3.3-12",
		of311: "4.3.3-2",
		run: func(w *world) {
			topic := w.topic("a")
			s := w.subscriber(topic, 2)
			for _, h := range []hello{{id: w.id("a")}, {id: w.id("k"), keep: true}} {
				c := w.connect(h)
				send := func(payload string, dup bool) {
					c.publish(message{topic: topic, payload: payload, qos: 2, id: 7, dup: dup})
					c.wantAck(tPUBREC, 7)
				}
				send("m", false)
				send("m", true)
				send("m", false)
				s.wantMessage(topic, "m", 2)
				if h.keep {
					c.drop()
					c = w.connect(h)
					send("m", true)
					s.quiet()
				}
				c.ack(tPUBREL, 7)
				c.wantAck(tPUBCOMP, 7)
				c.ack(tPUBREL, 7) // again: it is answered, with 5.0's 0x92
				c.wantAck(tPUBCOMP, 7)
				s.quiet()
				send("n", true)
				s.wantMessage(topic, "n", 2)
				c.ack(tPUBREL, 7)
				c.wantAck(tPUBCOMP, 7)
			}
		},
	},
	{
		name:  "QoS 1 and QoS 2 have their identifiers each way for themselves",
		of5:   "2.2.1-4 4.3.2-1 4.3.3-1",
		of311: "2.3.1-4",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.subscriber(topic, 2)
			w.publish(message{topic: topic, payload: "theirs", qos: 2})
			r := c.wantPublish(topic, "theirs", 2)
			c.publish(message{topic: w.topic("b"), payload: "mine", qos: 2, id: r.id})
			c.wantAck(tPUBREC, r.id)
			c.ack(tPUBREC, r.id)
			c.wantAck(tPUBREL, r.id)
			c.ack(tPUBREL, r.id)
			c.wantAck(tPUBCOMP, r.id)
			c.ack(tPUBCOMP, r.id)
			c.quiet()
		},
	},
	{
		name: "the identifier of a publish that was refused is a new message",
		of5:  "4.3.3-9 4.4.0-2",
		run: func(w *world) {
			topic := w.topic("a")
			s := w.subscriber(topic, 2)
			c := w.plain()
			c.publish(message{topic: "$SYS/no", payload: "m", qos: 2, id: 9})
			w.check(c.wantAck(tPUBREC, 9) == 0x87, "PUBREC")
			c.put(message{topic: topic, payload: "m", qos: 2, id: 9})
			s.wantMessage(topic, "m", 2)
		},
	},
	{
		name: "what was sent at QoS 2 does not expire any more: it is sent again, and the exchange goes on",
		of5:  "4.3.3-7 4.3.3-13",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.kept("k")
			c.subscribe(topic, 2)
			w.publish(message{topic: topic, payload: "sent", qos: 2, props: expiry(1)})
			w.publish(message{topic: topic, payload: "received", qos: 2, props: expiry(1)})
			sent, got := c.wantPublish(topic, "sent", 2), c.wantPublish(topic, "received", 2)
			c.ack(tPUBREC, got.id)
			c.wantAck(tPUBREL, got.id)
			p := w.kept("p")
			p.publish(message{topic: topic, payload: "mine", qos: 2, id: 5, props: expiry(1)})
			p.wantAck(tPUBREC, 5)
			mine := c.wantPublish(topic, "mine", 2)
			c.drop()
			w.pass(1200 * time.Millisecond)
			c = w.kept("k")
			c.wantRelease(got.id)
			c.ack(tPUBCOMP, got.id)
			again := c.wantPublish(topic, "sent", 2)
			w.check(again.id == sent.id && again.msg.dup, "identifier %d, DUP %t", again.id, again.msg.dup)
			again = c.wantPublish(topic, "mine", 2)
			w.check(again.id == mine.id, "identifier %d", again.id)
			p.publish(message{topic: topic, payload: "mine", qos: 2, id: 5, dup: true, props: expiry(1)})
			p.wantAck(tPUBREC, 5)
			p.ack(tPUBREL, 5)
			p.wantAck(tPUBCOMP, 5)
			c.quiet()
		},
	},
	{
		name:  "what was not acknowledged is sent again in its order, before anything new",
		of5:   "4.6.0-1 4.4.0-1",
		of311: "4.6.0-1 4.4.0-1",
		run: func(w *world) {
			const n = 20
			topic := w.topic("a")
			c := w.kept("k")
			c.subscribe(topic, 2)
			p := w.plain()
			var sent []*received
			for i := range n {
				qos := byte(1 + i%2)
				p.put(message{topic: topic, payload: fmt.Sprint(i), qos: qos})
				sent = append(sent, c.wantPublish(topic, fmt.Sprint(i), qos))
			}
			for _, i := range []int{3, 4, 10} { // out of turn
				c.ack([]byte{1: tPUBACK, 2: tPUBREC}[sent[i].msg.qos], sent[i].id)
			}
			c.wantAck(tPUBREL, sent[3].id)
			c.quiet()
			c.drop()
			p.put(message{topic: topic, payload: "new", qos: 1})
			c = w.kept("k")
			c.wantRelease(sent[3].id)
			for i, first := range sent {
				if i == 3 || i == 4 || i == 10 {
					continue
				}
				r := c.wantPublish(topic, first.msg.payload, first.msg.qos)
				w.check(r.id == first.id && r.msg.dup, "%s: identifier %d, DUP %t", first.msg.payload, r.id, r.msg.dup)
			}
			w.check(!c.wantPublish(topic, "new", 1).msg.dup, "DUP")
		},
	},
	{
		name:  "nothing is sent again to a client without a session",
		of5:   "4.4.0-1 3.1.2-4",
		of311: "4.4.0-1 3.1.2-6",
		run: func(w *world) {
			topic := w.topic("a")
			s := w.subscriber(w.topic("b"), 2)
			for _, keep := range []bool{false, true} {
				c := w.connect(hello{id: w.id("k"), keep: keep})
				c.subscribe(topic, 2)
				w.publish(message{topic: topic, payload: "1", qos: 1})
				w.publish(message{topic: topic, payload: "2", qos: 2})
				w.publish(message{topic: topic, payload: "3", qos: 2})
				c.wantPublish(topic, "1", 1)
				c.wantPublish(topic, "2", 2)
				id := c.wantPublish(topic, "3", 2).id
				c.ack(tPUBREC, id)
				c.wantAck(tPUBREL, id)
				c.publish(message{topic: w.topic("b"), payload: "mine", qos: 2, id: 5})
				c.wantAck(tPUBREC, 5)
				s.wantMessage(w.topic("b"), "mine", 2)
				c.drop()
				c = w.connect(hello{id: w.id("k")})
				c.subscribe(topic, 2)
				// Its identifier 5 is free again, too.
				c.publish(message{topic: w.topic("b"), payload: "new", qos: 2, id: 5})
				c.wantAck(tPUBREC, 5)
				s.wantMessage(w.topic("b"), "new", 2)
				c.quiet()
				c.disconnect()
			}
		},
	},
	{
		name:  "acknowledgements of what is not in flight do no harm",
		of5:   "3.6.2-1 3.7.2-1",
		of311: "7.0.0-2",
		run: func(w *world) {
			topic := w.topic("a")
			for _, c := range []*client{w.plain(), w.kept("k")} {
				c.subscribe(topic, 2)
				c.ack(tPUBACK, 100)
				c.ack(tPUBCOMP, 101)
				c.ack(tPUBREC, 102)
				w.check(c.wantAck(tPUBREL, 102) == c.code(0x92, 0), "PUBREL")
				c.ack(tPUBREL, 103)
				w.check(c.wantAck(tPUBCOMP, 103) == c.code(0x92, 0), "PUBCOMP")
				for qos := range byte(3) {
					w.publish(message{topic: topic, payload: "m", qos: qos})
					c.wantMessage(topic, "m", qos)
				}
			}
		},
	},
}}
