package broker

import (
	"slices"
	"strings"
	"time"
)

// Client is what an operator may know of a client: one that is connected, or the
// session that one has left behind. The counts are of its present connection.
type Client struct {
	ID        string
	User      string // "" = nobody in particular
	Online    bool
	Address   string    // of the peer; "" when it is not online
	Listener  string    // address of the listener it came by
	Transport string    // tcp, tls, websocket, websocket+tls or unix
	Version   byte      // packet.V5, packet.V311 or packet.V31; 0 when it is not online
	Since     time.Time // connected since; of one that is offline, when it went
	KeepAlive time.Duration
	Expiry    time.Duration // of the session, after the connection; 0: it ends with it

	Subscriptions []ClientSubscription // at most MaxClientSubscriptions, sorted
	More          int                  // subscriptions beyond these

	Waiting     uint64 // messages that it has not finished
	InFlight    int    // of these, sent and not acknowledged
	MessagesIn  uint64 // publishes of the client
	MessagesOut uint64 // publishes to the client
	BytesIn     uint64
	BytesOut    uint64
}

// ClientSubscription is a filter of a client, and the QoS it was granted.
type ClientSubscription struct {
	Filter string
	QoS    byte
}

// MaxClientSubscriptions bounds the subscriptions that a Client lists.
const MaxClientSubscriptions = 50

// traffic counts what one connection has brought and taken. What came in, the
// reader adds at the end of a round, when it has the output's lock anyway; what went
// out, who takes a buffer to write: nothing is counted for each message.
type traffic struct{ messagesIn, bytesIn, messagesOut, bytesOut uint64 }

// Clients lists the clients whose identifier, user or address has match in it,
// connected ones and persistent sessions, by their identifiers; at most limit of
// them. all is how many there are.
func (b *Broker) Clients(match string, limit int) (list []Client, all int) {
	b.mu.RLock()
	var found []*session
	for _, s := range b.sessions {
		if s.matches(match) {
			found = append(found, s)
		}
	}
	b.mu.RUnlock()
	all = len(found)
	slices.SortFunc(found, func(x, y *session) int { return strings.Compare(x.id, y.id) })
	for _, s := range found[:min(len(found), max(limit, 0))] {
		b.mu.RLock()
		if b.sessions[s.id] == s { // it may have ended meanwhile
			list = append(list, b.clientLocked(s))
		}
		b.mu.RUnlock()
	}
	return list, all
}

// matches reports whether part is in what a client is called. Broker.mu is held.
func (s *session) matches(part string) bool {
	if part == "" || strings.Contains(s.id, part) || strings.Contains(s.user, part) {
		return true
	}
	c := s.conn.Load()
	return c != nil && strings.Contains(c.remote, part)
}

// clientLocked tells of one session.
func (b *Broker) clientLocked(s *session) Client {
	x := Client{ID: s.id, User: s.user, Since: s.offlineSince, Expiry: time.Duration(s.expiry) * time.Second}
	x.Subscriptions, x.More = s.filters()
	if s.consumer != nil {
		x.Waiting = s.consumer.Lag().Messages
	}
	c := s.conn.Load()
	if c == nil {
		return x
	}
	x.Online, x.Address, x.Listener, x.Transport = true, c.remote, c.listener, c.transport()
	x.Version, x.Since, x.KeepAlive = c.version, c.since, c.keepAlive*2/3
	s.mu.Lock()
	if s.win != nil {
		x.InFlight = s.win.InFlight()
	}
	s.mu.Unlock()
	o := &c.out
	o.mu.Lock()
	x.MessagesIn, x.BytesIn, x.MessagesOut, x.BytesOut = o.traffic.messagesIn, o.traffic.bytesIn, o.traffic.messagesOut, o.traffic.bytesOut
	x.InFlight += o.window.n
	x.Waiting += uint64(o.window.n + o.pend.len())
	o.mu.Unlock()
	return x
}

// filters are the session's subscriptions, as many as are listed. Broker.mu is held.
func (s *session) filters() (list []ClientSubscription, more int) {
	for filter, sub := range s.subs {
		list = append(list, ClientSubscription{filter, sub.qos})
	}
	slices.SortFunc(list, func(x, y ClientSubscription) int { return strings.Compare(x.Filter, y.Filter) })
	if len(list) > MaxClientSubscriptions {
		more = len(list) - MaxClientSubscriptions
		list = slices.Clone(list[:MaxClientSubscriptions])
	}
	return list, more
}

// transport names what is between the socket and MQTT.
func (c *conn) transport() string {
	if t, ok := c.sock.conn.(interface{ Transport() string }); ok {
		return t.Transport()
	}
	if c.unix {
		return "unix"
	}
	return "tcp"
}
