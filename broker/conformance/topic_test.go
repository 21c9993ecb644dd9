package conformance

import (
	"strings"
	"testing"
)

func TestTopic(t *testing.T) { runChapter(t, topicChapter) }

// topicChapter: section 4.7.
var topicChapter = chapter{"Topic", []testCase{
	{
		name:  "filters match as the standard shows",
		of5:   "3.3.2-3 4.7.1-1 4.7.1-2 4.7.3-4",
		of311: "3.3.2-3 4.7.1-2 4.7.1-3 4.7.3-4 3.8.3-2",
		run: func(w *world) {
			for _, c := range []struct{ filter, matches, not string }{
				{"sport/tennis/player1/#", "sport/tennis/player1 sport/tennis/player1/ranking sport/tennis/player1/score/wimbledon", "sport/tennis/player2 sport/tennis/player10"},
				{"sport/#", "sport sport/ sport/a/b", "sports"},
				{"sport/tennis/+", "sport/tennis/player1 sport/tennis/", "sport/tennis sport/tennis/player1/ranking"},
				{"sport/+", "sport/", "sport"},
				{"+/+", "/finance a/b", "finance a/b/c"},
				{"/+", "/finance", "finance"},
				{"+/tennis/#", "x/tennis x/tennis/y/z /tennis", "tennis x/y/tennis"},
				{"+/monitor/+", "a/monitor/b", "a/monitor a/b/monitor"},
				{"ACCOUNTS", "ACCOUNTS", "Accounts accounts ACCOUNTS/ /ACCOUNTS"},
				{"a b/ü", "a b/ü", "a b/u\u0308 a\u00a0b/ü"},
			} {
				// Below one level of the case's own the filters are whole.
				s := w.subscriber(w.topic(c.filter), 0)
				p := w.plain()
				for _, topic := range append(strings.Fields(strings.ReplaceAll(c.not, "a b", "a_b")), strings.Fields(strings.ReplaceAll(c.matches, "a b", "a_b"))...) {
					topic = strings.ReplaceAll(topic, "a_b", "a b")
					p.put(message{topic: w.topic(topic), payload: c.filter})
				}
				for _, topic := range strings.Fields(strings.ReplaceAll(c.matches, "a b", "a_b")) {
					s.wantMessage(w.topic(strings.ReplaceAll(topic, "a_b", "a b")), c.filter, 0)
				}
				s.quiet()
				p.disconnect()
				s.disconnect()
			}
		},
	},
	{
		name:  "filters that break the rules of wildcards are refused and match nothing",
		of5:   "4.7.1-1 4.7.1-2 4.7.3-1 4.8.2-1 4.8.2-2",
		of311: "4.7.1-2 4.7.1-3 4.7.3-1",
		run: func(w *world) {
			c := w.plain()
			bad := []string{"sport/tennis#", "sport/tennis/#/ranking", "#/a", "##", "sport+", "+sport/a", "a/+b/c", "a/++", "#+", ""}
			if w.v == v5 {
				bad = append(bad, "$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/g#/a", "$share/g/a#")
			}
			for _, filter := range bad {
				if filter == "$share" {
					continue // a name as any other
				}
				codes := c.subscribeAll(nil, option{filter, 0})
				w.check(len(codes) == 1 && codes[0] == c.code(0x8f, 0x80), "%q: SUBACK % x", filter, codes)
			}
			p := w.plain()
			for _, topic := range []string{"sport/tennis", "sport", "a/b/c", "a", "x"} {
				p.put(message{topic: topic, payload: "m"})
			}
			c.quiet()
		},
	},
	{
		name:  "a wildcard in the first place does not match topics that begin with $",
		of5:   "4.7.2-1",
		of311: "4.7.2-1",
		run: func(w *world) {
			topic := "$" + w.topic("a")
			all := w.plain()
			all.subscribe("+/a", 0)
			other := w.plain()
			other.subscribe("#", 0)
			named := w.subscriber("$"+w.name+"/#", 0)
			plus := w.subscriber("$"+w.name+"/+", 0)
			w.publish(message{topic: topic, payload: "hidden", retain: true})
			named.wantMessage(topic, "hidden", 0)
			plus.wantMessage(topic, "hidden", 0)
			w.publish(message{topic: w.topic("a"), payload: "marker"})
			// Others' messages come, too.
			for _, c := range []*client{all, other, w.subscriber("#", 0)} {
				w.publish(message{topic: w.topic("a"), payload: "marker 2"})
				for {
					r := c.want(tPUBLISH)
					w.check(!strings.HasPrefix(r.msg.topic, "$"), "got %s", r.msg.topic)
					if r.msg.payload == "marker 2" && r.msg.topic == w.topic("a") {
						break
					}
					c.finish(r)
				}
			}
			w.publish(message{topic: topic, retain: true})
		},
	},
	{
		name:  "topics may be 65,535 bytes long",
		of5:   "4.7.3-3 3.3.2-3",
		of311: "4.7.3-3 3.3.2-3",
		run: func(w *world) {
			topic := w.topic(strings.Repeat("ü", (65535-len(w.topic("")))/2))
			topic += strings.Repeat("x", 65535-len(topic))
			for _, c := range []*client{w.plain(), w.kept("k")} {
				c.subscribe(topic, 1)
				c.subscribe(w.topic("+"), 1)
				w.publish(message{topic: topic, payload: "m", qos: 1})
				c.wantMessage(topic, "m", 1)
				c.quiet()
			}
		},
	},
	{
		name:  "topics are compared byte by byte, and kept as they are",
		of5:   "4.7.3-4 3.3.2-3",
		of311: "4.7.3-4 3.3.2-3",
		run: func(w *world) {
			// Composed and decomposed, cases, spaces, empty levels.
			list := []string{"\u00e9", "e\u0301", "A", "a", "a/", "/a", "a//b", "a/b", "a b", " a", "a ", "\u212b", "\u00c5", "..", "a/../b", "*", "a\\b"}
			for i, filter := range list {
				s := w.subscriber(w.topic(filter), 0)
				p := w.plain()
				for j, topic := range list {
					if j != i {
						p.put(message{topic: w.topic(topic), payload: "other"})
					}
				}
				p.put(message{topic: w.topic(filter), payload: "same"})
				s.wantMessage(w.topic(filter), "same", 0)
				p.disconnect()
				s.disconnect()
			}
		},
	},
}}
