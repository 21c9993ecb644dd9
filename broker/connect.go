package broker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/qos"
	"packetboat/broker/store"
	"packetboat/broker/topic"
)

var errTimeout = &packet.Error{Code: packet.MaximumConnectTime, Reason: "no complete CONNECT in time"}

// refusal is the error of a CONNECT that was answered with a reason code.
func refusal(code byte, why string) error { return &packet.Error{Code: code, Reason: why} }

// accept takes the connection from its first byte to CONNACK: read CONNECT,
// check it, claim the session, wait until what that changed is durable, answer
// and let deliveries in.
func (c *conn) accept(listener net.Addr) error {
	deadline := time.Now().Add(c.b.opt.ConnectTimeout)
	if err := c.setDeadline(deadline); err != nil {
		return err
	}
	if err := c.handshake(deadline); err != nil {
		return err
	}
	p, err := c.readConnect()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errTimeout
	}
	if err != nil {
		if p != nil && (p.Version == packet.V5 || packet.CodeOf(err) == packet.UnsupportedProtocolVersion) {
			// [MQTT-3.1.2-2]; below 5.0 other errors get no answer [MQTT-3.1.4-1]
			c.refuse(p, err)
		}
		return err
	}
	ack := &packet.Connack{}
	if err := c.checkConnect(p, ack, listener); err != nil {
		c.refuse(p, err)
		return err
	}
	// A login may have waited for its turn for longer than that.
	deadline = time.Now().Add(c.b.opt.ConnectTimeout)
	receipt, err := c.claim(p, ack)
	if err != nil {
		c.refuse(p, err)
		return err
	}
	if err := c.waitFor(receipt, deadline); err != nil {
		c.will = nil // of a client that was never accepted
		return err
	}
	c.attach(ack)
	c.log.Debug("connected", "client", c.session.id, "remote", c.remote, "version", c.version, "present", ack.SessionPresent)
	if c.keepAlive == 0 {
		return c.setDeadline(time.Time{})
	}
	return c.setDeadline(time.Now().Add(c.keepAlive))
}

// handshake has the layers below MQTT negotiate.
func (c *conn) handshake(deadline time.Time) error {
	if c.sock.layers == nil {
		return nil
	}
	nc := c.sock.conn
	if err := nc.SetWriteDeadline(deadline); err != nil {
		return err
	}
	// The deepest calls of a connection's life are made here; a goroutine of
	// their own leaves the reader with a small stack.
	done := make(chan error)
	go func() { done <- c.sock.layers.Handshake() }()
	if err := <-done; err != nil {
		select {
		case <-c.stop: // a shutdown moved the deadline
			return errClosed
		default:
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errTimeout
		}
		return err
	}
	if err := nc.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	return c.setDeadline(deadline) // errClosed, should a shutdown have come between
}

// readConnect reads until CONNECT is complete. The packet it returns with an
// error tells the version.
func (c *conn) readConnect() (*packet.Connect, error) {
	held := 0
	defer func() { c.b.connects.give(held) }()
	for {
		if err := c.wait(); err != nil {
			return nil, err
		}
		in := c.in.b.b[:c.in.n]
		if in[0]>>4 != packet.CONNECT { // [MQTT-3.1.0-1]
			return nil, errNotConnect
		}
		_, _, body, n, err := packet.Next(in, c.b.opt.MaxPacketSize)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			if held, err = c.incomplete(held); err != nil {
				return nil, err
			}
			continue
		}
		p := new(packet.Connect)
		if err := packet.ParseConnect(body, p); err != nil {
			return p, err
		}
		p.Will = keepWill(p.Will)
		p.Password = append([]byte(nil), p.Password...)
		c.in.consume(n)
		return p, nil
	}
}

// refuse sends a CONNACK with an error. A broken connection loses it.
func (c *conn) refuse(p *packet.Connect, err error) {
	c.claimedID = p.ClientID[:min(len(p.ClientID), maxClaimed)]
	code, version := packet.CodeOf(err), p.Version
	if version != packet.V5 && packet.ReturnCode(code) == 0xff { // [MQTT-3.2.2-6]
		return
	}
	if version != packet.V5 {
		version = packet.V311
	}
	ack := packet.Connack{Code: code}
	if bad := (*packet.Error)(nil); errors.As(err, &bad) && fits(p, len(bad.Reason)+headroom) { // [MQTT-3.2.2-19]
		ack.ReasonString = bad.Reason
	}
	c.append(packet.AppendConnack(nil, version, &ack))
}

// fits reports whether the client takes a packet of so many bytes.
func fits(p *packet.Connect, size int) bool {
	return p.MaxPacketSize == 0 || size <= int(p.MaxPacketSize)
}

// checkConnect decides about a well-formed CONNECT and takes over what it
// says.
func (c *conn) checkConnect(p *packet.Connect, ack *packet.Connack, listener net.Addr) error {
	opt := &c.b.opt
	v5 := p.Version == packet.V5
	if p.AuthMethod != "" { // [MQTT-4.12.0-1]
		return refusal(packet.BadAuthenticationMethod, "enhanced authentication")
	}
	if p.ClientID == "" {
		if p.Version == packet.V31 || p.Version == packet.V311 && !p.CleanStart { // [MQTT-3.1.3-8] of 3.1.1
			return refusal(packet.ClientIDNotValid, "no client identifier")
		}
	}
	if w := p.Will; w != nil && v5 {
		switch { // before 5.0 a will that cannot be published is not
		case reserved(w.Topic):
			return refusal(packet.NotAuthorized, "will topic is the broker's own")
		case topic.Levels(w.Topic) > opt.MaxTopicLevels:
			return refusal(packet.TopicNameInvalid, "will topic has too many levels")
		}
	}
	if w := p.Will; w != nil && w.Retain && opt.NoRetain { // [MQTT-3.2.2-13]
		return refusal(packet.RetainNotSupported, "will with RETAIN")
	}
	if err := c.authenticate(p, listener); err != nil {
		return err
	}
	if p.ClientID == "" {
		p.ClientID = "auto-" + rand.Text() // [MQTT-3.1.3-6]
		if v5 {
			ack.AssignedClientID = p.ClientID // [MQTT-3.1.3-7]
		}
	}
	if err := c.checkWill(p); err != nil {
		return err
	}
	c.version = p.Version
	c.will = p.Will
	c.receiveMax = opt.MaxInflight
	keepAlive := time.Duration(p.KeepAlive) * time.Second
	if v5 {
		if p.ReceiveMaximum != 0 { // [MQTT-3.3.4-9]
			c.receiveMax = min(c.receiveMax, int(p.ReceiveMaximum))
		}
		c.maxPacket = int(p.MaxPacketSize)
		c.out.aliasMax = min(int(p.TopicAliasMax), opt.TopicAliasMax) // [MQTT-3.1.2-26] [MQTT-3.1.2-27]
		ack.ReceiveMaximum = uint16(min(opt.MaxInflight, 65535))
		ack.MaxPacketSize = uint32(opt.MaxPacketSize)
		ack.TopicAliasMax = uint16(opt.TopicAliasMax)
		ack.RetainUnavailable = opt.NoRetain
		c.noProblemInfo = p.NoProblemInfo
		if p.RequestResponse { // [MQTT-3.1.2-28]
			ack.ResponseInfo = responseInfo(p.ClientID)
		}
		if most := opt.MaxKeepAlive; most > 0 && (keepAlive == 0 || keepAlive > most) {
			keepAlive = most // [MQTT-3.2.2-21]
			ack.ServerKeepAlive, ack.HasServerKeepAlive = uint16(most/time.Second), true
		}
	}
	c.keepAlive = keepAlive * 3 / 2
	if v5 && !fits(p, len(packet.AppendConnack(nil, packet.V5, ack))+connackMore) {
		ack.ResponseInfo = ""
		if !fits(p, len(packet.AppendConnack(nil, packet.V5, ack))+connackMore) { // [MQTT-3.1.2-24]
			return refusal(packet.PacketTooLarge, "the client takes no packet as large as a CONNACK")
		}
	}
	return nil
}

// authenticate finds out who the client is, and whether it is let in.
func (c *conn) authenticate(p *packet.Connect, listener net.Addr) error {
	if c.sock.layers != nil {
		if name, ok := c.sock.layers.CertUser(); ok {
			if name == "" {
				return refusal(packet.NotAuthorized, "the client's certificate has no common name, which would be the user name")
			}
			c.user, c.certified = name, true
			p.User, p.HasUser, p.Password, p.HasPass = name, true, nil, false
		}
	}
	if c.b.opt.Authenticate == nil {
		return nil
	}
	c.in.release() // a thousand may wait for their turn
	user, code := c.b.opt.Authenticate(&Credentials{
		ClientID: p.ClientID, User: p.User, HasUser: p.HasUser, Password: p.Password, HasPassword: p.HasPass,
		Verified: c.certified, Remote: c.remote, Listener: listener, Gone: c.stop,
	})
	if len(c.in.rest) > 0 { // it came with CONNECT
		c.in.space()
	}
	clear(p.Password)
	if code != packet.Success {
		c.claimed = p.User[:min(len(p.User), maxClaimed)]
		return refusal(code, refusedLogin(code))
	}
	c.user = user
	return nil
}

// maxClaimed bounds what of a name goes into the log that anybody may send.
const maxClaimed = 64

// refusedLogin says what is to be done, and nothing about who exists.
func refusedLogin(code byte) string {
	switch code {
	case packet.BadUserNameOrPassword:
		return "wrong user name or password"
	case packet.NotAuthorized:
		return "a user name and password are needed"
	case packet.ServerBusy:
		return "too many logins at a time, try again"
	case packet.ConnectionRateExceeded:
		return "too many failed logins from this address, try again in a minute"
	}
	return "authentication"
}

// connackMore is what claim may still add to a CONNACK: a session expiry.
const connackMore = 5

// responseInfo is where a client may have responses sent to: a level of its own.
// A name that cannot be one level gets none.
func responseInfo(id string) string {
	if strings.ContainsAny(id, "/+#") {
		return ""
	}
	return "response/" + id
}

// claim makes the session of p this connection's: an old connection of the
// same client is ended first, and waited for.
func (c *conn) claim(p *packet.Connect, ack *packet.Connack) (store.Receipt, error) {
	b := c.b
	for {
		b.mu.Lock()
		s := b.sessions[p.ClientID]
		if s != nil && s.owner != nil {
			old := s.owner
			b.mu.Unlock()
			old.shutdown(packet.SessionTakenOver) // [MQTT-3.1.4-3]
			select {
			case <-old.done:
				continue
			case <-c.stop:
				return store.Receipt{}, errClosed
			}
		}
		var will *packet.Will
		var willOf *session
		if s != nil {
			if p.CleanStart { // [MQTT-3.1.2-4]
				b.endLocked(s)
				will, willOf = s.will, s // its session has ended
				s = nil
			} else {
				s.will = nil // [MQTT-3.1.3-9]
			}
		}
		r, err := c.occupyLocked(s, p, ack)
		b.mu.Unlock()
		if will != nil {
			b.publishWill(willOf, will, nil)
		}
		return r, err
	}
}

// occupyLocked gives the free session s, or a new one, to the connection.
func (c *conn) occupyLocked(s *session, p *packet.Connect, ack *packet.Connack) (store.Receipt, error) {
	b := c.b
	requested := p.SessionExpiry
	if p.Version != packet.V5 && !p.CleanStart {
		requested = never
	}
	expiry := b.grantExpiry(requested)
	ack.SessionPresent = s != nil // [MQTT-3.2.2-2] [MQTT-3.2.2-3]
	failed := b.store.Failed() != nil
	if s == nil && expiry > 0 && failed {
		if p.Version != packet.V5 {
			return store.Receipt{}, refusal(packet.ServerUnavailable, "the disk queue cannot write")
		}
		expiry = 0
	}
	if s == nil && expiry > 0 && b.lasting >= b.opt.MaxSessions {
		return store.Receipt{}, refusal(packet.QuotaExceeded, "too many persistent sessions")
	}
	if s == nil {
		s = b.newSessionLocked(p.ClientID)
		// A former session of this name that a crash ended may have left
		// identifiers in the store; a new session's are other messages. Its end
		// may not be durable yet either.
		s.saved = b.store.Forget(s.origin, 0).After(b.ended)
	}
	s.requested, s.expiry, s.owner, s.user = requested, expiry, c, c.user
	b.reviewLocked(s) // another user may have come for the session
	if expiry > 0 || s.consumer != nil {
		if err := b.persistLocked(s); err != nil {
			s.owner = nil
			b.endLocked(s)
			b.log.Error("session not saved", "client", s.id, "error", err)
			return store.Receipt{}, refusal(packet.ServerUnavailable, "session not saved")
		}
	}
	if p.Version == packet.V5 && expiry != requested {
		ack.SessionExpiry, ack.HasSessionExpiry = expiry, true
	}
	c.session = s
	s.newConnection()
	delete(b.late, s.id)
	willSaved := b.keepWillLocked(c, s)
	if failed { // it may take long; see DESIGN on what a failed store still serves
		return store.Receipt{}, nil
	}
	return s.saved.After(willSaved), nil
}

// waitFor waits for the session's record before CONNACK.
func (c *conn) waitFor(r store.Receipt, deadline time.Time) error {
	if r.IsZero() {
		return nil
	}
	durable := make(chan struct{})
	if !c.b.store.OnDurable(r, func() { close(durable) }) {
		return nil
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-durable:
		if !c.b.isDurable(r) {
			return fmt.Errorf("accept %s: %w", c.session.id, store.ErrFailed)
		}
		return nil
	case <-c.stop:
		return errClosed
	case <-timer.C:
		return fmt.Errorf("accept %s: the disk is too slow", c.session.id)
	}
}

// attach answers CONNACK and lets deliveries follow it [MQTT-3.2.0-1].
func (c *conn) attach(ack *packet.Connack) {
	o := &c.out
	s := c.session
	o.mu.Lock()
	if !o.closed {
		o.endLocked(packet.AppendConnack(o.beginLocked(), c.version, ack))
		o.sent.packets++
		o.said = true
	}
	o.window.max = c.receiveMax
	o.mu.Unlock()
	c.since = time.Now()
	if s.consumer != nil {
		s.mu.Lock()
		s.win = qos.NewWindow(s.consumer, c.receiveMax)
		if c.maxPacket > 0 || c.b.rules.Load() != nil { // or SetRules does it
			s.consumer.Inspect(c.inspect)
		}
		s.win.Resume() // [MQTT-4.4.0-1]
		s.mu.Unlock()
	}
	s.conn.Store(c)
	c.b.stats.connects.Add(1)
	c.b.stats.enter()
	if s.consumer != nil {
		s.consumer.OnReady(s.ready)
		c.pump()
	}
	c.flush()
}
