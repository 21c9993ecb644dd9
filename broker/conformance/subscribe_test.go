package conformance

import (
	"bytes"
	"fmt"
	"testing"
)

func TestSubscribe(t *testing.T) { runChapter(t, subscribeChapter) }

// subscribeChapter: sections 3.8 and 3.9.
var subscribeChapter = chapter{"Subscribe", []testCase{
	{
		name:  "each filter has its code, in order, in one SUBACK: what is granted, or a failure",
		of5:   "3.8.4-1 3.8.4-2 3.8.4-5 3.8.4-6 3.8.4-7 3.9.3-1 3.9.3-2 3.2.2-10",
		of311: "3.8.4-1 3.8.4-2 3.8.4-4 3.8.4-5 3.9.3-1 3.9.3-2 3.8.3-2",
		run: func(w *world) {
			c := w.plain()
			codes := c.subscribeAll(nil, option{w.topic("a"), 2}, option{w.topic("a/#/b"), 1}, option{w.topic("+/c"), 0},
				option{w.topic("d#"), 0}, option{w.topic("#"), 1}, option{"$share/x", 2}, option{w.topic("a"), 0})
			bad := c.code(0x8f, 0x80)
			w.check(bytes.Equal(codes, []byte{2, bad, 0, bad, 1, bad, 0}), "SUBACK % x", codes)
			c.quiet()
			// They were made one after the other.
			w.publish(message{topic: w.topic("a"), payload: "m", qos: 2})
			c.wantMessage(w.topic("a"), "m", 1)
		},
	},
	{
		name:  "reserved bits of the options end the connection, and so do values that do not exist",
		of5:   "3.8.3-5 4.13.1-1",
		of311: "3.8.3-4 4.8.0-1",
		run: func(w *world) {
			none := &client{v: w.v}
			bad := map[byte]byte{0x40: 0x81, 0x80: 0x81, 0x03: 0x82, 0x30: 0x82}
			if w.v == v311 {
				bad[0x04], bad[0x08], bad[0x10], bad[0x20] = 0, 0, 0, 0
			}
			for options, code := range bad {
				sendTo(w, code, none.subscribeBytes(1, nil, option{w.topic("a"), 0}, option{w.topic("b"), options}))
			}
		},
	},
	{
		name:  "a SUBSCRIBE without a filter ends the connection",
		of5:   "3.8.3-2 4.13.1-1",
		of311: "3.8.3-3 4.8.0-1",
		run: func(w *world) {
			sendTo(w, 0x82, (&client{v: w.v}).subscribeBytes(1, nil))
		},
	},
	{
		name:  "a subscription to the same filter replaces the former, and retained messages come again",
		of5:   "3.8.4-3 3.8.4-4",
		of311: "3.8.4-3",
		run: func(w *world) {
			topic := w.topic("a")
			w.publish(message{topic: topic, payload: "kept", qos: 2, retain: true})
			for _, c := range []*client{w.plain(), w.kept("k")} {
				for _, qos := range []byte{0, 2, 1, 1} {
					c.subscribe(topic, qos)
					c.wantMessage(topic, "kept", qos)
					w.publish(message{topic: topic, payload: "live", qos: 2})
					c.wantMessage(topic, "live", qos)
				}
				c.quiet() // one copy each
				c.unsubscribe(topic)
				w.publish(message{topic: topic, payload: "gone", qos: 2})
				c.quiet()
			}
			c := w.kept("k")
			c.subscribe(topic, 2)
			c.wantMessage(topic, "kept", 2)
			w.publish(message{topic: topic, payload: "next", qos: 2})
			c.wantMessage(topic, "next", 2)
		},
	},
	{
		name:  "replacing a subscription loses and doubles nothing",
		of5:   "3.8.4-4",
		of311: "3.8.4-3",
		run: func(w *world) {
			const n = 200
			topic := w.topic("a")
			for _, c := range []*client{w.plain(), w.kept("k")} {
				c.subscribe(topic, 1)
				p := w.plain()
				var all []byte
				for i := range n {
					m := message{topic: topic, payload: fmt.Sprint(i), qos: 1, id: i + 1}
					all = append(all, m.bytes(w.v)...)
				}
				p.send(all)
				for range 20 {
					c.subscribe(topic, 1)
				}
				for i := range n {
					c.wantMessage(topic, fmt.Sprint(i), 1)
				}
				c.quiet()
			}
		},
	},
	{
		name: "with no local a client does not get its own messages by that subscription",
		of5:  "3.8.3-3",
		run: func(w *world) {
			topic := w.topic("a")
			for _, c := range []*client{w.plain(), w.kept("k")} {
				c.subscribe(topic, 2|noLocal)
				for qos := range byte(3) {
					c.put(message{topic: topic, payload: "mine", qos: qos})
					w.publish(message{topic: topic, payload: "other", qos: qos})
					c.wantMessage(topic, "other", qos)
				}
				c.subscribe(topic, 2)
				c.publish(message{topic: topic, payload: "mine"})
				c.wantMessage(topic, "mine", 0)
				c.subscribe(topic, 2|noLocal)
				c.subscribe(w.topic("+"), 1) // which does not say so
				c.publish(message{topic: topic, payload: "mine"})
				c.wantMessage(topic, "mine", 0)
			}
			// It holds for the session's next connection, too.
			c := w.kept("k")
			c.unsubscribe(w.topic("+"))
			c.put(message{topic: topic, payload: "mine"})
			c.quiet()
		},
	},
}}
