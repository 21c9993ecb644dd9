package conformance

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestWebSocket(t *testing.T) { runChapter(t, webSocketChapter) }

// webSocketChapter: section 6, and what RFC 6455 asks of a server.
var webSocketChapter = chapter{"WebSocket", []testCase{
	{
		name:      "the subprotocol mqtt is answered, alone or among others, at both paths",
		of5:       "6.0.0-4",
		of311:     "6.0.0-4",
		ownBroker: true,
		run: func(w *world) {
			for _, path := range []string{"/mqtt", "/"} {
				for _, offered := range []string{"mqtt", "mqttv3.1, mqtt", "mqtt, chat"} {
					_, a := w.upgrade(path, offered)
					w.check(a.StatusCode == http.StatusSwitchingProtocols && a.Header.Get("Sec-WebSocket-Protocol") == "mqtt",
						"%s at %s is answered with %s and subprotocol %q", offered, path, a.Status, a.Header.Get("Sec-WebSocket-Protocol"))
					w.check(a.Header.Get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Accept is %q", a.Header.Get("Sec-WebSocket-Accept"))
				}
			}
			_, a := w.upgrade("/mqtt", "chat")
			w.check(a.StatusCode == http.StatusBadRequest, "chat is answered with %s", a.Status)
			_, a = w.upgrade("/mqtt", "")
			w.check(a.StatusCode == http.StatusBadRequest, "no subprotocol is answered with %s", a.Status)
		},
	},
	{
		name:      "a packet may span frames, down to a byte each",
		of5:       "6.0.0-2",
		of311:     "6.0.0-2",
		ownBroker: true,
		run: func(w *world) {
			c, ws := w.dialWeb()
			for _, b := range (&hello{id: w.newID()}).bytes(w.v) {
				ws.raw(frame(fBinary, []byte{b}))
			}
			c.connack = c.wantConnack(0)
			c.subscribe(w.topic("#"), 0)
			big := message{topic: w.topic("big"), payload: strings.Repeat("0123456789", 20_000)}
			for b := big.bytes(w.v); len(b) > 0; {
				n := min(len(b), 70_000) // each of the three forms of a length
				ws.raw(frame(fBinary, b[:n]))
				b = b[n:]
			}
			c.wantMessage(big.topic, big.payload, 0)
			c.quiet()
		},
	},
	{
		name:      "a frame may hold several packets, and the beginning of one",
		of5:       "6.0.0-2",
		of311:     "6.0.0-2",
		ownBroker: true,
		run: func(w *world) {
			c, ws := w.dialWeb()
			h := hello{id: w.newID()}
			ws.raw(frame(fBinary, join(h.bytes(w.v), x("c0 00 c0 00 c0"))), frame(fBinary, x("00")))
			c.connack = c.wantConnack(0)
			for range 3 {
				c.want(tPINGRESP)
			}
			c.quiet()
		},
	},
	{
		name:      "a message may be fragmented, with pings between, which are answered",
		of5:       "6.0.0-2",
		of311:     "6.0.0-2",
		ownBroker: true,
		run: func(w *world) {
			c, ws := w.dialWeb()
			b := (&hello{id: w.newID()}).bytes(w.v)
			ws.raw(frame(fBinary&^noFIN, b[:1]), frame(fPing, []byte("a")), frame(0, nil), frame(0, b[1:5]), frame(fPong, nil), frame(fPing, nil), frame(fMore, b[5:]))
			c.connack = c.wantConnack(0)
			c.quiet()
			w.check(slices.Equal(ws.pongs, []string{"a", ""}), "pongs are %q", ws.pongs)
		},
	},
	{
		name:      "a text frame closes the connection, and what it holds is not handled",
		of5:       "6.0.0-1",
		of311:     "6.0.0-1",
		ownBroker: true,
		run: func(w *world) {
			h := hello{id: w.newID()}
			_, ws := w.dialWeb()
			ws.raw(frame(fText, h.bytes(w.v)))
			ws.wantClose(1003)

			s := w.subscriber(w.topic("#"), 0)
			c, ws := w.dialWeb()
			c.hello(hello{will: &message{topic: w.topic("will"), payload: "text"}})
			c.wantConnack(0)
			ws.raw(frame(fText, (&message{topic: w.topic("a"), payload: "text"}).bytes(w.v)))
			ws.wantClose(1003)
			s.wantMessage(w.topic("will"), "text", 0)
			w.silent(s, w.topic("b"))
		},
	},
	{
		name:      "the server sends binary frames, however large or many packets are",
		of5:       "6.0.0-1 6.0.0-2",
		of311:     "6.0.0-1 6.0.0-2",
		ownBroker: true,
		run: func(w *world) {
			c, _ := w.dialWeb()
			c.hello(hello{})
			c.wantConnack(0)
			c.subscribe(w.topic("#"), 2)
			for _, size := range []int{0, 100, 200, 20_000, 200_000} {
				m := message{topic: w.topic("a"), payload: strings.Repeat("x", size), qos: 2}
				w.publish(m)
				c.wantMessage(m.topic, m.payload, 2)
			}
			c.send(x("e0 00"))
			c.wantEnd(0)
		},
	},
	{
		name:      "a close frame is answered, what came before it is handled, and the will is published",
		of5:       "3.1.2-8",
		of311:     "3.1.2-8",
		ownBroker: true,
		run: func(w *world) {
			s := w.subscriber(w.topic("#"), 0)
			c, ws := w.dialWeb()
			c.hello(hello{will: &message{topic: w.topic("will"), payload: "gone"}})
			c.wantConnack(0)
			ws.raw(frame(fBinary, (&message{topic: w.topic("a"), payload: "last"}).bytes(w.v)), frame(fClose, x("03 e9")))
			ws.wantClose(1001)
			s.wantMessage(w.topic("a"), "last", 0)
			s.wantMessage(w.topic("will"), "gone", 0)
			w.silent(s, w.topic("b"))
		},
	},
}}
