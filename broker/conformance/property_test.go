package conformance

import (
	"fmt"
	"testing"

	"packetboat/broker"
)

func TestProperty(t *testing.T) { runChapter(t, propertyChapter) }

// alias is PUBLISH with a topic alias.
func alias(topic, payload string, n int) message {
	return message{topic: topic, payload: payload, props: [][]byte{u16Prop(pAlias, n)}}
}

// propertyChapter: section 3.3.2.3 but for expiry and subscription identifiers.
var propertyChapter = chapter{"Property", []testCase{
	{
		name: "what a message has of properties arrives unaltered, user properties in order",
		of5:  "3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20 3.3.2-13 3.3.2-19",
		run: func(w *world) {
			topic := w.topic("a")
			live, offline := w.subscriber(topic, 2), w.kept("k")
			offline.subscribe(topic, 2)
			offline.disconnect()
			m := message{topic: topic, payload: "x", retain: true, props: [][]byte{
				userProp("b", "2"), byteProp(pFormat, 1), userProp("a", "1"), strProp(pContentType, "tëxt/\ufeffplain"),
				userProp("a", "1"), strProp(pResponse, "answer/here"), userProp("", ""), strProp(pCorrelation, "\x00\xff\xfe"),
			}}
			want := properties{
				{id: pUser, s: "b", s2: "2"}, {id: pUser, s: "a", s2: "1"}, {id: pUser, s: "a", s2: "1"}, {id: pUser},
				{id: pFormat, num: 1}, {id: pContentType, s: "tëxt/\ufeffplain"}, {id: pResponse, s: "answer/here"}, {id: pCorrelation, s: "\x00\xff\xfe"},
			}
			check := func(r *received) {
				got := r.props.all(pUser)
				for _, id := range []byte{pFormat, pContentType, pResponse, pCorrelation} {
					got = append(got, r.props.all(id)...)
				}
				w.check(fmt.Sprint(got) == fmt.Sprint(want) && len(r.props) == len(want), "got %v, want %v", r.props, want)
			}
			for qos := range byte(3) {
				m.qos = qos
				w.publish(m)
				check(live.wantMessage(topic, "x", qos))
				check(w.subscriber(topic, 2).wantMessage(topic, "x", qos))
			}
			offline = w.kept("k")
			for qos := byte(1); qos <= 2; qos++ {
				check(offline.wantMessage(topic, "x", qos))
			}
			m.props = [][]byte{byteProp(pFormat, 0), strProp(pContentType, ""), strProp(pCorrelation, "")}
			want = properties{{id: pFormat}, {id: pContentType}, {id: pCorrelation}}
			w.publish(m)
			check(live.wantMessage(topic, "x", 2))
		},
	},
	{
		name: "a response topic that is no topic name ends the connection",
		of5:  "3.3.2-14 4.13.1-1",
		run: func(w *world) {
			for _, topic := range []string{"a/#", "+", ""} {
				sendTo(w, 0x82, (&message{topic: w.topic("a"), props: [][]byte{strProp(pResponse, topic)}}).bytes(v5))
			}
		},
	},
	{
		name: "topic aliases of a client stand for their topic, up to the server's maximum",
		of5:  "3.3.2-12 3.3.2-9 3.2.2-17",
		run: func(w *world) {
			s := w.subscriber(w.topic("#"), 2)
			c := w.plain()
			p, ok := c.connack.props.get(pAliasMax)
			w.check(ok && p.num > 0, "topic alias maximum %d", p.num)
			for _, n := range []int{1, int(p.num)} {
				a, b := w.topic(fmt.Sprint("a/", n)), w.topic(fmt.Sprint("b/", n))
				c.put(alias(a, "1", n))
				s.wantMessage(a, "1", 0)
				m := alias("", "2", n)
				m.qos = 1
				c.put(m)
				s.wantMessage(a, "2", 1)
				c.put(alias(b, "3", n)) // it stands for another one from now on
				s.wantMessage(b, "3", 0)
				m.qos, m.payload = 2, "4"
				c.put(m)
				r := s.wantMessage(b, "4", 2)
				w.check(!r.props.has(pAlias), "the alias is passed on")
			}
			c.publish(alias(w.topic("a"), "x", int(p.num)+1))
			c.wantEnd(0x94)
			s.quiet()
		},
	},
	{
		name: "a topic alias ends with its connection",
		of5:  "3.3.2-7 4.13.1-1",
		run: func(w *world) {
			s := w.subscriber(w.topic("#"), 0)
			c := w.kept("k")
			c.put(alias(w.topic("a"), "1", 1))
			s.wantMessage(w.topic("a"), "1", 0)
			c.drop()
			c = w.kept("k")
			c.publish(alias("", "2", 1))
			c.wantEnd(0x82)
			s.quiet()
		},
	},
	{
		name: "a topic alias of 0 ends the connection, and so does one that nobody has set",
		of5:  "3.3.2-8 4.13.1-1",
		run: func(w *world) {
			sendTo(w, 0x94, ptrTo(alias(w.topic("a"), "x", 0)).bytes(v5))
			sendTo(w, 0x82, ptrTo(alias("", "x", 1)).bytes(v5))
		},
	},
	{
		name: "where the server takes no topic aliases, CONNACK says so and one ends the connection",
		of5:  "3.2.2-18 3.2.2-17 3.3.2-9",
		own:  func(o *broker.Options) { o.TopicAliasMax = -1 },
		run: func(w *world) {
			c := w.plain()
			p, ok := c.connack.props.get(pAliasMax)
			w.check(!ok || p.num == 0, "topic alias maximum %d", p.num)
			c.publish(alias("a", "x", 1))
			c.wantEnd(0x94)
		},
	},
	{
		name: "a client gets topic aliases up to its own maximum, and none when it has none",
		of5:  "3.1.2-26 3.1.2-27 3.3.2-11 3.3.2-7 3.3.2-8",
		run: func(w *world) {
			// decode holds the server to it, and replaces aliases by their topics.
			for _, h := range []hello{{}, {aliasMax: 1}, {aliasMax: 2}, {aliasMax: 2, id: w.id("k"), keep: true}, {aliasMax: 2, id: w.id("k"), keep: true}} {
				c := w.connect(h)
				c.subscribe(w.topic("#"), 2)
				for i := range 30 {
					topic := w.topic(fmt.Sprint(i * i % 7))
					w.publish(message{topic: topic, payload: "m", qos: byte(i % 3)})
					c.wantMessage(topic, "m", byte(i%3))
				}
				c.drop()
			}
		},
	},
}}

func ptrTo(m message) *message { return &m }
