package conformance

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// patience bounds every wait for something that has to come.
const patience = 10 * time.Second

// client is one connection, spoken byte by byte. It answers nothing by itself
// but what a method says; everything that comes goes through decode, which
// knows what a server may send.
type client struct {
	w     *world
	v     byte
	nc    net.Conn
	buf   []byte
	ahead []*received // what finish has read and others are to get

	connack *received
	said    hello // what CONNECT told
	lastID  int

	// What decode remembers of the server.
	accepted bool           // CONNACK came
	over     bool           // DISCONNECT came
	flying   map[int]bool   // QoS 1 and 2 received, not acknowledged to the end
	aliases  map[int]string // of the server
}

// hello is what CONNECT says. The zero value is a client with an identifier
// that is used once and a session that ends with its connection.
type hello struct {
	id    string
	noID  bool // send the empty identifier
	keep  bool // Clean Start 0, session expiry one hour (3.1.1: Clean Session 0)
	again bool // Clean Start 0, but session expiry 0 (3.1.1: as keep)
	fresh bool // Clean Start 1, session expiry one hour; 5.0 only

	keepAlive  int
	will       *message
	user, pass *string
	props      [][]byte // more properties

	// Limits that decode holds the server to; 5.0 only, 0 is not sent.
	receiveMax, maxPacket, aliasMax int
	noProblemInfo, wantResponse     bool
}

// flags is the Connect Flags byte, section 3.1.2.3.
func (h *hello) flags() (f byte) {
	if !h.keep && !h.again {
		f |= 0x02
	}
	if h.will != nil {
		f |= 0x04 | h.will.qos<<3
		if h.will.retain {
			f |= 0x20
		}
	}
	if h.pass != nil {
		f |= 0x40
	}
	if h.user != nil {
		f |= 0x80
	}
	return f
}

func (h *hello) bytes(v byte) []byte {
	var p [][]byte
	if h.keep || h.fresh {
		p = append(p, u32Prop(pSession, 3600))
	}
	if h.receiveMax > 0 {
		p = append(p, u16Prop(pReceiveMax, h.receiveMax))
	}
	if h.maxPacket > 0 {
		p = append(p, u32Prop(pMaxPacket, uint32(h.maxPacket)))
	}
	if h.aliasMax > 0 {
		p = append(p, u16Prop(pAliasMax, h.aliasMax))
	}
	if h.noProblemInfo {
		p = append(p, byteProp(pProblemInfo, 0))
	}
	if h.wantResponse {
		p = append(p, byteProp(pWantResponse, 1))
	}
	body := join(str("MQTT"), []byte{v, h.flags()}, u16(h.keepAlive), props(v, append(p, h.props...)...), str(h.id))
	if h.will != nil {
		body = join(body, props(v, h.will.props...), str(h.will.topic), str(h.will.payload))
	}
	if h.user != nil {
		body = join(body, str(*h.user))
	}
	if h.pass != nil {
		body = join(body, str(*h.pass))
	}
	return pkt(tCONNECT, body)
}

// message is an application message, with the properties of 5.0 encoded.
type message struct {
	topic, payload string
	qos            byte
	retain, dup    bool
	id             int // 0: the client takes the next one
	props          [][]byte
}

func (m *message) bytes(v byte) []byte {
	first := tPUBLISH | m.qos<<1
	if m.dup {
		first |= 8
	}
	if m.retain {
		first |= 1
	}
	var id []byte
	if m.qos > 0 {
		id = u16(m.id)
	}
	return pkt(first, str(m.topic), id, props(v, m.props...), []byte(m.payload))
}

// send writes bytes in one go.
func (c *client) send(parts ...[]byte) {
	_ = c.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.nc.Write(join(parts...)); err != nil {
		c.w.fatalf("write: %v", err)
	}
}

// hello sends CONNECT.
func (c *client) hello(h hello) {
	if h.id == "" && !h.noID {
		h.id = c.w.newID()
	}
	c.said = h
	c.send(h.bytes(c.v))
}

// next gives the next packet; io.EOF when the connection is over.
func (c *client) next() (*received, error) {
	if len(c.ahead) > 0 {
		r := c.ahead[0]
		c.ahead = c.ahead[1:]
		return r, nil
	}
	return c.read()
}

func (c *client) read() (*received, error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	for {
		if first, body, n := cut(c, c.buf); n > 0 {
			c.buf = c.buf[n:]
			return c.decode(first, body, n), nil
		}
		in := make([]byte, 64<<10)
		n, err := c.nc.Read(in)
		c.buf = append(c.buf, in[:n]...)
		if err != nil && n == 0 {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				err = io.EOF // a reset is as good
			}
			return nil, err
		}
	}
}

// cut takes the first packet off b; n is its size, 0 when it is not whole yet.
func cut(c *client, b []byte) (first byte, body []byte, n int) {
	size := 0
	for i := 1; i < len(b) && i <= 4; i++ {
		size |= int(b[i]&127) << (7 * (i - 1))
		if b[i] < 128 {
			if i > 1 && b[i] == 0 {
				c.w.fatalf("the length of % x is longer than it has to be [MQTT-1.5.5-1]", b[:i+1])
			}
			if n = i + 1 + size; len(b) < n {
				return 0, nil, 0
			}
			return b[0], append([]byte(nil), b[i+1:n]...), n
		}
	}
	return 0, nil, 0
}

// want reads a packet of that type.
func (c *client) want(typ byte) *received {
	r, err := c.next()
	if err != nil {
		c.w.fatalf("waiting for packet type %x: %v", typ>>4, err)
	}
	if r.typ != typ {
		c.w.fatalf("packet %s, want type %x", r, typ>>4)
	}
	return r
}

// code is the reason code of 5.0, or what 3.1.1 says instead.
func (c *client) code(of5, of311 byte) byte {
	if c.v == v5 {
		return of5
	}
	return of311
}

func (c *client) wantConnack(code byte) *received {
	r := c.want(tCONNACK)
	if r.code != code {
		c.w.fatalf("CONNACK with 0x%02X, want 0x%02X", r.code, code)
	}
	return r
}

// closedSilently is the return code of 3.1.1 for a CONNECT that gets none.
const closedSilently = 0xff

// wantRefused reads a refusing CONNACK and the end of the connection.
func (c *client) wantRefused(of5, of311 byte) {
	code := c.code(of5, of311)
	if *addr != "" && c.v == v5 { // the standard only says MAY
		r, err := c.next()
		c.w.check(err == io.EOF || r.typ == tCONNACK && r.code >= 0x80, "got %s (%v), want a refusal", r, err)
		return
	}
	if c.v == v5 || code != closedSilently {
		c.wantConnack(code)
	}
	c.wantEnd(0)
}

// wantEnd reads the end of the connection, in 5.0 after DISCONNECT with that
// code (0: none).
func (c *client) wantEnd(code byte) {
	r, err := c.next()
	if err == nil && c.v == v5 && code != 0 && r.typ == tDISCONNECT {
		c.w.check(r.code == code || *addr != "", "DISCONNECT with 0x%02X, want 0x%02X", r.code, code)
		r, err = c.next()
	} else if err == io.EOF && c.v == v5 && code != 0 && *addr == "" {
		c.w.fatalf("the connection ends without DISCONNECT 0x%02X", code)
	}
	if err != io.EOF {
		c.w.fatalf("packet %s (%v), want the end of the connection", r, err)
	}
}

// nextID is a packet identifier that was not used before.
func (c *client) nextID() int {
	c.lastID++
	return c.lastID
}

// option is a topic filter with its options byte, section 3.8.3.1.
type option struct {
	filter  string
	options byte
}

// Options of a subscription, 5.0 only.
const (
	noLocal  byte = 0x04
	asIs     byte = 0x08 // retain as published
	ifNew    byte = 0x10 // retain handling 1
	noneOnce byte = 0x20 // retain handling 2
)

// subscribeBytes is SUBSCRIBE; more are properties.
func (c *client) subscribeBytes(id int, more [][]byte, list ...option) []byte {
	body := join(u16(id), props(c.v, more...))
	for _, o := range list {
		body = join(body, str(o.filter), []byte{o.options})
	}
	return pkt(tSUBSCRIBE|2, body)
}

// subscribe makes one subscription, which has to be granted; more are
// properties.
func (c *client) subscribe(filter string, options byte, more ...[]byte) {
	codes := c.subscribeAll(more, option{filter, options})
	if len(codes) != 1 || codes[0] != options&3 {
		c.w.fatalf("SUBACK % x to %s with options 0x%02X", codes, filter, options)
	}
}

// subscribeAll subscribes and returns the codes.
func (c *client) subscribeAll(more [][]byte, list ...option) []byte {
	id := c.nextID()
	c.send(c.subscribeBytes(id, more, list...))
	return c.wantSuback(tSUBACK, id)
}

// wantSuback reads SUBACK or UNSUBACK. Messages may come before it, section
// 3.8.4: they are next.
func (c *client) wantSuback(typ byte, id int) []byte {
	for {
		r, err := c.read()
		if err != nil {
			c.w.fatalf("waiting for packet type %x: %v", typ>>4, err)
		}
		switch {
		case r.typ == typ && r.id == id:
			return r.codes
		case r.typ == tPUBLISH:
			c.ahead = append(c.ahead, r)
		default:
			c.w.fatalf("packet %s, want type %x for %d", r, typ>>4, id)
		}
	}
}

func (c *client) unsubscribeBytes(id int, filters ...string) []byte {
	body := join(u16(id), props(c.v))
	for _, f := range filters {
		body = join(body, str(f))
	}
	return pkt(tUNSUBSCRIBE|2, body)
}

// unsubscribe returns the codes, which 3.1.1 does not have.
func (c *client) unsubscribe(filters ...string) []byte {
	id := c.nextID()
	c.send(c.unsubscribeBytes(id, filters...))
	return c.wantSuback(tUNSUBACK, id)
}

// publish sends PUBLISH and returns its packet identifier.
func (c *client) publish(m message) int {
	if m.qos > 0 && m.id == 0 {
		m.id = c.nextID()
	}
	c.send(m.bytes(c.v))
	return m.id
}

// put publishes and goes through with the exchange; after it, the server has
// handled the message.
func (c *client) put(m message) {
	id := c.publish(m)
	switch m.qos {
	case 0:
		c.quiet()
	case 1:
		c.wantAck(tPUBACK, id)
	case 2:
		c.wantAck(tPUBREC, id)
		c.ack(tPUBREL, id)
		c.wantAck(tPUBCOMP, id)
	}
}

// ack sends an acknowledgement.
func (c *client) ack(typ byte, id int) { c.ackCode(typ, id, 0) }

// ackCode sends one with a reason code; 3.1.1 has none.
func (c *client) ackCode(typ byte, id int, code byte) {
	if typ == tPUBACK || typ == tPUBCOMP || typ == tPUBREC && code >= 0x80 {
		delete(c.flying, id)
	}
	if typ == tPUBREL {
		typ |= 2
	}
	if code != 0 {
		c.send(pkt(typ, u16(id), []byte{code}))
		return
	}
	c.send(pkt(typ, u16(id)))
}

// wantAck reads an acknowledgement and returns its reason code.
func (c *client) wantAck(typ byte, id int) byte {
	r := c.want(typ)
	if r.id != id {
		c.w.fatalf("%s is for %d, want %d", r, r.id, id)
	}
	return r.code
}

// wantPublish reads a PUBLISH and does not answer it.
func (c *client) wantPublish(topic, payload string, qos byte) *received {
	r := c.want(tPUBLISH)
	if r.msg.topic != topic || r.msg.payload != payload || r.msg.qos != qos {
		c.w.fatalf("got %q %.40q at QoS %d, want %q %.40q at %d",
			r.msg.topic, r.msg.payload, r.msg.qos, topic, payload, qos)
	}
	return r
}

// wantMessage reads a PUBLISH and goes through with the exchange.
func (c *client) wantMessage(topic, payload string, qos byte) *received {
	r := c.wantPublish(topic, payload, qos)
	c.finish(r)
	return r
}

// finish goes through with the exchange for a PUBLISH.
func (c *client) finish(r *received) {
	switch r.msg.qos {
	case 1:
		c.ack(tPUBACK, r.id)
	case 2:
		c.ack(tPUBREC, r.id)
		c.wantRelease(r.id)
		c.ack(tPUBCOMP, r.id)
	}
}

// wantRelease reads a PUBREL. Messages may come before it, as section 4.4 says
// nothing about the order of both, and PINGRESP: they are next.
func (c *client) wantRelease(id int) {
	for {
		p, err := c.read()
		switch {
		case err != nil:
			c.w.fatalf("waiting for PUBREL: %v", err)
		case p.typ == tPUBREL && p.id == id:
			return
		case p.typ != tPUBLISH && p.typ != tPINGRESP:
			c.w.fatalf("packet %s, want PUBREL for %d", p, id)
		}
		c.ahead = append(c.ahead, p)
	}
}

// quiet shows that nothing came before the answer to a PINGREQ.
func (c *client) quiet() {
	c.send(x("c0 00"))
	c.want(tPINGRESP)
}

// disconnect sends DISCONNECT and waits for the server to close.
func (c *client) disconnect() {
	c.send(x("e0 00"))
	c.wantEnd(0)
}

// drop ends the connection without DISCONNECT, and waits until the server has
// closed its side: then it has noticed.
func (c *client) drop() {
	if err := c.nc.(*net.TCPConn).CloseWrite(); err != nil {
		c.w.fatalf("close: %v", err)
	}
	for {
		if _, err := c.next(); err == io.EOF {
			return
		} else if err != nil {
			c.w.fatalf("waiting for the server to close: %v", err)
		}
	}
}
