package conformance

import (
	"fmt"
	"testing"
)

func TestRetain(t *testing.T) { runChapter(t, retainChapter) }

// retainChapter: section 3.3.1.3.
var retainChapter = chapter{"Retain", []testCase{
	{
		name:  "a message with RETAIN is kept with its QoS, in place of the former, for whoever subscribes later",
		of5:   "3.3.1-5 3.3.1-9",
		of311: "3.3.1-5 3.3.1-6 3.3.1-8",
		run: func(w *world) {
			topic := w.topic("a")
			for i := range 6 {
				qos := byte(i % 3)
				payload := fmt.Sprint("value ", i)
				w.publish(message{topic: topic, payload: payload, qos: qos, retain: true})
				for granted := range byte(3) {
					r := w.subscriber(topic, granted).wantMessage(topic, payload, min(qos, granted))
					w.check(r.msg.retain, "no RETAIN")
				}
			}
		},
	},
	{
		name:  "a new subscription gets the retained message of each topic that it matches",
		of5:   "3.3.1-9 3.3.2-3",
		of311: "3.3.1-6 3.3.1-8 3.3.2-3",
		run: func(w *world) {
			want := map[string]bool{}
			for i := range 20 {
				topic := w.topic(fmt.Sprint("a/", i))
				w.publish(message{topic: topic, payload: topic, qos: byte(i % 3), retain: true})
				want[topic] = true
			}
			w.publish(message{topic: w.topic("b/1"), payload: "other", retain: true})
			for _, c := range []*client{w.plain(), w.kept("k")} {
				c.subscribe(w.topic("a/+"), 2)
				got := map[string]bool{}
				for range 20 {
					r := c.want(tPUBLISH)
					c.finish(r)
					w.check(want[r.msg.topic] && !got[r.msg.topic] && r.msg.payload == r.msg.topic && r.msg.retain, "got %s", r)
					got[r.msg.topic] = true
				}
				c.quiet()
			}
		},
	},
	{
		name:  "an empty retained message removes what is kept, is delivered, and is not kept itself",
		of5:   "3.3.1-6 3.3.1-7",
		of311: "3.3.1-10 3.3.1-11",
		run: func(w *world) {
			for qos := range byte(3) {
				topic := w.topic(fmt.Sprint(qos))
				w.publish(message{topic: topic, payload: "kept", qos: qos, retain: true})
				s := w.subscriber(topic, 2)
				s.wantMessage(topic, "kept", qos)
				w.publish(message{topic: topic, qos: qos, retain: true})
				r := s.wantMessage(topic, "", qos)
				w.check(!r.msg.retain, "RETAIN to an established subscription")
				w.subscriber(topic, 2).quiet()
				w.publish(message{topic: topic, qos: qos, retain: true}) // once more, of nothing
				s.wantMessage(topic, "", qos)
				w.subscriber(topic, 2).quiet()
			}
		},
	},
	{
		name:  "a message without RETAIN changes nothing of what is kept",
		of5:   "3.3.1-8",
		of311: "3.3.1-12",
		run: func(w *world) {
			topic := w.topic("a")
			w.publish(message{topic: topic, payload: "live only", qos: 1})
			w.subscriber(topic, 2).quiet()
			w.publish(message{topic: topic, payload: "kept", qos: 1, retain: true})
			w.publish(message{topic: topic, payload: "live", qos: 1})
			w.publish(message{topic: topic, qos: 1})
			w.subscriber(topic, 2).wantMessage(topic, "kept", 1)
		},
	},
	{
		name:  "a retained message at QoS 0 replaces one at QoS 2",
		of5:   "3.3.1-5",
		of311: "3.3.1-7",
		run: func(w *world) {
			topic := w.topic("a")
			w.publish(message{topic: topic, payload: "two", qos: 2, retain: true})
			w.publish(message{topic: topic, payload: "zero", retain: true})
			s := w.subscriber(topic, 2)
			s.wantMessage(topic, "zero", 0)
			s.quiet()
		},
	},
	{
		name:  "an established subscription gets it without RETAIN",
		of5:   "3.3.1-12",
		of311: "3.3.1-9",
		run: func(w *world) {
			topic := w.topic("a")
			for _, c := range []*client{w.plain(), w.kept("k")} {
				c.subscribe(topic, 2)
				for qos := range byte(3) {
					w.publish(message{topic: topic, payload: "m", qos: qos, retain: true})
					r := c.wantMessage(topic, "m", qos)
					w.check(!r.msg.retain, "RETAIN")
				}
				w.publish(message{topic: topic, retain: true})
			}
		},
	},
	{
		name: "with retain as published it comes as it was sent",
		of5:  "3.3.1-13 3.3.1-12",
		run: func(w *world) {
			topic := w.topic("a")
			for _, c := range []*client{w.plain(), w.kept("k")} {
				c.subscribe(topic, 2|asIs|noneOnce)
				for i := range 6 {
					m := message{topic: topic, payload: "m", qos: byte(i % 3), retain: i > 2}
					w.publish(m)
					r := c.wantMessage(topic, "m", m.qos)
					w.check(r.msg.retain == m.retain, "RETAIN %t", r.msg.retain)
				}
			}
		},
	},
	{
		name: "retain handling says when retained messages are sent: always, for a new subscription, never",
		of5:  "3.3.1-9 3.3.1-10 3.3.1-11 3.8.4-4",
		run: func(w *world) {
			topic := w.topic("a")
			w.publish(message{topic: topic, payload: "kept", qos: 1, retain: true})
			for _, c := range []*client{w.plain(), w.kept("k")} {
				for _, s := range []struct {
					options byte
					sent    bool
				}{
					{1 | noneOnce, false}, {1 | noneOnce, false}, {1, true}, {1, true}, {1 | ifNew, false}, {2 | ifNew, false}, {0, true},
				} {
					c.subscribe(topic, s.options)
					if s.sent {
						r := c.wantMessage(topic, "kept", min(1, s.options&3))
						w.check(r.msg.retain, "no RETAIN")
					}
					c.quiet()
				}
				c.unsubscribe(topic)
				c.subscribe(topic, 1|ifNew)
				c.wantMessage(topic, "kept", 1)
			}
			c := w.kept("k")
			c.subscribe(topic, 1|ifNew) // it is there since the last connection
			c.quiet()
			w.silent(c, topic)
		},
	},
	{
		name:  "retained messages outlive the session that sent them, and the server",
		of5:   "3.3.1-5 4.1.0-1",
		of311: "3.1.2-7 3.3.1-5",

		ownBroker: true,
		run: func(w *world) {
			for qos := range byte(3) {
				w.publish(message{topic: fmt.Sprint("a/", qos), payload: "kept", qos: qos, retain: true})
				w.publish(message{topic: fmt.Sprint("b/", qos), payload: "removed", qos: qos, retain: true})
				w.publish(message{topic: fmt.Sprint("b/", qos), qos: qos, retain: true})
			}
			for range 2 {
				s := w.plain()
				for qos := range byte(3) {
					s.subscribe(fmt.Sprint("a/", qos), 2)
					s.wantMessage(fmt.Sprint("a/", qos), "kept", qos)
				}
				s.subscribe("b/#", 2)
				s.quiet()
				s.disconnect()
				w.s.restart()
			}
		},
	},
}}
