package conformance

import (
	"fmt"
	"testing"
	"time"
)

func TestSession(t *testing.T) { runChapter(t, sessionChapter) }

// sessionChapter: Clean Start, session expiry and state, sections 3.1.2.4,
// 3.1.2.11.2, 3.2.2.1.1 and 4.1.
var sessionChapter = chapter{"Session", []testCase{
	{
		name:  "Clean Start discards what there is: subscriptions, and what is queued",
		of5:   "3.1.2-4 3.2.2-2 3.1.4-4 3.1.3-2",
		of311: "3.1.2-6 3.2.2-1 3.1.4-3 3.1.3-2",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.kept("k")
			c.subscribe(topic, 1)
			c.disconnect()
			w.publish(message{topic: topic, payload: "old", qos: 1})
			c = w.connect(hello{id: w.id("k")})
			w.check(!c.connack.present, "Session Present")
			w.publish(message{topic: topic, payload: "new", qos: 1})
			c.subscribe(topic, 1)
			w.publish(message{topic: topic, payload: "newer", qos: 1})
			c.wantMessage(topic, "newer", 1)
			c.quiet()
		},
	},
	{
		name: "so it does when the new session is to stay",
		of5:  "3.1.2-4 3.2.2-2",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.kept("k")
			c.subscribe(topic, 2)
			w.publish(message{topic: topic, payload: "old", qos: 2})
			c.wantPublish(topic, "old", 2) // not acknowledged
			c.drop()
			c = w.connect(hello{id: w.id("k"), fresh: true})
			w.check(!c.connack.present, "Session Present")
			c.subscribe(topic, 2)
			w.publish(message{topic: topic, payload: "new", qos: 1})
			c.wantMessage(topic, "new", 1)
			c.disconnect()
			c = w.kept("k")
			w.check(c.connack.present, "no Session Present")
			c.quiet()
		},
	},
	{
		name:  "without Clean Start a session goes on, with its subscriptions and what was queued meanwhile",
		of5:   "3.1.2-5 3.1.2-23 3.2.2-3 3.1.4-4 3.1.3-2 4.1.0-1 4.5.0-1",
		of311: "3.1.2-4 3.1.2-5 3.2.2-2 3.1.4-3 3.1.3-2 4.1.0-1 4.5.0-1",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.kept("k")
			c.subscribe(topic, 2)
			for _, drop := range []bool{false, true} {
				if drop {
					c.drop()
				} else {
					c.disconnect()
				}
				for i := range 10 {
					w.publish(message{topic: topic, payload: fmt.Sprint(i), qos: byte(1 + i%2)})
				}
				c = w.kept("k")
				w.check(c.connack.present, "no Session Present")
				for i := range 10 {
					c.wantMessage(topic, fmt.Sprint(i), byte(1+i%2))
				}
				w.publish(message{topic: topic, payload: "live", qos: 1})
				c.wantMessage(topic, "live", 1)
			}
		},
	},
	{
		name:  "a session goes on in the other version",
		of5:   "3.1.2-5 3.2.2-3",
		of311: "3.1.2-4 3.2.2-2",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.kept("k")
			c.subscribe(topic, 2)
			w.publish(message{topic: topic, payload: "1", qos: 2})
			id := c.wantPublish(topic, "1", 2).id
			c.drop()
			w.publish(message{topic: topic, payload: "2", qos: 1})
			w.v = v5 + v311 - w.v
			c = w.kept("k")
			w.check(c.connack.present, "no Session Present")
			r := c.wantMessage(topic, "1", 2)
			w.check(r.id == id && r.msg.dup, "identifier %d, DUP %t", r.id, r.msg.dup)
			c.wantMessage(topic, "2", 1)
			w.publish(message{topic: topic, payload: "3", qos: 2})
			c.wantMessage(topic, "3", 2)
			c.unsubscribe(topic)
			c.quiet()
		},
	},
	{
		name:  "without Clean Start a session is created where there is none",
		of5:   "3.1.2-6 3.2.2-3",
		of311: "3.1.2-4 3.2.2-3",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.kept("k")
			w.check(!c.connack.present, "Session Present")
			c.subscribe(topic, 1)
			c.disconnect()
			c = w.kept("k")
			w.check(c.connack.present, "no Session Present")
			w.publish(message{topic: topic, payload: "m", qos: 1})
			c.wantMessage(topic, "m", 1)
		},
	},
	{
		name:  "a session that is not to stay ends with its connection",
		of5:   "4.1.0-2 3.2.2-3",
		of311: "3.1.2-6 3.2.2-3",
		run: func(w *world) {
			topic := w.topic("a")
			h := hello{id: w.id("a"), again: w.v == v5}
			for _, drop := range []bool{false, true} {
				c := w.connect(h)
				w.check(!c.connack.present, "Session Present")
				c.subscribe(topic, 1)
				if drop {
					c.drop()
				} else {
					c.disconnect()
				}
				w.publish(message{topic: topic, payload: "missed", qos: 1})
				c = w.kept("a")
				w.check(!c.connack.present, "Session Present")
				w.publish(message{topic: topic, payload: "missed, too", qos: 1})
				c.subscribe(topic, 1)
				w.publish(message{topic: topic, payload: "m", qos: 1})
				c.wantMessage(topic, "m", 1)
				c.disconnect()
				w.connect(hello{id: w.id("a")}).disconnect()
			}
		},
	},
	{
		name: "a session that stayed and is resumed for the last time ends with that connection",
		of5:  "4.1.0-2 3.1.2-5",
		run: func(w *world) {
			w.kept("k").disconnect()
			c := w.connect(hello{id: w.id("k"), again: true})
			w.check(c.connack.present, "no Session Present")
			c.disconnect()
			w.check(!w.kept("k").connack.present, "Session Present")
		},
	},
	{
		name: "a session ends when its expiry interval has passed since the connection ended, not earlier",
		of5:  "4.1.0-1 4.1.0-2 3.1.2-23",
		run: func(w *world) {
			topic := w.topic("a")
			h := hello{id: w.id("k"), again: true, props: [][]byte{u32Prop(pSession, 1)}}
			c := w.connect(h)
			c.subscribe(topic, 1)
			w.pass(1200 * time.Millisecond)
			w.publish(message{topic: topic, payload: "while connected", qos: 1})
			c.wantMessage(topic, "while connected", 1)
			c.drop()
			w.pass(300 * time.Millisecond)
			c = w.connect(h)
			w.check(c.connack.present, "no Session Present in time")
			c.disconnect()
			w.pass(1500 * time.Millisecond)
			w.check(!w.connect(h).connack.present, "Session Present after its end")
		},
	},
	{
		name: "DISCONNECT may change the expiry interval, but not raise it from 0",
		of5:  "4.1.0-2 3.1.2-23",
		run: func(w *world) {
			c := w.kept("a")
			c.send(pkt(tDISCONNECT, []byte{0}, props(v5, u32Prop(pSession, 0))))
			c.wantEnd(0)
			w.check(!w.kept("a").connack.present, "Session Present")

			c = w.connect(hello{id: w.id("b"), again: true, props: [][]byte{u32Prop(pSession, 1)}})
			c.send(pkt(tDISCONNECT, []byte{0}, props(v5, u32Prop(pSession, 3600))))
			c.wantEnd(0)
			w.pass(1500 * time.Millisecond)
			w.check(w.kept("b").connack.present, "no Session Present")

			c = w.plain()
			c.send(pkt(tDISCONNECT, []byte{0}, props(v5, u32Prop(pSession, 1))))
			c.wantEnd(0x82)
		},
	},
	{
		name:      "sessions outlive the server, with subscriptions, what is queued and what is half way through",
		of5:       "4.1.0-1 3.1.2-23 4.4.0-1",
		of311:     "4.1.0-1 3.1.2-4 3.1.2-5 4.4.0-1",
		ownBroker: true,
		run: func(w *world) {
			topic := w.topic("a")
			c := w.kept("k")
			c.subscribe(topic, 2)
			w.publish(message{topic: topic, payload: "released", qos: 2})
			w.publish(message{topic: topic, payload: "sent", qos: 2})
			released := c.wantPublish(topic, "released", 2).id
			sent := c.wantPublish(topic, "sent", 2).id
			c.ack(tPUBREC, released)
			c.wantAck(tPUBREL, released)
			half := c.publish(message{topic: topic, payload: "half", qos: 2})
			w.check(c.wantAck(tPUBREC, half) == 0, "PUBREC")
			c.wantPublish(topic, "half", 2)
			c.drop()
			w.publish(message{topic: topic, payload: "queued", qos: 1})
			w.s.restart()

			c = w.kept("k")
			w.check(c.connack.present, "no Session Present")
			c.wantRelease(released)
			c.ack(tPUBCOMP, released)
			r := c.wantMessage(topic, "sent", 2)
			w.check(r.id == sent && r.msg.dup, "%d, DUP %t", r.id, r.msg.dup)
			c.wantMessage(topic, "half", 2)
			c.wantMessage(topic, "queued", 1)
			c.publish(message{topic: topic, payload: "half", qos: 2, id: half, dup: true})
			c.wantAck(tPUBREC, half)
			c.ack(tPUBREL, half)
			c.wantAck(tPUBCOMP, half)
			w.publish(message{topic: topic, payload: "last", qos: 1})
			c.wantMessage(topic, "last", 1) // and not half once more
		},
	},
	{
		name:  "a message is added to every session that wants it",
		of5:   "4.5.0-1",
		of311: "4.5.0-1",
		run: func(w *world) {
			topic := w.topic("a")
			var all []*client
			for i := range 5 {
				c, k := w.plain(), w.kept(fmt.Sprint("k", i))
				c.subscribe(topic, byte(i%3))
				k.subscribe(w.topic("+"), byte((i+1)%3))
				all = append(all, c, k)
			}
			w.publish(message{topic: topic, payload: "m", qos: 2})
			for i, c := range all {
				c.wantMessage(topic, "m", byte((i/2+i%2)%3))
			}
		},
	},
	{
		name:  "a session lasts at least as long as its connection",
		of5:   "4.1.0-1",
		of311: "4.1.0-2",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.plain()
			c.subscribe(topic, 2)
			w.publish(message{topic: topic, payload: "1", qos: 2})
			id := c.wantPublish(topic, "1", 2).id
			c.ack(tPUBREC, id)
			c.wantAck(tPUBREL, id)
			w.publish(message{topic: topic, payload: "2", qos: 2})
			c.wantMessage(topic, "2", 2)
			c.ack(tPUBCOMP, id)
			w.publish(message{topic: topic, payload: "3", qos: 2})
			c.wantMessage(topic, "3", 2)
		},
	},
}}
