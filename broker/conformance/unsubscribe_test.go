package conformance

import (
	"bytes"
	"testing"
)

func TestUnsubscribe(t *testing.T) { runChapter(t, unsubscribeChapter) }

// unsubscribeChapter: sections 3.10 and 3.11.
var unsubscribeChapter = chapter{"Unsubscribe", []testCase{
	{
		name:  "filters are compared character by character, and those that are equal are deleted",
		of5:   "3.10.4-1 3.10.4-2 3.10.4-4 3.10.4-5 3.10.4-6 3.11.3-1 3.11.3-2",
		of311: "3.10.4-1 3.10.4-2 3.10.4-4 3.10.4-5 3.10.4-6",
		run: func(w *world) {
			topic := w.topic("a/b")
			for _, c := range []*client{w.plain(), w.kept("k")} {
				c.subscribe(topic, 2)
				codes := c.unsubscribe(w.topic("a/+"), w.topic("#"), w.topic("a/B"), topic+"/", w.topic("a/"))
				w.check(w.v == v311 || bytes.Equal(codes, x("11 11 11 11 11")), "UNSUBACK % x", codes)
				w.publish(message{topic: topic, payload: "still", qos: 2})
				c.wantMessage(topic, "still", 2)
				c.subscribe(w.topic("a/+"), 1)
				codes = c.unsubscribe(w.topic("x"), topic, topic)
				w.check(w.v == v311 || bytes.Equal(codes, x("11 00 11")), "UNSUBACK % x", codes)
				w.publish(message{topic: topic, payload: "by the other", qos: 2})
				c.wantMessage(topic, "by the other", 1)
				c.unsubscribe(w.topic("a/+"))
				for qos := range byte(3) {
					w.publish(message{topic: topic, payload: "no", qos: qos})
				}
				c.quiet()
				c.disconnect()
			}
			c := w.kept("k")
			c.subscribe(w.topic("m"), 1)
			w.publish(message{topic: w.topic("m"), payload: "marker", qos: 1})
			c.wantMessage(w.topic("m"), "marker", 1)
		},
	},
	{
		name:  "deliveries that have begun are finished",
		of5:   "3.10.4-3",
		of311: "3.10.4-3",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.kept("k")
			c.subscribe(topic, 2)
			w.publish(message{topic: topic, payload: "1", qos: 1})
			w.publish(message{topic: topic, payload: "2", qos: 2})
			w.publish(message{topic: topic, payload: "3", qos: 2})
			one, two, three := c.wantPublish(topic, "1", 1), c.wantPublish(topic, "2", 2), c.wantPublish(topic, "3", 2)
			c.ack(tPUBREC, three.id)
			c.wantAck(tPUBREL, three.id)
			c.unsubscribe(topic)
			c.ack(tPUBREC, two.id)
			c.wantAck(tPUBREL, two.id)
			c.drop()
			c = w.kept("k")
			c.wantRelease(two.id)
			c.wantRelease(three.id)
			c.ack(tPUBCOMP, two.id)
			c.ack(tPUBCOMP, three.id)
			r := c.wantMessage(topic, "1", 1)
			w.check(r.id == one.id && r.msg.dup, "identifier %d, DUP %t", r.id, r.msg.dup)
			c.quiet()
		},
	},
	{
		name:  "an UNSUBSCRIBE without a filter ends the connection",
		of5:   "3.10.3-2 4.13.1-1",
		of311: "3.10.3-2 4.8.0-1",
		run: func(w *world) {
			sendTo(w, 0x82, (&client{v: w.v}).unsubscribeBytes(1))
		},
	},
}}
