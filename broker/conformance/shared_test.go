package conformance

import (
	"fmt"
	"testing"
)

func TestShared(t *testing.T) { runChapter(t, sharedChapter) }

// sharedChapter: section 4.8.2, shared subscriptions.
var sharedChapter = chapter{"Shared", []testCase{
	{
		name: "each message goes to one of the members, and to each group, at what the member was granted",
		of5:  "4.8.2-1 4.8.2-3 3.8.4-8",
		run: func(w *world) {
			topic := w.topic("a")
			filter := "$share/" + w.name + "/" + w.topic("+")
			var members []*client
			for i := range 3 {
				c := w.plain()
				c.subscribe(filter, byte(i))
				members = append(members, c)
			}
			other := w.plain()
			other.subscribe("$share/other"+w.name+"/"+topic, 2)
			plain := w.subscriber(topic, 2)
			const n = 30
			for i := range n {
				w.publish(message{topic: topic, payload: fmt.Sprint(i), qos: 2})
				other.wantMessage(topic, fmt.Sprint(i), 2)
				plain.wantMessage(topic, fmt.Sprint(i), 2)
			}
			got := 0
			for i, c := range members {
				c.send(x("c0 00"))
				for {
					r, err := c.next()
					w.check(err == nil, "%v", err)
					if r.typ == tPINGRESP {
						break
					}
					w.check(r.typ == tPUBLISH && int(r.msg.qos) == i, "member %d got %s at QoS %d", i, r, r.msg.qos)
					c.finish(r)
					got++
				}
			}
			w.check(got == n, "%d of %d arrived", got, n)
		},
	},
	{
		name: "a member that has unsubscribed gets nothing more, the others do",
		of5:  "3.10.4-1 3.10.4-2 4.8.2-1",
		run: func(w *world) {
			topic := w.topic("a")
			filter := "$share/g/" + topic
			a, b := w.plain(), w.kept("b")
			a.subscribe(filter, 1)
			b.subscribe(filter, 1, subIDProp(9))
			codes := a.unsubscribe(topic, "$share/h/"+topic, filter)
			w.check(string(codes) == "\x11\x11\x00", "UNSUBACK % x", codes)
			for i := range 5 {
				w.publish(message{topic: topic, payload: fmt.Sprint(i), qos: 1})
				r := b.wantMessage(topic, fmt.Sprint(i), 1)
				p, _ := r.props.get(pSubID)
				w.check(p.num == 9, "subscription identifier %d", p.num)
			}
			a.quiet()
			b.unsubscribe(filter)
			w.publish(message{topic: topic, payload: "nobody", qos: 1})
			b.quiet()
		},
	},
	{
		name: "no local on a shared subscription ends the connection",
		of5:  "3.8.3-4 4.13.1-1",
		run: func(w *world) {
			sendTo(w, 0x82, (&client{v: v5}).subscribeBytes(1, nil, option{"$share/g/" + w.topic("a"), noLocal}))
		},
	},
	{
		name: "a new shared subscription gets no retained messages",
		of5:  "4.8.2-1",
		run: func(w *world) {
			topic := w.topic("a")
			w.publish(message{topic: topic, payload: "kept", qos: 1, retain: true})
			c := w.plain()
			c.subscribe("$share/g/"+topic, 1)
			c.quiet()
			w.publish(message{topic: topic, qos: 1, retain: true})
			c.wantMessage(topic, "", 1)
		},
	},
	{
		name: "a QoS 2 message that is half delivered is finished with the member that has it, when it is back",
		of5:  "4.8.2-4",
		run: func(w *world) {
			topic := w.topic("a")
			filter := "$share/g/" + topic
			a := w.kept("a")
			a.subscribe(filter, 2)
			w.publish(message{topic: topic, payload: "sent", qos: 2})
			w.publish(message{topic: topic, payload: "received", qos: 2})
			sent, got := a.wantPublish(topic, "sent", 2), a.wantPublish(topic, "received", 2)
			a.ack(tPUBREC, got.id)
			a.wantAck(tPUBREL, got.id)
			b := w.kept("b")
			b.subscribe(filter, 2)
			a.drop()
			w.publish(message{topic: topic, payload: "for b", qos: 2})
			b.wantMessage(topic, "for b", 2)
			b.quiet()
			a = w.kept("a")
			a.wantRelease(got.id)
			a.ack(tPUBCOMP, got.id)
			r := a.wantMessage(topic, "sent", 2)
			w.check(r.id == sent.id && r.msg.dup, "identifier %d, DUP %t", r.id, r.msg.dup)
			a.quiet()
		},
	},
	{
		name: "a QoS 2 message that is half delivered goes to nobody else when its member's session ends",
		of5:  "4.8.2-5",
		run: func(w *world) {
			topic := w.topic("a")
			filter := "$share/g/" + topic
			for _, keep := range []bool{false, true} {
				a := w.connect(hello{id: w.id("a"), keep: keep})
				a.subscribe(filter, 2)
				w.publish(message{topic: topic, payload: "m", qos: 2})
				r := a.wantPublish(topic, "m", 2)
				b := w.plain()
				b.subscribe(filter, 2)
				a.ack(tPUBREC, r.id)
				a.wantAck(tPUBREL, r.id)
				a.drop()
				w.connect(hello{id: w.id("a")}).disconnect() // its session ends
				w.publish(message{topic: topic, payload: "next", qos: 2})
				b.wantMessage(topic, "next", 2)
				b.quiet()
				b.disconnect()
			}
		},
	},
	{
		name: "a message that a member refuses is offered to nobody else",
		of5:  "4.8.2-6 4.4.0-2",
		run: func(w *world) {
			topic := w.topic("a")
			filter := "$share/g/" + topic
			for _, keep := range []bool{false, true} {
				for qos := byte(1); qos <= 2; qos++ {
					a := w.connect(hello{id: w.id("a"), keep: keep})
					a.subscribe(filter, 2)
					w.publish(message{topic: topic, payload: "m", qos: qos})
					r := a.wantPublish(topic, "m", qos)
					b := w.plain()
					b.subscribe(filter, 2)
					a.ackCode([]byte{1: tPUBACK, 2: tPUBREC}[qos], r.id, 0x83)
					a.quiet()
					w.connect(hello{id: w.id("a")}).disconnect()
					w.publish(message{topic: topic, payload: "next", qos: 2})
					b.wantMessage(topic, "next", 2)
					b.quiet()
					b.disconnect()
				}
			}
		},
	},
}}
