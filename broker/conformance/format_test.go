package conformance

import (
	"bytes"
	"fmt"
	"testing"
)

func TestFormat(t *testing.T) { runChapter(t, formatChapter) }

// illFormed are strings that no packet may carry, sections 1.5.4 of 5.0 and
// 1.5.3 of 3.1.1.
var illFormed = map[string]string{
	"a zero":                   "a\x00b",
	"half a character":         "a\xe2\x82",
	"a bare continuation":      "a\x80",
	"a surrogate":              "a\xed\xa0\x80",
	"an overlong form":         "a\xc0\xaf",
	"an overlong zero":         "a\xc0\x80",
	"beyond the last code":     "a\xf4\x90\x80\x80",
	"a byte that never occurs": "a\xff",
}

// sendTo sends bytes on a new connection that is accepted, and wants it ended.
func sendTo(w *world, code byte, parts ...[]byte) {
	c := w.plain()
	c.send(parts...)
	c.wantEnd(code)
}

// formatChapter: sections 1.5 and 2.
var formatChapter = chapter{"Format", []testCase{
	{
		name:  "a string that is not well-formed UTF-8 ends the connection, wherever it stands",
		of5:   "1.5.4-1 1.5.4-2 3.1.3-4 3.1.3-11 3.1.3-12 3.3.2-1 3.8.3-1 3.10.3-1 4.7.3-2 4.13.1-1",
		of311: "1.5.3-1 1.5.3-2 3.1.3-4 3.1.3-10 3.1.3-11 3.3.2-1 3.8.3-1 3.10.3-1 4.7.3-2 4.8.0-1",
		run: func(w *world) {
			for _, bad := range illFormed {
				for _, h := range []hello{{id: bad}, {will: &message{topic: bad}}, {user: &bad}} {
					c := w.dial()
					c.hello(h)
					c.wantRefused(0x81, closedSilently)
				}
				sendTo(w, 0x81, (&message{topic: bad}).bytes(w.v))
				sendTo(w, 0x81, (&client{v: w.v}).subscribeBytes(1, nil, option{bad, 0}))
				sendTo(w, 0x81, (&client{v: w.v}).unsubscribeBytes(1, bad))
			}
		},
	},
	{
		name: "so does one in a property",
		of5:  "1.5.4-1 1.5.4-2 1.5.7-1 3.3.2-13 3.3.2-19",
		run: func(w *world) {
			for _, bad := range illFormed {
				for _, p := range [][]byte{
					userProp(bad, ""), userProp("", bad), strProp(pContentType, bad), strProp(pResponse, bad),
				} {
					sendTo(w, 0x81, (&message{topic: w.topic("a"), props: [][]byte{p}}).bytes(w.v))
				}
			}
		},
	},
	{
		name:  "EF BB BF is a character as any other",
		of5:   "1.5.4-3",
		of311: "1.5.3-3",
		run: func(w *world) {
			with, without := w.topic("\ufeffa"), w.topic("a")
			a, b := w.subscriber(with, 0), w.subscriber(without, 0)
			w.publish(message{topic: with, payload: "with"})
			w.publish(message{topic: without, payload: "without"})
			r := a.wantMessage(with, "with", 0)
			w.check(bytes.Contains(r.body, x("ef bb bf")), "the bytes are gone: % x", r.body)
			b.wantMessage(without, "without", 0)
			a.quiet()
			b.quiet()
		},
	},
	{
		name: "a variable byte integer of more bytes than it needs ends the connection",
		of5:  "1.5.5-1 4.13.1-1",
		run: func(w *world) {
			sendTo(w, 0x81, x("c0 80 00"))                          // PINGREQ
			sendTo(w, 0x81, x("c0 80 80 80 80 00"))                 // five bytes
			sendTo(w, 0x81, x("30 05 0001 61 80 00"))               // properties of PUBLISH
			sendTo(w, 0x81, x("82 09 0001 03 0b 81 00 0001 61 00")) // a subscription identifier
		},
	},
	{
		name:  "reserved flags of the fixed header that are wrong end the connection",
		of5:   "2.1.3-1 3.6.1-1 3.8.1-1 3.10.1-1 3.14.1-1 3.15.1-1 4.13.1-1",
		of311: "2.2.2-1 2.2.2-2 3.6.1-1 3.8.1-1 3.10.1-1 3.14.1-1",
		run: func(w *world) {
			none := &client{v: w.v}
			whole := [][]byte{
				pkt(tPUBACK, u16(1)), pkt(tPUBREC, u16(1)), pkt(tPUBREL|2, u16(1)), pkt(tPUBCOMP, u16(1)),
				none.subscribeBytes(1, nil, option{w.topic("a"), 0}), none.unsubscribeBytes(1, w.topic("a")),
				pkt(tPINGREQ), pkt(tDISCONNECT),
			}
			if w.v == v5 {
				whole = append(whole, pkt(tAUTH))
			}
			for _, p := range whole {
				right := p[0] & 15
				for _, wrong := range []byte{right ^ 1, right ^ 2, right ^ 4, right ^ 8} {
					p[0] = p[0]&0xf0 | wrong
					sendTo(w, 0x81, p)
				}
			}
			h := hello{id: w.newID()}
			for _, wrong := range []byte{1, 2, 4, 8} {
				c := w.dial()
				b := h.bytes(w.v)
				b[0] |= wrong
				c.send(b)
				c.wantEnd(0)
			}
		},
	},
	{
		name:  "packet types that do not exist or come only from servers end the connection",
		of5:   "4.13.1-1 4.13.2-1",
		of311: "4.8.0-1",
		run: func(w *world) {
			sendTo(w, 0x81, x("00 00"))
			sendTo(w, 0x82, x("20 02 00 00"))
			sendTo(w, 0x82, x("90 03 00 01 00"))
			sendTo(w, 0x82, x("b0 02 00 01"))
			sendTo(w, 0x82, x("d0 00"))
			if w.v == v311 {
				sendTo(w, 0, x("f0 00"))
			}
		},
	},
	{
		name:  "a packet that ends within a field, or goes on after the last, ends the connection",
		of5:   "4.13.1-1",
		of311: "4.8.0-1",
		run: func(w *world) {
			none := &client{v: w.v}
			m := message{topic: "t", qos: 1, id: 1}
			for _, p := range [][]byte{
				m.bytes(w.v), none.subscribeBytes(1, nil, option{"t", 0}), none.unsubscribeBytes(1, "t"), pkt(tPUBACK, u16(1)),
			} {
				for n := range len(p) - 2 {
					sendTo(w, []byte{0x81, 0x82}[b2i(w.v == v5 && emptyList(p, n))], pkt(p[0], p[2:2+n]))
				}
			}
			sendTo(w, 0x81, x("40 06 0001 00 00 00 00"))
			sendTo(w, 0x81, x("c0 01 00"))
		},
	},
	{
		name:  "a packet identifier of 0 ends the connection",
		of5:   "2.2.1-3 4.13.1-1",
		of311: "2.3.1-1 4.8.0-1",
		run: func(w *world) {
			none := &client{v: w.v}
			sendTo(w, 0x82, (&message{topic: w.topic("a"), qos: 1}).bytes(w.v))
			sendTo(w, 0x82, (&message{topic: w.topic("a"), qos: 2}).bytes(w.v))
			sendTo(w, 0x82, none.subscribeBytes(0, nil, option{w.topic("a"), 0}))
			sendTo(w, 0x82, none.unsubscribeBytes(0, w.topic("a")))
		},
	},
	{
		name:  "a PUBLISH at QoS 0 has no packet identifier, either way, and no answer",
		of5:   "2.2.1-2 4.3.1-1 3.3.4-1 3.3.1-2",
		of311: "2.3.1-5 4.3.1-1 3.3.4-1 3.3.1-2",
		run: func(w *world) {
			topic := w.topic("a")
			s := w.subscriber(topic, 2)
			p := w.plain()
			p.send(pkt(0x30, str(topic), props(w.v), x("00 07")))
			p.quiet()
			r := s.want(tPUBLISH)
			want := join(str(topic), props(w.v), x("00 07"))
			w.check(bytes.Equal(r.body, want), "received % x, want % x", r.body, want)
			sendTo(w, 0x81, (&message{topic: topic, dup: true}).bytes(w.v))
		},
	},
	{
		name: "packets without properties have a property length of 0, both ways",
		of5:  "2.2.2-1",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.plain()
			c.send(c.subscribeBytes(1, nil, option{topic, 0}))
			w.check(bytes.Equal(c.want(tSUBACK).body, x("0001 00 00")), "SUBACK")
			c.send(c.unsubscribeBytes(2, topic))
			w.check(bytes.Equal(c.want(tUNSUBACK).body, x("0002 00 00")), "UNSUBACK")
			sendTo(w, 0x81, pkt(0x30, str(topic)))
			sendTo(w, 0x81, pkt(0x82, u16(1), str("x"), []byte{0})) // its length is taken for that of properties
		},
	},
	{
		name:  "answers have the identifier of what they answer",
		of5:   "2.2.1-5 2.2.1-6 3.8.4-1 3.8.4-2 3.10.4-4",
		of311: "2.3.1-6 2.3.1-7 3.8.4-1 3.8.4-2 3.10.4-4 7.0.0-2",
		run: func(w *world) {
			topic := w.topic("a")
			w.subscriber(topic, 0) // so that PUBACK says success
			c := w.plain()
			golden := func(send []byte, want string) {
				c.send(send)
				r, err := c.next()
				w.check(err == nil && bytes.Equal(r.body, x(want)), "% x is answered by %s (%v), want %s", send, r, err, want)
			}
			golden(pkt(0x32, str(topic), x("1234"), props(w.v)), "1234")
			golden(pkt(0x34, str(topic), x("abcd"), props(w.v)), "abcd")
			golden(pkt(0x62, x("abcd")), "abcd")
			if w.v == v5 {
				golden(c.subscribeBytes(0xfffe, nil, option{"x", 0}), "fffe 00 00")
				golden(c.unsubscribeBytes(0xffff, "x"), "ffff 00 00")
			} else {
				golden(c.subscribeBytes(0xfffe, nil, option{"x", 0}), "fffe 00")
				golden(c.unsubscribeBytes(0xffff, "x"), "ffff")
			}
		},
	},
	{
		name:  "the stream may be cut anywhere, and many packets may come at once",
		of5:   "4.2-1",
		of311: "7.1.1-1",
		run: func(w *world) {
			topic := w.topic("a")
			talk := func(c *client) [][]byte {
				h := hello{id: w.newID()}
				return [][]byte{
					h.bytes(w.v), c.subscribeBytes(1, nil, option{topic, 1}),
					(&message{topic: topic, payload: "one", qos: 1, id: 2}).bytes(w.v), pkt(tPINGREQ),
					(&message{topic: topic, payload: string(make([]byte, 300)), qos: 2, id: 3}).bytes(w.v), pkt(tPUBREL|2, u16(3)),
				}
			}
			heard := func(c *client) {
				got := map[byte]int{}
				for range 8 {
					r, err := c.next()
					w.check(err == nil, "%v after %v", err, got)
					got[r.typ]++
				}
				want := map[byte]int{tCONNACK: 1, tSUBACK: 1, tPUBACK: 1, tPINGRESP: 1, tPUBREC: 1, tPUBCOMP: 1, tPUBLISH: 2}
				w.check(fmt.Sprint(got) == fmt.Sprint(want), "got %v, want %v", got, want)
			}
			c := w.dial()
			for _, b := range join(talk(c)...) {
				c.send([]byte{b})
			}
			heard(c)
			c.nc.Close()
			c = w.dial()
			c.send(talk(c)...)
			heard(c)
		},
	},
	{
		name: "a property that is unknown, out of place, given twice or out of range ends the connection",
		of5:  "4.13.1-1 4.13.2-1",
		run: func(w *world) {
			topic := w.topic("a")
			for _, p := range []struct {
				code  byte
				props [][]byte
			}{
				{0x81, [][]byte{x("7f 00")}},
				{0x81, [][]byte{x("04 00")}},
				{0x82, [][]byte{u32Prop(pSession, 1)}},
				{0x82, [][]byte{byteProp(pFormat, 0), byteProp(pFormat, 0)}},
				{0x82, [][]byte{u32Prop(pExpiry, 1), u32Prop(pExpiry, 1)}},
				{0x82, [][]byte{byteProp(pFormat, 2)}},
				{0x81, [][]byte{x("26 00")}},
			} {
				sendTo(w, p.code, (&message{topic: topic, props: p.props}).bytes(w.v))
			}
			for _, p := range [][]byte{
				u16Prop(pReceiveMax, 0), u32Prop(pMaxPacket, 0), byteProp(pProblemInfo, 2), byteProp(pWantResponse, 2),
				join(u32Prop(pSession, 1), u32Prop(pSession, 1)), strProp(pAuthData, "x"), u16Prop(pServerAlive, 1),
			} {
				c := w.dial()
				c.hello(hello{props: [][]byte{p}})
				c.wantRefused(0x82, 0)
			}
			c := w.plain()
			c.send(c.subscribeBytes(1, [][]byte{subIDProp(0)}, option{topic, 0}))
			c.wantEnd(0x82)
		},
	},
	{
		name: "a reason code that its packet does not have ends the connection",
		of5:  "3.4.2-1 3.5.2-1 3.6.2-1 3.7.2-1 3.14.2-1 3.15.2-1",
		run: func(w *world) {
			sendTo(w, 0x82, x("40 03 0001 01"))
			sendTo(w, 0x82, x("50 03 0001 92"))
			sendTo(w, 0x82, x("62 03 0001 10"))
			sendTo(w, 0x82, x("70 03 0001 80"))
			sendTo(w, 0x82, x("e0 01 01"))
			sendTo(w, 0x82, x("f0 02 01 00"))
		},
	},
	{
		name: "nothing that a server sends is malformed, larger than the client takes or more than it wants to know",
		of5: "3.1.2-24 3.1.2-28 3.1.2-29 3.2.2-1 3.2.2-8 3.2.2-19 3.2.2-20 3.4.2-1 3.4.2-2 3.4.2-3 3.5.2-1 3.5.2-2 3.5.2-3 " +
			"3.6.2-1 3.6.2-2 3.6.2-3 3.7.2-1 3.7.2-2 3.7.2-3 3.9.2-1 3.9.2-2 3.9.3-2 3.11.2-1 3.11.2-2 3.11.3-2 " +
			"3.14.2-1 3.14.2-2 3.14.2-3 3.14.2-4 3.15.2-2 3.15.2-3 4.12.0-6",
		of311: "3.9.3-2",
		run: func(w *world) {
			// decode checks each packet; here is one of each kind, the refusing
			// ones among them, towards the most demanding client.
			c := w.connect(hello{maxPacket: 40, noProblemInfo: true, keep: true, id: w.id("a")})
			topic := w.topic("a")
			codes := c.subscribeAll(nil, option{topic, 2}, option{"bad/#/bad", 0}, option{"$share/x", 0})
			w.check(len(codes) == 3 && codes[0] == 2 && codes[1] >= 0x80 && codes[2] >= 0x80, "SUBACK % x", codes)
			c.unsubscribe(topic+"/not", "bad/#/bad")
			for qos := range byte(3) {
				w.publish(message{topic: topic, payload: "m", qos: qos})
				c.wantMessage(topic, "m", qos)
			}
			c.unsubscribe(topic)
			c.put(message{topic: topic, qos: 1})
			c.put(message{topic: topic, qos: 2})
			c.put(message{topic: "$SYS/no", qos: 1})
			c.publish(message{topic: "$SYS/no", qos: 2, id: 77})
			c.wantAck(tPUBREC, 77)
			c.ack(tPUBREL, 78)
			c.wantAck(tPUBCOMP, 78)
			c.ack(tPUBREC, 79)
			c.wantAck(tPUBREL, 79)
			c.quiet()
			c.send(x("c0 01 00"))
			c.wantEnd(0x81)
		},
	},
	{
		name:  "the server's own publishes have identifiers that are not 0 and not in use",
		of5:   "2.2.1-4 4.3.2-1 4.3.3-1",
		of311: "2.3.1-4 2.3.1-1 4.3.2-1 4.3.3-1",
		run: func(w *world) {
			const n = 60
			topic := w.topic("a")
			clients := []*client{w.plain(), w.kept("k")}
			for _, c := range clients {
				c.subscribe(topic, 2)
			}
			p := w.plain()
			for i := range n {
				p.put(message{topic: topic, payload: fmt.Sprint(i), qos: byte(1 + i%2)})
			}
			for _, c := range clients {
				used := map[int]bool{}
				for i := range n {
					r := c.wantPublish(topic, fmt.Sprint(i), byte(1+i%2))
					w.check(r.id != 0 && !used[r.id], "identifier %d", r.id)
					used[r.id] = true
				}
			}
		},
	},
}}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// emptyList: p, cut to n bytes after its fixed header, is a well-formed
// SUBSCRIBE or UNSUBSCRIBE but for having no filters.
func emptyList(p []byte, n int) bool {
	return (p[0] == tSUBSCRIBE|2 || p[0] == tUNSUBSCRIBE|2) && n == 3
}
