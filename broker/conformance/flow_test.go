package conformance

import (
	"fmt"
	"testing"

	"packetboat/broker"
)

func TestFlow(t *testing.T) { runChapter(t, flowChapter) }

// flowChapter: sections 3.3.4 and 4.9, flow control.
var flowChapter = chapter{"Flow", []testCase{
	{
		name: "no more QoS 1 and 2 is in flight to a client than its receive maximum, and everything else is served",
		of5:  "3.3.4-9 3.3.4-10 4.9.0-1 4.9.0-2 4.9.0-3",
		run: func(w *world) {
			topic := w.topic("a")
			for _, h := range []hello{{receiveMax: 3}, {receiveMax: 3, id: w.id("k"), keep: true}} {
				c := w.connect(h)
				c.subscribe(topic, 2)
				p := w.plain()
				for i := range 10 {
					p.put(message{topic: topic, payload: fmt.Sprint(i), qos: byte(1 + i%2)})
				}
				var open []*received
				for i := range 3 {
					open = append(open, c.wantPublish(topic, fmt.Sprint(i), byte(1+i%2)))
				}
				// decode fails on a fourth; all else goes on.
				c.quiet()
				p.put(message{topic: topic, payload: "QoS 0"})
				c.wantMessage(topic, "QoS 0", 0)
				c.subscribe(w.topic("b"), 1)
				c.unsubscribe(w.topic("b"))
				c.put(message{topic: w.topic("c"), payload: "mine", qos: 2})
				c.quiet()
				// PUBREC does not end a publish; PUBCOMP, PUBACK and a refusing
				// PUBREC do.
				c.ack(tPUBREC, open[1].id)
				c.wantAck(tPUBREL, open[1].id)
				c.quiet()
				c.ack(tPUBCOMP, open[1].id)
				r := c.wantPublish(topic, "3", 2)
				c.ackCode(tPUBREC, r.id, 0x80)
				open[1] = c.wantPublish(topic, "4", 1)
				for _, r := range open {
					c.ack(tPUBACK, r.id)
				}
				for i := 5; i < 10; i++ {
					c.wantMessage(topic, fmt.Sprint(i), byte(1+i%2))
				}
			}
		},
	},
	{
		name: "a receive maximum of 1, and the largest one, work",
		of5:  "4.9.0-1 3.3.4-9",
		run: func(w *world) {
			topic := w.topic("a")
			for _, h := range []hello{{receiveMax: 1}, {receiveMax: 65535}} {
				c := w.connect(h)
				c.subscribe(topic, 2)
				p := w.plain()
				for i := range 5 {
					p.put(message{topic: topic, payload: fmt.Sprint(i), qos: 2})
				}
				for i := range 5 {
					c.wantMessage(topic, fmt.Sprint(i), 2)
				}
			}
		},
	},
	{
		name: "after a reconnect the quota begins anew, with what is resent counting",
		of5:  "4.9.0-1 3.3.4-9 4.4.0-1",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.connect(hello{receiveMax: 5, id: w.id("k"), keep: true})
			c.subscribe(topic, 1)
			for i := range 8 {
				w.publish(message{topic: topic, payload: fmt.Sprint(i), qos: 1})
			}
			for i := range 5 {
				c.wantPublish(topic, fmt.Sprint(i), 1)
			}
			c.drop()
			c = w.connect(hello{receiveMax: 2, id: w.id("k"), keep: true})
			a := c.wantPublish(topic, "0", 1)
			b := c.wantPublish(topic, "1", 1)
			c.quiet()
			c.finish(a)
			c.finish(b)
			for i := 2; i < 8; i++ {
				c.wantMessage(topic, fmt.Sprint(i), 1)
			}
		},
	},
	{
		name: "what a former connection left open does not count against the server's receive maximum",
		of5:  "4.9.0-1 3.3.4-7 4.4.0-1",
		own:  func(o *broker.Options) { o.MaxInflight = 4 },
		run: func(w *world) {
			// Section 4.9: the quota begins anew with each connection, only PUBLISH
			// takes from it, and any PUBCOMP gives back.
			publish := func(from, to int) (b []byte) {
				for id := from; id <= to; id++ {
					m := message{topic: "a", qos: 2, id: id}
					b = append(b, m.bytes(v5)...)
				}
				return b
			}
			release := func(from, to int) (b []byte) {
				for id := from; id <= to; id++ {
					b = append(b, pkt(tPUBREL|2, u16(id))...)
				}
				return b
			}
			wantAll := func(c *client, typ byte, from, to int) {
				for id := from; id <= to; id++ {
					c.wantAck(typ, id)
				}
			}
			for _, restart := range []bool{false, true} {
				c := w.kept("k")
				c.send(publish(1, 4))
				wantAll(c, tPUBREC, 1, 4)
				c.drop()
				if restart {
					w.s.restart()
				}
				c = w.kept("k")
				w.check(c.connack.present, "no Session Present")
				c.send(publish(5, 8)) // all of the quota, before any PUBREL
				wantAll(c, tPUBREC, 5, 8)
				c.send(release(1, 4), publish(9, 12))
				wantAll(c, tPUBCOMP, 1, 4)
				wantAll(c, tPUBREC, 9, 12)
				c.drop()
				c = w.kept("k")
				c.send(release(5, 12), publish(1, 4)) // at once
				wantAll(c, tPUBCOMP, 5, 12)
				wantAll(c, tPUBREC, 1, 4)
				c.send(release(1, 4))
				wantAll(c, tPUBCOMP, 1, 4)
				c.disconnect()
			}
		},
	},
	{
		name: "a client that goes beyond the server's receive maximum is disconnected",
		of5:  "3.3.4-7 3.3.4-8 4.13.2-1",
		own:  func(o *broker.Options) { o.MaxInflight = 4 },
		run: func(w *world) {
			c := w.plain()
			p, ok := c.connack.props.get(pReceiveMax)
			w.check(ok && p.num == 4, "receive maximum %d", p.num)
			for i := range 4 {
				id := c.publish(message{topic: "a", qos: 2})
				c.wantAck(tPUBREC, id)
				w.check(id == i+1, "identifier %d", id)
			}
			c.put(message{topic: "a"}) // QoS 0 does not count
			c.publish(message{topic: "a", qos: 2, id: 4, dup: true})
			c.wantAck(tPUBREC, 4) // nor does a repetition
			c.ack(tPUBREL, 4)
			c.wantAck(tPUBCOMP, 4)
			c.publish(message{topic: "a", qos: 2, id: 5})
			c.wantAck(tPUBREC, 5)
			c.publish(message{topic: "a", qos: 1, id: 6})
			c.wantEnd(0x93)
		},
	},
}}
