package conformance

import (
	"testing"

	"packetboat/broker"
)

func TestEnd(t *testing.T) { runChapter(t, endChapter) }

// endChapter: sections 3.12, 3.14, 3.15, 4.12 and 4.13: PINGREQ, DISCONNECT,
// AUTH and what follows an error.
var endChapter = chapter{"End", []testCase{
	{
		name:  "PINGREQ is answered by PINGRESP, each",
		of5:   "3.12.4-1",
		of311: "3.12.4-1",
		run: func(w *world) {
			c := w.plain()
			c.send(x("c0 00 c0 00 c0 00"))
			for range 3 {
				c.want(tPINGRESP)
			}
			c.quiet()
		},
	},
	{
		name:  "after DISCONNECT the server closes, and handles nothing that follows",
		of5:   "3.14.4-1 3.14.4-2 3.14.4-3",
		of311: "3.14.4-1 3.14.4-2 3.14.4-3",
		run: func(w *world) {
			s := w.subscriber(w.topic("#"), 0)
			c := w.plain()
			c.send(x("e0 00"), (&message{topic: w.topic("a"), payload: "late"}).bytes(w.v), x("c0 00"))
			c.wantEnd(0)
			if w.v == v5 {
				c = w.plain()
				c.send(pkt(tDISCONNECT, []byte{0x04}, props(v5, strProp(pReason, "enough"), userProp("a", "b"))), x("c0 00"))
				c.wantEnd(0)
			}
			w.silent(s, w.topic("b"))
		},
	},
	{
		name: "nothing follows the server's DISCONNECT, and it closes",
		of5:  "3.14.4-1 3.14.4-2 4.13.2-1 4.13.1-1",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.subscriber(topic, 0)
			h := hello{id: c.said.id}
			p := w.plain()
			stop := p.nc
			for i := range 200 { // so that something is on its way when the session is taken over
				p.publish(message{topic: topic, payload: "m"})
				if i == 100 {
					w.connect(h)
				}
			}
			stop.Close()
			for {
				r, err := c.next()
				w.check(err == nil && (r.typ == tPUBLISH || r.typ == tDISCONNECT && r.code == 0x8e), "%s, %v", r, err)
				if r.typ == tDISCONNECT {
					break
				}
			}
			c.wantEnd(0)
		},
	},
	{
		name:  "a server that ends closes its connections, in 5.0 with a word",
		of5:   "3.14.2-1 3.14.2-2 3.14.4-2 4.13.2-1",
		of311: "4.8.0-2",

		ownBroker: true,
		run: func(w *world) {
			c := w.plain()
			w.s.stop()
			c.wantEnd(0x8b)
		},
	},
	{
		name: "an authentication method is refused",
		of5:  "4.12.0-1 3.1.4-2 3.2.2-7 3.1.2-30",
		run: func(w *world) {
			c := w.dial()
			c.hello(hello{props: [][]byte{strProp(pAuthMethod, "SCRAM-SHA-1"), strProp(pAuthData, "x")}})
			c.wantRefused(0x8c, 0)
		},
	},
	{
		name: "AUTH without a method in CONNECT ends the connection",
		of5:  "4.12.0-7 4.12.0-6 4.12.0-3 4.12.1-1 3.15.2-1 4.13.1-1",
		run: func(w *world) {
			sendTo(w, 0x82, x("f0 00"))
			sendTo(w, 0x82, pkt(tAUTH, []byte{0x18}, props(v5, strProp(pAuthMethod, "x"))))
			sendTo(w, 0x82, pkt(tAUTH, []byte{0x19}, props(v5, strProp(pAuthMethod, "x"))))
		},
	},
	{
		name:  "a broker that needs user and password takes them from CONNECT alone",
		of5:   "4.12.0-6",
		of311: "7.0.0-2",
		own: func(o *broker.Options) {
			o.Authenticate = func(c *broker.Credentials) (string, byte) {
				if c.User == "u" && string(c.Password) == "p" {
					return c.User, 0
				}
				return "", 0x86
			}
		},
		run: func(w *world) {
			w.connect(hello{user: ptr("u"), pass: ptr("p")}).quiet()
			c := w.dial()
			c.hello(hello{user: ptr("u"), pass: ptr("q")})
			c.wantRefused(0x86, 4)
		},
	},
}}
