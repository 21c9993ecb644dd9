package bridge

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"packetboat/broker/packet"
)

// cloud is an MQTT server of its own for tests: it keeps sessions, takes
// each QoS 2 identifier once, and can be told to misbehave.
type cloud struct {
	mu       sync.Mutex
	cond     *sync.Cond
	sessions map[string]*cloudSession
	live     map[net.Conn]struct{}
	wg       sync.WaitGroup

	got      []packet.Publish // application messages, without repeats
	frames   []string         // every packet from the client, in short
	connects []packet.Connect // every CONNECT
	subs     []packet.Filter  // every filter of a SUBSCRIBE
	ends     int              // connections that ended

	// Behaviour; nil means well-behaved. Called with mu held.
	onConnect func(*packet.Connect, *packet.Connack)
	onPublish func(*packet.Publish) (code byte, answer bool)
	mute      bool               // no acknowledgement for anything
	deaf      bool               // no answer at all
	hangUp    *packet.Disconnect // ends this connection; a code of 0 is left out
}

type cloudSession struct {
	version  byte
	clean    bool            // of MQTT 3.1.1: ends with the connection
	held     map[uint16]bool // QoS 2 identifiers between PUBLISH and PUBREL
	filters  map[string]packet.Filter
	out      []*packet.Publish // to the client, not acknowledged
	released map[uint16]bool   // of out: PUBREC came
	nextID   uint16
	conn     net.Conn
}

func newCloud() *cloud {
	c := &cloud{sessions: make(map[string]*cloudSession), live: make(map[net.Conn]struct{})}
	c.cond = sync.NewCond(&c.mu)
	return c
}

// dial connects a client, by way of a fault proxy if there is one.
func (c *cloud) dial(f *faults) (net.Conn, error) {
	client, near := net.Pipe()
	far, server := near, net.Conn(nil)
	if f != nil {
		var ok bool
		if client, server, ok = f.connect(); !ok {
			return nil, errors.New("no route to host")
		}
		_ = far.Close()
	} else {
		server = near
	}
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		c.serve(server)
	}()
	return client, nil
}

// close ends all connections and waits for them.
func (c *cloud) close() {
	c.mu.Lock()
	for conn := range c.live {
		_ = conn.Close()
	}
	c.mu.Unlock()
	c.wg.Wait()
}

// cut ends the connections that there are.
func (c *cloud) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.live {
		_ = conn.Close()
	}
}

// await waits until ok, which is called with mu held, is true.
func (c *cloud) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := false
	timer := time.AfterFunc(20*time.Second, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		late = true
		c.cond.Broadcast()
	})
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !ok() {
		if late {
			last := c.frames[max(0, len(c.frames)-20):]
			t.Fatalf("waiting for %s: got %d messages, %d connects; last packets: %s",
				what, len(c.got), len(c.connects), strings.Join(last, ", "))
		}
		c.cond.Wait()
	}
}

func (c *cloud) do(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	c.cond.Broadcast()
}

func (c *cloud) payloads() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]string, len(c.got))
	for i, p := range c.got {
		list[i] = string(p.Payload)
	}
	return list
}

// talk is all packets but DISCONNECT, which may come later than the CONNECT of
// the next connection, or never.
func (c *cloud) talk() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.talkLocked()
}

func (c *cloud) talkLocked() []string {
	return slices.DeleteFunc(slices.Clone(c.frames), func(f string) bool { return f == "DISCONNECT 00" })
}

func (c *cloud) serve(conn net.Conn) {
	c.mu.Lock()
	c.live[conn] = struct{}{}
	c.mu.Unlock()
	var s *cloudSession
	defer func() {
		c.mu.Lock()
		delete(c.live, conn)
		if s != nil && s.conn == conn {
			s.conn = nil
			if s.clean {
				maps.DeleteFunc(c.sessions, func(_ string, x *cloudSession) bool { return x == s })
			}
		}
		c.ends++
		c.cond.Broadcast()
		c.mu.Unlock()
		_ = conn.Close()
	}()
	var buf []byte
	chunk := make([]byte, 32<<10)
	for {
		n, err := conn.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:n]...)
		var out []byte
		for {
			typ, flags, body, size, err := packet.Next(buf, 0)
			if err != nil {
				c.note(fmt.Sprintf("MALFORMED %v", err))
				return
			}
			if size == 0 {
				break
			}
			c.mu.Lock()
			switch {
			case typ == packet.CONNECT:
				s, out = c.connect(conn, body, out)
			case s == nil || s.conn != conn:
				err = io.EOF // taken over: what still comes on it counts no more
			default:
				out, err = c.packet(s, typ, flags, body, out)
			}
			if d := c.hangUp; d != nil {
				c.hangUp, err = nil, io.EOF
				if d.Code != 0 {
					_, _ = conn.Write(packet.AppendDisconnect(out, s.version, d))
				}
			}
			c.cond.Broadcast()
			quiet := c.deaf
			c.mu.Unlock()
			buf = buf[size:]
			if err != nil {
				return
			}
			if quiet {
				out = nil
			}
		}
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
	}
}

func (c *cloud) note(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frames = append(c.frames, s)
	c.cond.Broadcast()
}

func (c *cloud) connect(conn net.Conn, body, out []byte) (*cloudSession, []byte) {
	var p packet.Connect
	if err := packet.ParseConnect(body, &p); err != nil {
		panic(err)
	}
	c.connects = append(c.connects, p)
	c.frames = append(c.frames, fmt.Sprintf("CONNECT clean=%t", p.CleanStart))
	s := c.sessions[p.ClientID]
	if s != nil && s.conn != nil {
		_ = s.conn.Close() // takeover
	}
	ack := packet.Connack{SessionPresent: s != nil && !p.CleanStart}
	if c.onConnect != nil {
		c.onConnect(&p, &ack)
		s = c.sessions[p.ClientID]
	}
	if ack.Code < 0x80 && !ack.SessionPresent {
		s = &cloudSession{version: p.Version, held: map[uint16]bool{}, filters: map[string]packet.Filter{}, released: map[uint16]bool{}}
		c.sessions[p.ClientID] = s
	}
	out = packet.AppendConnack(out, p.Version, &ack)
	if ack.Code >= 0x80 {
		return nil, out
	}
	s.conn, s.clean = conn, p.CleanStart && p.Version != packet.V5
	for _, m := range s.out { // [MQTT-4.4.0-1]
		if s.released[m.ID] {
			out = packet.AppendAck(out, p.Version, packet.PUBREL, m.ID, 0)
			continue
		}
		m.Dup = true
		out = packet.AppendPublish(out, p.Version, m)
	}
	return s, out
}

func (c *cloud) packet(s *cloudSession, typ, flags byte, body, out []byte) ([]byte, error) {
	switch typ {
	case packet.PUBLISH:
		var p packet.Publish
		if err := packet.ParsePublish(flags, body, s.version, &p); err != nil {
			return out, err
		}
		dup := ""
		if p.Dup {
			dup = " dup"
		}
		c.frames = append(c.frames, fmt.Sprintf("PUBLISH %d %d%s %s", p.QoS, p.ID, dup, p.Payload))
		return c.published(s, &p, out), nil
	case packet.PUBREL:
		a, err := packet.ParseAck(typ, flags, body, s.version)
		if err != nil {
			return out, err
		}
		code := byte(0)
		if !s.held[a.ID] {
			code = packet.PacketIDNotFound
		}
		delete(s.held, a.ID)
		c.frames = append(c.frames, fmt.Sprintf("PUBREL %d %02X", a.ID, a.Code))
		if !c.mute {
			out = packet.AppendAck(out, s.version, packet.PUBCOMP, a.ID, code)
		}
	case packet.PUBACK, packet.PUBREC, packet.PUBCOMP:
		a, err := packet.ParseAck(typ, flags, body, s.version)
		if err != nil {
			return out, err
		}
		name := map[byte]string{packet.PUBACK: "PUBACK", packet.PUBREC: "PUBREC", packet.PUBCOMP: "PUBCOMP"}[typ]
		c.frames = append(c.frames, fmt.Sprintf("%s %d %02X", name, a.ID, a.Code))
		if typ == packet.PUBREC {
			s.released[a.ID] = true
			return packet.AppendAck(out, s.version, packet.PUBREL, a.ID, 0), nil
		}
		delete(s.released, a.ID)
		for i, m := range s.out {
			if m.ID == a.ID {
				s.out = append(s.out[:i:i], s.out[i+1:]...)
				break
			}
		}
	case packet.SUBSCRIBE:
		var p packet.Subscribe
		if err := packet.ParseSubscribe(body, s.version, &p); err != nil {
			return out, err
		}
		c.frames = append(c.frames, fmt.Sprintf("SUBSCRIBE %d", p.ID))
		ack := packet.Suback{ID: p.ID}
		for _, f := range p.Filters {
			c.subs = append(c.subs, f)
			s.filters[f.Filter] = f
			ack.Codes = append(ack.Codes, f.QoS)
		}
		out = packet.AppendSuback(out, s.version, packet.SUBACK, &ack)
	case packet.UNSUBSCRIBE:
		var p packet.Unsubscribe
		if err := packet.ParseUnsubscribe(body, s.version, &p); err != nil {
			return out, err
		}
		c.frames = append(c.frames, "UNSUBSCRIBE "+strings.Join(p.Filters, " "))
		ack := packet.Suback{ID: p.ID}
		for _, f := range p.Filters {
			delete(s.filters, f)
			ack.Codes = append(ack.Codes, 0)
		}
		out = packet.AppendSuback(out, s.version, packet.UNSUBACK, &ack)
	case packet.PINGREQ:
		c.frames = append(c.frames, "PINGREQ")
		out = packet.AppendPing(out, packet.PINGRESP)
	case packet.DISCONNECT:
		var p packet.Disconnect
		if err := packet.ParseDisconnect(body, s.version, &p); err != nil {
			return out, err
		}
		c.frames = append(c.frames, fmt.Sprintf("DISCONNECT %02X", p.Code))
		return out, io.EOF
	}
	return out, nil
}

func (c *cloud) published(s *cloudSession, p *packet.Publish, out []byte) []byte {
	code, answer := byte(0), true
	if c.onPublish != nil {
		code, answer = c.onPublish(p)
	}
	if code < 0x80 && (p.QoS < 2 || !s.held[p.ID]) {
		kept := *p
		kept.Topic = strings.Clone(p.Topic)
		kept.Payload = append([]byte(nil), p.Payload...)
		kept.Props = append([]byte(nil), p.Props...)
		c.got = append(c.got, kept)
	}
	if p.QoS == 2 && code < 0x80 {
		s.held[p.ID] = true
	}
	if !answer || c.mute || p.QoS == 0 {
		return out
	}
	if p.QoS == 1 {
		return packet.AppendAck(out, s.version, packet.PUBACK, p.ID, code)
	}
	return packet.AppendAck(out, s.version, packet.PUBREC, p.ID, code)
}
