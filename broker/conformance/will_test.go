package conformance

import (
	"fmt"
	"testing"
	"time"
)

func TestWill(t *testing.T) { runChapter(t, willChapter) }

// delay is a Will Delay Interval in seconds.
func delay(n uint32) [][]byte { return [][]byte{u32Prop(pWillDelay, n)} }

// silent shows that s got nothing until now, by a message that it gets next.
func (w *world) silent(s *client, topic string) {
	w.publish(message{topic: topic, payload: "marker"})
	s.wantMessage(topic, "marker", 0)
}

// willChapter: sections 3.1.2.5 to 3.1.2.7 and 3.1.3.2.
var willChapter = chapter{"Will", []testCase{
	{
		name:  "a will is published, once, when its connection ends in whatever way but by DISCONNECT",
		of5:   "3.1.2-7 3.1.2-8 3.1.2-10 3.1.2-14",
		of311: "3.1.2-8 3.1.2-10 3.1.2-16",
		run: func(w *world) {
			topic := w.topic("w")
			s := w.subscriber(topic, 2)
			ends := map[string]func(c *client){
				"the connection breaks": func(c *client) { c.drop() },
				"the connection is reset": func(c *client) {
					c.nc.Close()
				},
				"an error of the client": func(c *client) {
					c.send(x("00 00"))
					c.wantEnd(0x81)
				},
				"a second CONNECT": func(c *client) {
					c.hello(hello{})
					c.wantEnd(0x82)
				},
				"taken over": func(c *client) {
					w.connect(hello{id: c.said.id, keep: c.said.keep}).disconnect()
				},
				"keep alive": func(c *client) { c.wantEnd(0x8d) },
			}
			if w.v == v5 {
				ends["DISCONNECT 0x04"] = func(c *client) {
					c.send(x("e0 01 04"))
					c.wantEnd(0)
				}
			}
			for name, end := range ends {
				w.t.Log(name)
				for qos := range byte(3) {
					h := hello{id: w.newID(), will: &message{topic: topic, payload: name, qos: qos}, keep: qos == 1}
					if name == "keep alive" {
						if qos != 1 {
							continue // one wait is enough
						}
						h.keepAlive = 1
					}
					end(w.connect(h))
					r := s.wantMessage(topic, name, qos)
					w.check(!r.msg.retain, "RETAIN")
					// It is gone: the next connection has none.
					w.connect(hello{id: h.id, keep: h.keep}).drop()
				}
			}
			w.silent(s, topic)
		},
	},
	{
		name:  "DISCONNECT discards the will",
		of5:   "3.1.2-8 3.1.2-10 3.14.4-3",
		of311: "3.1.2-8 3.1.2-10 3.14.4-3",
		run: func(w *world) {
			topic := w.topic("w")
			s := w.subscriber(topic, 2)
			will := &message{topic: topic, payload: "will", qos: 1}
			w.connect(hello{will: will}).disconnect()
			w.connect(hello{id: w.id("k"), keep: true, will: will}).disconnect()
			if w.v == v5 {
				c := w.connect(hello{will: &message{topic: topic, payload: "will", props: delay(1)}})
				c.send(x("e0 01 00"))
				c.wantEnd(0)
			}
			w.silent(s, topic)
		},
	},
	{
		name:  "without a will none is published",
		of5:   "3.1.2-11 3.1.2-13 3.1.2-10",
		of311: "3.1.2-12 3.1.2-11 3.1.2-10",
		run: func(w *world) {
			topic := w.topic("#")
			s := w.subscriber(topic, 2)
			h := hello{id: w.id("k"), keep: true, will: &message{topic: w.topic("w"), payload: "will"}}
			w.connect(h).disconnect()
			w.connect(hello{id: w.id("k"), keep: true}).drop()
			w.silent(s, w.topic("m"))
		},
	},
	{
		name:  "a will is retained when it says so, and else leaves what is retained alone",
		of5:   "3.1.2-14 3.1.2-15",
		of311: "3.1.2-16 3.1.2-17",
		run: func(w *world) {
			topic := w.topic("w")
			w.publish(message{topic: topic, payload: "before", retain: true})
			w.connect(hello{will: &message{topic: topic, payload: "not retained"}}).drop()
			s := w.subscriber(topic, 0)
			s.wantMessage(topic, "before", 0)
			w.connect(hello{will: &message{topic: topic, payload: "retained", qos: 1, retain: true}}).drop()
			r := s.wantMessage(topic, "retained", 0)
			w.check(!r.msg.retain, "RETAIN to an established subscription")
			s = w.subscriber(topic, 2)
			r = s.wantMessage(topic, "retained", 1)
			w.check(r.msg.retain, "no RETAIN to a new subscription")
			w.connect(hello{will: &message{topic: topic, retain: true}}).drop() // removes it
			s.wantMessage(topic, "", 0)
			w.subscriber(topic, 0).quiet()
		},
	},
	{
		name:  "wills of the clients that are connected are published when the server ends",
		of5:   "3.1.2-8",
		of311: "3.1.2-8",

		ownBroker: true,
		run: func(w *world) {
			s := w.kept("s")
			s.subscribe("w/#", 2)
			s.disconnect()
			for qos := range byte(3) {
				w.connect(hello{will: &message{topic: fmt.Sprint("w/", qos), payload: "will", qos: qos, retain: true}})
			}
			w.s.restart()
			s = w.kept("s")
			got := map[string]bool{}
			for range 2 {
				r := s.want(tPUBLISH)
				s.finish(r)
				got[r.msg.topic] = true
			}
			w.check(got["w/1"] && got["w/2"], "got %v", got)
			r := w.subscriber("w/0", 0).wantMessage("w/0", "will", 0)
			w.check(r.msg.retain, "no RETAIN")
		},
	},
	{
		name: "a will with a delay is published after it, and not when the client is back before",
		of5:  "3.1.2-8 3.1.3-9 3.1.2-10",
		run: func(w *world) {
			topic := w.topic("w")
			s := w.subscriber(topic, 2)
			will := &message{topic: topic, payload: "late", qos: 1, props: delay(1)}
			w.connect(hello{id: w.id("back"), keep: true, will: will}).drop()
			w.connect(hello{id: w.id("back"), keep: true}).drop() // it has no will any more
			began := time.Now()
			w.connect(hello{id: w.id("gone"), keep: true, will: will}).drop()
			s.quiet()
			s.wantMessage(topic, "late", 1)
			w.check(time.Since(began) > 900*time.Millisecond || *addr != "", "after %v", time.Since(began))
			w.pass(300 * time.Millisecond)
			w.silent(s, topic)
		},
	},
	{
		name: "a session that ends publishes its will before the delay has passed",
		of5:  "3.1.2-8",
		run: func(w *world) {
			topic := w.topic("w")
			s := w.subscriber(topic, 2)
			will := &message{topic: topic, payload: "will", qos: 2, props: delay(3600)}
			// Its session ends with the connection,
			w.connect(hello{will: will}).drop()
			s.wantMessage(topic, "will", 2)
			// after a second,
			w.connect(hello{again: true, props: [][]byte{u32Prop(pSession, 1)}, will: will}).drop()
			s.wantMessage(topic, "will", 2)
			// or because a new one begins.
			w.connect(hello{id: w.id("k"), keep: true, will: will}).drop()
			s.quiet()
			w.connect(hello{id: w.id("k")})
			s.wantMessage(topic, "will", 2)
		},
	},
	{
		name: "the properties of a will are published, user properties in order",
		of5:  "3.1.2-9 3.1.3-10 3.3.2-17 3.3.2-18",
		run: func(w *world) {
			topic := w.topic("w")
			s := w.subscriber(topic, 2)
			w.connect(hello{will: &message{topic: topic, payload: "w", props: [][]byte{
				userProp("b", "2"), byteProp(pFormat, 1), userProp("a", "1"), u32Prop(pWillDelay, 0), strProp(pContentType, "text"),
				strProp(pResponse, "answer/here"), userProp("b", "2"), strProp(pCorrelation, "\x00\xff"), u32Prop(pExpiry, 100), userProp("", ""),
			}}}).drop()
			r := s.wantMessage(topic, "w", 0)
			var users string
			for _, u := range r.props.all(pUser) {
				users += u.s + "=" + u.s2 + " "
			}
			w.check(users == "b=2 a=1 b=2 = ", "user properties %q", users)
			for id, want := range map[byte]property{
				pFormat: {num: 1}, pContentType: {s: "text"}, pResponse: {s: "answer/here"}, pCorrelation: {s: "\x00\xff"}, pExpiry: {num: 100},
			} {
				got, ok := r.props.get(id)
				want.id = id
				w.check(ok && got == want, "property 0x%02X is %v, want %v", id, got, want)
			}
			w.check(!r.props.has(pWillDelay), "the delay is published")
		},
	},
	{
		name:      "a delayed will is kept with its session over a restart of the server",
		of5:       "3.1.2-7 3.1.2-8",
		ownBroker: true,
		run: func(w *world) {
			s := w.kept("s")
			s.subscribe("w", 1)
			s.disconnect()
			w.connect(hello{id: "k", keep: true, will: &message{topic: "w", payload: "will", qos: 1, props: delay(3600)}}).drop()
			w.s.restart()
			w.connect(hello{id: "k"}) // which ends the session
			s = w.kept("s")
			w.publish(message{topic: "w", payload: "marker", qos: 1})
			s.wantMessage("w", "will", 1)
		},
	},
}}
