package conformance

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"packetboat/broker"
)

func TestConnect(t *testing.T) { runChapter(t, connectChapter) }

// refusing gives a broker that answers each CONNECT with that code, but for
// the user "yes".
func refusing(code byte) func(*broker.Options) {
	return func(o *broker.Options) {
		o.Authenticate = func(c *broker.Credentials) (string, byte) {
			if c.User == "yes" {
				return c.User, 0
			}
			return "", code
		}
	}
}

func ptr(s string) *string { return &s }

// rawConnect is a CONNECT with any name, level and flags.
func rawConnect(name string, level, flags byte, payload ...[]byte) []byte {
	return pkt(tCONNECT, str(name), []byte{level, flags}, u16(0), props(level), join(payload...))
}

// connectChapter: sections 3.1 and 3.2, but for sessions and wills.
var connectChapter = chapter{"Connect", []testCase{
	{
		name:  "anything but CONNECT as the first packet ends the connection without a word",
		of5:   "3.1.0-1 3.1.4-1 3.14.0-1",
		of311: "3.1.0-1 3.1.4-1 4.8.0-1",
		run: func(w *world) {
			for _, first := range [][]byte{
				x("c0 00"), x("e0 00"), x("f0 00"), x("00 00"), x("ff ff ff ff ff ff"), (&message{topic: w.topic("a")}).bytes(w.v),
				(&client{v: w.v}).subscribeBytes(1, nil, option{"#", 0}),
			} {
				c := w.dial()
				c.send(first)
				c.wantEnd(0)
			}
		},
	},
	{
		name:  "a second CONNECT ends the connection",
		of5:   "3.1.0-2 4.13.1-1",
		of311: "3.1.0-2 4.8.0-1",
		run: func(w *world) {
			c := w.plain()
			c.hello(hello{})
			c.wantEnd(0x82)
		},
	},
	{
		name:  "another protocol name is refused",
		of5:   "3.1.2-1",
		of311: "3.1.2-1",
		run: func(w *world) {
			for _, name := range []string{"MQTX", "mqtt", "MQIsdp", "", "HTTP", "MQTT "} {
				c := w.dial()
				c.send(rawConnect(name, w.v, 2, str(w.newID())))
				r, err := c.next()
				if err == nil { // both versions say MAY
					w.check(r.typ == tCONNACK && r.code == c.code(0x84, 1), "%q: got %s", name, r)
					_, err = c.next()
				}
				w.check(err == io.EOF, "%q: the connection goes on, %v", name, err)
			}
		},
	},
	{
		name:  "a version that does not exist is refused in the language of 3.1.1",
		of5:   "3.1.2-2",
		of311: "3.1.2-2 3.2.2-5",
		run: func(w *world) {
			for _, level := range []byte{0, 1, 2, 6, 255} {
				c := w.dial()
				c.v = v311
				c.send(rawConnect("MQTT", level, 2, str(w.newID())))
				r := c.wantConnack(1)
				w.check(bytes.Equal(r.body, x("00 01")), "CONNACK %s", r)
				c.wantEnd(0)
			}
		},
	},
	{
		name:  "flags that are reserved or contradict each other are refused",
		of5:   "3.1.2-3 3.1.2-11 3.1.2-12 3.1.2-13 3.1.4-1",
		of311: "3.1.2-3 3.1.2-11 3.1.2-13 3.1.2-14 3.1.2-15 3.1.2-22 3.1.4-1 2.2.2-2",
		run: func(w *world) {
			will := join(props(w.v), str("t"), str("m"))
			for name, b := range map[string][]byte{
				"reserved":               rawConnect("MQTT", w.v, 0x03, str(w.newID())),
				"will QoS 1, no will":    rawConnect("MQTT", w.v, 0x0a, str(w.newID())),
				"will QoS 2, no will":    rawConnect("MQTT", w.v, 0x12, str(w.newID())),
				"will retained, no will": rawConnect("MQTT", w.v, 0x22, str(w.newID())),
				"will QoS 3":             rawConnect("MQTT", w.v, 0x1e, str(w.newID()), will),
			} {
				w.t.Log(name)
				c := w.dial()
				c.send(b)
				c.wantRefused(0x81, closedSilently)
			}
			c := w.dial()
			c.hello(hello{pass: ptr("secret")})
			if w.v == v311 {
				c.wantEnd(0)
			} else {
				c.wantConnack(0) // section 3.1.2.9: 5.0 allows it
			}
		},
	},
	{
		name:  "fields that the flags promise have to be there, and no others",
		of5:   "3.1.2-9 3.1.2-16 3.1.2-17 3.1.2-18 3.1.2-19 3.1.3-3 3.1.4-1",
		of311: "3.1.2-9 3.1.2-11 3.1.2-18 3.1.2-19 3.1.2-20 3.1.2-21 3.1.3-3 3.1.4-1",
		run: func(w *world) {
			id := func() []byte { return str(w.newID()) }
			will := join(props(w.v), str("t"), str("m"))
			for name, b := range map[string][]byte{
				"no client identifier":      rawConnect("MQTT", w.v, 0x02),
				"no will":                   rawConnect("MQTT", w.v, 0x06, id()),
				"half a will":               rawConnect("MQTT", w.v, 0x06, id(), will[:len(will)-3]),
				"a will without its flag":   rawConnect("MQTT", w.v, 0x02, id(), will),
				"no user":                   rawConnect("MQTT", w.v, 0x82, id()),
				"a user without its flag":   rawConnect("MQTT", w.v, 0x02, id(), str("u")),
				"no password":               rawConnect("MQTT", w.v, 0xc2, id(), str("u")),
				"a password without a flag": rawConnect("MQTT", w.v, 0x82, id(), str("u"), str("p")),
			} {
				w.t.Log(name)
				c := w.dial()
				c.send(b)
				c.wantRefused(0x81, closedSilently)
			}
		},
	},
	{
		name:  "the payload is client identifier, will, user name, password",
		of5:   "3.1.3-1 3.1.2-9 3.1.2-16 3.1.2-17 3.1.2-18 3.1.2-19 3.1.3-2 3.1.3-3 3.1.4-2",
		of311: "3.1.3-1 3.1.2-9 3.1.2-18 3.1.2-19 3.1.2-20 3.1.2-21 3.1.3-2 3.1.3-3",
		own: func(o *broker.Options) {
			o.Authenticate = func(c *broker.Credentials) (string, byte) {
				switch fmt.Sprintf("%s,%s,%t,%q,%t", c.ClientID, c.User, c.HasUser, c.Password, c.HasPassword) {
				case `ID,user,true,"pass\x00",true`, `ID,user,true,"",false`, `ID,,false,"",false`:
					return c.User, 0
				}
				return "", 0x86
			}
		},
		run: func(w *world) {
			s := w.dial()
			s.send(rawConnect("MQTT", w.v, 0x02, str("ID")))
			s.wantConnack(0)
			s.send(x("e0 00"))
			s.wantEnd(0)
			c := w.dial()
			c.send(rawConnect("MQTT", w.v, 0xc6, str("ID"), props(w.v), str("t"), str("m"), str("user"), str("pass\x00")))
			c.wantConnack(0)
			c.send(x("e0 00"))
			c.wantEnd(0)
			c = w.dial()
			c.send(rawConnect("MQTT", w.v, 0x86, str("ID"), props(w.v), str("t"), str("m"), str("user")))
			c.wantConnack(0)
			c = w.dial()
			c.send(rawConnect("MQTT", w.v, 0x86, str("ID"), props(w.v), str("t"), str("m"), str("other")))
			c.wantRefused(0x86, 4)
		},
	},
	{
		name:  "client identifiers of 1 to 23 letters and digits are accepted",
		of5:   "3.1.3-5 3.1.3-4 3.1.4-5",
		of311: "3.1.3-5 3.1.3-4 3.1.4-4",
		run: func(w *world) {
			for _, id := range []string{
				"0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ0123456", "7", "Z",
			} {
				c := w.dial()
				c.send(rawConnect("MQTT", w.v, 0x02, str(id)))
				// The other version's case may take it over at any time: only the
				// answer counts.
				c.wantConnack(0)
			}
		},
	},
	{
		name:  "a zero-length client identifier gets one that nobody else has",
		of5:   "3.1.3-6 3.1.3-7 3.2.2-16",
		of311: "3.1.3-6",
		run: func(w *world) {
			used := map[string]bool{}
			var all []*client
			for range 20 {
				c := w.connect(hello{noID: true})
				if w.v == v5 {
					p, ok := c.connack.props.get(pAssigned)
					w.check(ok && p.s != "" && !used[p.s], "assigned %q after %v", p.s, used)
					used[p.s] = true
				}
				all = append(all, c)
			}
			for _, c := range all {
				c.quiet() // nobody took it over
			}
			if w.v == v311 {
				return
			}
			c := w.connect(hello{noID: true, keep: true})
			p, _ := c.connack.props.get(pAssigned)
			c.disconnect()
			c = w.connect(hello{id: p.s, keep: true})
			w.check(c.connack.present && !c.connack.props.has(pAssigned), "the session of %s is not there", p.s)
			c.disconnect()
			w.connect(hello{id: p.s}).disconnect()
		},
	},
	{
		name:  "a zero-length client identifier without Clean Session is refused",
		of311: "3.1.3-7 3.1.3-8 3.2.2-4 3.2.2-5",
		run: func(w *world) {
			c := w.dial()
			c.hello(hello{noID: true, keep: true})
			c.wantRefused(0, 2)
		},
	},
	{
		name:  "a client identifier that the server does not want is refused",
		of5:   "3.1.3-8 3.2.2-6 3.2.2-7 3.1.4-2 4.13.2-1",
		of311: "3.1.3-9 3.2.2-4 3.2.2-5",
		own:   refusing(0x85),
		run: func(w *world) {
			c := w.dial()
			c.hello(hello{})
			c.wantRefused(0x85, 2)
		},
	},
	{
		name:  "a client that is not authenticated is refused",
		of5:   "3.1.4-2 3.2.2-6 3.2.2-7",
		of311: "3.2.2-4 3.2.2-5",
		own:   refusing(0x86),
		run: func(w *world) {
			w.connect(hello{id: "kept", keep: true, user: ptr("yes")}).disconnect()
			c := w.dial()
			c.hello(hello{id: "kept", keep: true}) // its session exists
			c.wantRefused(0x86, 4)
		},
	},
	{
		name:  "a refusal for which there is no return code is silent",
		of311: "3.2.2-6",
		own:   refusing(0x9c),
		run: func(w *world) {
			c := w.dial()
			c.hello(hello{})
			c.wantEnd(0)
		},
	},
	{
		name:  "a client for whose session there is no room is refused, and hears nothing else",
		of5:   "3.14.0-1 3.2.2-6 3.2.2-7",
		of311: "3.2.2-5",
		own:   func(o *broker.Options) { o.MaxSessions = 1 },
		run: func(w *world) {
			w.kept("a")
			c := w.dial()
			c.hello(hello{id: w.id("b"), keep: true})
			c.wantRefused(0x97, 3)
			w.plain().quiet()
			w.kept("a").quiet()
		},
	},
	{
		name:  "nothing that follows a refused CONNECT is processed",
		of5:   "3.1.4-6",
		of311: "3.1.4-5",
		own:   refusing(0x87),
		run: func(w *world) {
			c := w.dial()
			h := hello{id: "x"}
			c.send(h.bytes(w.v), (&message{topic: "a", payload: "no", retain: true}).bytes(w.v), x("c0 00"))
			c.wantRefused(0x87, 5)
			s := w.connect(hello{user: ptr("yes")})
			s.subscribe("#", 0)
			s.quiet()
		},
	},
	{
		name:  "CONNACK comes first, and once, whatever follows CONNECT or waits for the client",
		of5:   "3.2.0-1 3.2.0-2 3.1.4-5 3.2.2-1",
		of311: "3.2.0-1 3.1.4-4",
		run: func(w *world) {
			topic := w.topic("a")
			c := w.kept("k")
			c.subscribe(topic, 1)
			c.disconnect()
			w.publish(message{topic: topic, payload: "queued", qos: 1})
			c = w.dial()
			h := hello{id: w.id("k"), keep: true}
			c.send(h.bytes(w.v), x("c0 00"), c.subscribeBytes(9, nil, option{topic, 1}))
			c.connack = c.wantConnack(0) // decode checks what comes before, and a second one
			if w.v == v311 {
				w.check(bytes.Equal(c.connack.body, x("01 00")), "CONNACK % x", c.connack.body)
			}
			got := map[byte]bool{}
			for range 3 {
				r, err := c.next()
				w.check(err == nil, "%v", err)
				got[r.typ] = true
			}
			w.check(got[tPUBLISH] && got[tPINGRESP] && got[tSUBACK], "got %v", got)
		},
	},
	{
		name:  "a second connection of a client ends the first",
		of5:   "3.1.4-3 4.13.2-1",
		of311: "3.1.4-2",
		run: func(w *world) {
			for _, h := range []hello{{id: w.id("a")}, {id: w.id("b"), keep: true}} {
				first := w.connect(h)
				second := w.connect(h)
				first.wantEnd(0x8e)
				second.quiet()
			}
		},
	},
	{
		name:  "silence for one and a half times the keep alive ends the connection, not earlier",
		of5:   "3.1.2-22 3.2.2-22 4.13.2-1",
		of311: "3.1.2-24",
		run: func(w *world) {
			c := w.connect(hello{keepAlive: 1})
			w.check(!c.connack.props.has(pServerAlive), "the server has a keep alive of its own")
			w.pass(time.Second)
			began := time.Now()
			c.quiet()
			c.wantEnd(0x8d)
			w.check(time.Since(began) > 1450*time.Millisecond || *addr != "", "closed after %v", time.Since(began))
		},
	},
	{
		name: "the keep alive of the server counts where it has one",
		of5:  "3.1.2-22 3.1.2-21 3.2.2-21",
		own:  func(o *broker.Options) { o.MaxKeepAlive = time.Second },
		run: func(w *world) {
			for _, keepAlive := range []int{0, 1000} {
				c := w.connect(hello{keepAlive: keepAlive})
				p, ok := c.connack.props.get(pServerAlive)
				w.check(ok && p.num == 1, "server keep alive %d", p.num)
				began := time.Now()
				c.wantEnd(0x8d)
				w.check(time.Since(began) > 1400*time.Millisecond, "closed after %v", time.Since(began))
			}
		},
	},
	{
		name: "all QoS, retained messages, wildcards, identifiers and shared subscriptions are there, and CONNACK says nothing else",
		of5:  "3.2.2-9 3.2.2-10 3.2.2-12 3.2.2-8",
		run: func(w *world) {
			c := w.connect(hello{will: &message{topic: w.topic("w"), qos: 2, retain: true}})
			for _, id := range []byte{pMaxQoS, pRetain, pWildcards, pSubIDs, pShared} {
				p, ok := c.connack.props.get(id)
				w.check(!ok || p.num == 1, "property 0x%02X is %d", id, p.num)
			}
			for qos := range byte(3) {
				c.subscribe(w.topic("a/+"), qos, subIDProp(1))
				c.subscribe("$share/g/"+w.topic("s/#"), qos)
				c.put(message{topic: w.topic("p"), qos: qos})
			}
			c.disconnect()
		},
	},
	{
		name: "where retained messages are switched off, CONNACK says so, a will with RETAIN is refused, and so is a PUBLISH",
		of5:  "3.2.2-13 3.2.2-14",
		own:  func(o *broker.Options) { o.NoRetain = true },
		run: func(w *world) {
			c := w.dial()
			c.hello(hello{will: &message{topic: "w", retain: true}})
			c.wantRefused(0x9a, 0)
			c = w.plain()
			p, ok := c.connack.props.get(pRetain)
			w.check(ok && p.num == 0, "CONNACK %s", c.connack)
			c.publish(message{topic: "a", retain: true})
			c.wantEnd(0x9a)
		},
	},
	{
		name:  "a will topic that is no topic name is refused",
		of5:   "3.3.2-2 4.7.0-1 4.7.3-1 3.1.4-1",
		of311: "4.7.1-1 4.7.3-1 3.1.4-1",
		run: func(w *world) {
			for _, topic := range []string{"a/#", "a/+/b", "#", ""} {
				c := w.dial()
				c.hello(hello{will: &message{topic: topic}})
				c.wantRefused(0x90, closedSilently)
			}
		},
	},
	{
		name: "a CONNACK above the client's maximum packet size is not sent",
		of5:  "3.1.2-24 3.2.2-19 3.2.2-20",
		run: func(w *world) {
			c := w.dial()
			c.hello(hello{maxPacket: 10})
			// decode fails on a CONNACK that is larger; a shorter one, or the end
			// of the connection, is fine.
			if r, err := c.next(); err == nil {
				w.check(r.typ == tCONNACK, "got %s", r)
			} else {
				w.check(err == io.EOF, "%v", err)
			}
		},
	},
	{
		name: "a SUBACK above the client's maximum packet size is not sent",
		of5:  "3.1.2-24 3.9.2-1",
		run: func(w *world) {
			c := w.connect(hello{maxPacket: 30})
			var list []option
			for i := range 40 {
				list = append(list, option{w.topic(strings.Repeat("x", i)), 0})
			}
			c.send(c.subscribeBytes(1, nil, list...))
			if r, err := c.next(); err == nil {
				w.check(r.typ == tDISCONNECT, "got %s", r)
			} else {
				w.check(err == io.EOF, "%v", err)
			}
		},
	},
}}
