package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"packetboat/broker"
)

func TestPublish(t *testing.T) { runChapter(t, publishChapter) }

// expiry is a Message Expiry Interval in seconds.
func expiry(n uint32) [][]byte { return [][]byte{u32Prop(pExpiry, n)} }

// wantLeft: some of the expiry interval is over, most of it is left.
func wantLeft(w *world, r *received, most uint32) {
	p, ok := r.props.get(pExpiry)
	w.check(ok && p.num < most && p.num >= most-5, "expiry %d, of %d", p.num, most)
}

// publishChapter: section 3.3 but for RETAIN and for what properties say.
var publishChapter = chapter{"Publish", []testCase{
	{
		name:  "a PUBLISH is answered as its QoS wants",
		of5:   "3.3.4-1 4.3.2-4 4.3.3-8 4.3.3-11",
		of311: "3.3.4-1 4.3.2-2 4.3.3-2",
		run: func(w *world) {
			c := w.plain()
			for qos := range byte(3) {
				c.put(message{topic: w.topic("a"), payload: "m", qos: qos})
				c.quiet()
			}
		},
	},
	{
		name:  "a message is delivered at the lower of its QoS and that of the subscription",
		of5:   "3.8.4-8 3.8.4-7",
		of311: "3.8.4-6 3.8.4-5",
		run: func(w *world) {
			topic := w.topic("a")
			for granted := range byte(3) {
				for _, c := range []*client{w.plain(), w.kept(fmt.Sprint("k", granted))} {
					c.subscribe(topic, granted)
					for qos := range byte(3) {
						w.publish(message{topic: topic, payload: "m", qos: qos})
						c.wantMessage(topic, "m", min(qos, granted))
					}
				}
			}
		},
	},
	{
		name:  "DUP of a PUBLISH that comes in is not passed on",
		of5:   "3.3.1-3 4.3.2-2 4.3.3-2",
		of311: "3.3.1-3",
		run: func(w *world) {
			topic := w.topic("a")
			for _, c := range []*client{w.plain(), w.kept("k")} {
				c.subscribe(topic, 2)
				for qos := byte(1); qos <= 2; qos++ {
					w.publish(message{topic: topic, payload: "m", qos: qos, dup: true})
					r := c.wantMessage(topic, "m", qos)
					w.check(!r.msg.dup, "DUP")
				}
			}
		},
	},
	{
		name:  "QoS 3 ends the connection",
		of5:   "3.3.1-4 4.13.1-1",
		of311: "3.3.1-4 4.8.0-1",
		run: func(w *world) {
			sendTo(w, 0x81, (&message{topic: w.topic("a"), qos: 3, id: 1}).bytes(w.v))
			sendTo(w, 0x81, (&message{topic: w.topic("a"), qos: 3, id: 1, dup: true, retain: true}).bytes(w.v))
		},
	},
	{
		name:  "a topic name with a wildcard, or without a character, ends the connection",
		of5:   "3.3.2-2 4.7.0-1 4.7.3-1 4.13.1-1",
		of311: "3.3.2-2 4.7.1-1 4.7.3-1 4.8.0-1",
		run: func(w *world) {
			for _, topic := range []string{"#", "+", "a/#", "a/+/b", "a#", "+a"} {
				sendTo(w, 0x90, (&message{topic: topic}).bytes(w.v))
				sendTo(w, 0x90, (&message{topic: topic, qos: 1, id: 1}).bytes(w.v))
			}
			sendTo(w, 0x82, (&message{}).bytes(w.v))
		},
	},
	{
		name:  "overlapping subscriptions get one copy at the highest of their QoS",
		of5:   "3.3.4-2 3.3.4-4",
		of311: "3.3.5-1",
		run: func(w *world) {
			topic := w.topic("a/b")
			for _, c := range []*client{w.plain(), w.kept("k")} {
				c.subscribe(w.topic("#"), 0)
				c.subscribe(w.topic("+/b"), 2)
				c.subscribe(topic, 1)
				for qos := range byte(3) {
					w.publish(message{topic: topic, payload: "m", qos: qos})
					c.wantMessage(topic, "m", qos)
					c.quiet()
				}
				c.unsubscribe(w.topic("+/b"))
				w.publish(message{topic: topic, payload: "m", qos: 2})
				c.wantMessage(topic, "m", 1)
			}
		},
	},
	{
		name: "the identifiers of all matching subscriptions come with the one copy",
		of5:  "3.3.4-3 3.3.4-4 3.3.4-5",
		run: func(w *world) {
			topic := w.topic("a/b")
			for _, c := range []*client{w.plain(), w.kept("k")} {
				c.subscribe(w.topic("#"), 0, subIDProp(1))
				c.subscribe(w.topic("+/b"), 2, subIDProp(268435455))
				c.subscribe(w.topic("a/+"), 1)
				c.subscribe(w.topic("other"), 1, subIDProp(3))
				c.subscribe(topic, 1, subIDProp(200))
				check := func(qos byte, want ...uint32) {
					r := c.wantMessage(topic, "m", qos)
					got := map[uint32]bool{}
					for _, p := range r.props.all(pSubID) {
						got[p.num] = true
					}
					ok := len(got) == len(want)
					for _, id := range want {
						ok = ok && got[id]
					}
					w.check(ok && len(r.props.all(pSubID)) == len(want), "identifiers %v, want %v", got, want)
				}
				for qos := range byte(3) {
					w.publish(message{topic: topic, payload: "m", qos: qos})
					check(qos, 1, 268435455, 200)
				}
				c.subscribe(topic, 1, subIDProp(201))
				c.unsubscribe(w.topic("#"))
				w.publish(message{topic: topic, payload: "m", qos: 1})
				check(1, 268435455, 201)
				c.subscribe(topic, 1)
				c.unsubscribe(w.topic("+/b"))
				w.publish(message{topic: topic, payload: "m", qos: 1})
				check(1)
			}
		},
	},
	{
		name: "the identifier of a subscription comes with retained messages and after a reconnect",
		of5:  "3.3.4-3",
		run: func(w *world) {
			topic := w.topic("a")
			w.publish(message{topic: topic, payload: "kept", qos: 1, retain: true})
			c := w.kept("k")
			c.subscribe(topic, 1, subIDProp(7))
			r := c.wantMessage(topic, "kept", 1)
			w.check(len(r.props.all(pSubID)) == 1 && r.props.all(pSubID)[0].num == 7, "got %v", r.props)
			c.disconnect()
			w.publish(message{topic: topic, payload: "queued", qos: 1})
			r = w.kept("k").wantMessage(topic, "queued", 1)
			w.check(len(r.props.all(pSubID)) == 1 && r.props.all(pSubID)[0].num == 7, "got %v", r.props)
		},
	},
	{
		name: "a subscription identifier in a client's PUBLISH ends the connection",
		of5:  "3.3.4-6 4.13.1-1",
		run: func(w *world) {
			sendTo(w, 0x82, (&message{topic: w.topic("a"), props: [][]byte{subIDProp(1)}}).bytes(w.v))
		},
	},
	{
		name:  "a publish that is not allowed is refused in 5.0, acknowledged and delivered to nobody in 3.1.1",
		of5:   "4.3.3-9 3.4.2-1 3.5.2-1",
		of311: "3.3.5-2",
		run: func(w *world) {
			s := w.subscriber("$SYS/"+w.name, 2)
			c := w.plain()
			topic := "$SYS/" + w.name
			c.put(message{topic: topic, payload: "m"})
			id := c.publish(message{topic: topic, payload: "m", qos: 1})
			w.check(c.wantAck(tPUBACK, id) == c.code(0x87, 0), "PUBACK")
			id = c.publish(message{topic: topic, payload: "m", qos: 2})
			w.check(c.wantAck(tPUBREC, id) == c.code(0x87, 0), "PUBREC")
			if w.v == v311 {
				c.ack(tPUBREL, id)
				c.wantAck(tPUBCOMP, id)
			}
			c.quiet()
			s.quiet()
		},
	},
	{
		name: "a PUBLISH above the client's maximum packet size is taken for delivered",
		of5:  "3.1.2-24 3.1.2-25",
		run: func(w *world) {
			topic := w.topic("a")
			for _, h := range []hello{{maxPacket: 100}, {maxPacket: 100, id: w.id("k"), keep: true, receiveMax: 1}} {
				c := w.connect(h)
				c.subscribe(topic, 2)
				for qos := range byte(3) {
					w.publish(message{topic: topic, payload: strings.Repeat("x", 100), qos: qos})
					w.publish(message{topic: topic, payload: "small", qos: qos})
					c.wantMessage(topic, "small", qos)
				}
				w.publish(message{topic: topic, payload: strings.Repeat("x", 100), qos: 1, retain: true})
				c.subscribe(topic, 2)
				c.quiet()
				w.publish(message{topic: topic, qos: 1, retain: true})
				c.wantMessage(topic, "", 1)
			}
			// Exactly as large as it may be: 2 bytes of header, 2 + the topic, 1.
			c := w.connect(hello{maxPacket: 100})
			c.subscribe(topic, 0)
			fits := strings.Repeat("x", 100-5-len(topic))
			w.publish(message{topic: topic, payload: fits + "x"})
			w.publish(message{topic: topic, payload: fits})
			c.wantMessage(topic, fits, 0)
		},
	},
	{
		name: "a packet above the server's maximum packet size ends the connection",
		of5:  "3.2.2-15 4.13.2-1",
		own:  func(o *broker.Options) { o.MaxPacketSize = 200 },
		run: func(w *world) {
			c := w.plain()
			p, ok := c.connack.props.get(pMaxPacket)
			w.check(ok && p.num == 200, "maximum packet size %d", p.num)
			overhead := len((&message{topic: "a", payload: strings.Repeat("x", 150)}).bytes(v5)) - 150
			c.put(message{topic: "a", payload: strings.Repeat("x", 200-overhead)})
			c.publish(message{topic: "a", payload: strings.Repeat("x", 201-overhead)})
			c.wantEnd(0x95)
		},
	},
	{
		name:  "the messages of a client to a topic arrive in the order in which it published them, for each QoS",
		of5:   "4.6.0-5 4.6.0-6",
		of311: "4.6.0-5 4.6.0-6",
		run: func(w *world) {
			const n = 300
			topic := w.topic("a")
			subscribers := []*client{w.subscriber(w.topic("#"), 2), w.kept("k")}
			subscribers[1].subscribe(topic, 2)
			p := w.plain()
			var all []byte
			for i := range n {
				m := message{topic: topic, payload: fmt.Sprint(i), qos: byte(i % 3), id: i + 1}
				all = append(all, m.bytes(w.v)...)
			}
			p.send(all)
			for _, c := range subscribers {
				last := [3]int{-1, -1, -1}
				for range n {
					r := c.want(tPUBLISH)
					c.finish(r)
					i := 0
					_, _ = fmt.Sscan(r.msg.payload, &i)
					qos := r.msg.qos
					w.check(int(qos) == i%3 && i > last[qos], "%d at QoS %d after %d", i, qos, last[qos])
					last[qos] = i
				}
			}
			// Its answers keep the order, too.
			id := 0
			for range n / 3 * 2 {
				r, err := p.next()
				w.check(err == nil, "%v", err)
				w.check(r.id > id, "answer to %d after %d", r.id, id)
				id = r.id
			}
		},
	},
	{
		name: "a message whose expiry interval has passed is not delivered, and one that waited is sent with what is left",
		of5:  "3.3.2-5 3.3.2-6",
		run: func(w *world) {
			topic, kept := w.topic("a"), w.topic("kept")
			offline := w.kept("k")
			offline.subscribe(topic, 2)
			offline.disconnect()
			w.publish(message{topic: topic, payload: "over", qos: 1, props: expiry(1)})
			w.publish(message{topic: topic, payload: "over", qos: 2, props: expiry(1)})
			w.publish(message{topic: topic, payload: "left", qos: 1, props: expiry(60)})
			w.publish(message{topic: topic, payload: "never", qos: 2})
			w.publish(message{topic: kept, payload: "left", qos: 1, props: expiry(60), retain: true})
			w.publish(message{topic: kept + "/over", payload: "over", qos: 1, props: expiry(1), retain: true})
			live := w.subscriber(kept+"/#", 2)
			for range 2 {
				live.finish(live.want(tPUBLISH))
			}
			w.pass(1500 * time.Millisecond)

			offline = w.kept("k")
			wantLeft(w, offline.wantMessage(topic, "left", 1), 60)
			r := offline.wantMessage(topic, "never", 2)
			w.check(!r.props.has(pExpiry), "an expiry that it did not have")

			for _, c := range []*client{w.plain(), w.kept("r")} {
				c.subscribe(kept+"/#", 2)
				r := c.wantMessage(kept, "left", 1)
				wantLeft(w, r, 60)
				w.check(r.msg.retain, "no RETAIN")
				c.quiet()
			}
		},
	},
	{
		name: "so it is with one that waits for room in the window of a session that does not stay",
		of5:  "3.3.2-5 3.3.2-6",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.connect(hello{receiveMax: 1})
			c.subscribe(topic, 2)
			w.publish(message{topic: topic, payload: "first", qos: 2})
			first := c.wantPublish(topic, "first", 2)
			for _, left := range []uint32{1, 60} {
				w.publish(message{topic: topic, payload: fmt.Sprint(left), qos: 1, props: expiry(left)})
			}
			w.publish(message{topic: topic, payload: "never", qos: 2})
			w.pass(1500 * time.Millisecond)
			c.finish(first)
			wantLeft(w, c.wantMessage(topic, "60", 1), 60)
			c.wantMessage(topic, "never", 2)
		},
	},
}}
