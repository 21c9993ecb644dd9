package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"packetboat/broker"
	"packetboat/broker/packet"
)

// ErrNoClient: no client of that identifier is connected.
var ErrNoClient = errors.New("no such client is connected")

// Clients are those that are connected, and the sessions that others have left.
type Clients struct {
	Total   int             `json:"total"` // that match, also those that are not listed
	Clients []ClientDetails `json:"clients"`
}

// ClientDetails is what is known of an MQTT client. Its counts are of its present
// connection.
type ClientDetails struct {
	ID            string         `json:"id"`
	User          string         `json:"user"` // "": nobody in particular
	Address       string         `json:"address,omitempty"`
	Listener      string         `json:"listener,omitempty"`
	Transport     string         `json:"transport,omitempty"` // tcp, tls, websocket, websocket+tls, unix
	Protocol      string         `json:"protocol,omitempty"`  // MQTT 5, MQTT 3.1.1, MQTT 3.1
	Online        bool           `json:"online"`
	Connected     time.Time      `json:"connected,omitzero"`
	Disconnected  time.Time      `json:"disconnected,omitzero"` // of one that is not online
	SessionExpiry float64        `json:"session_expiry_seconds"`
	KeepAlive     float64        `json:"keep_alive_seconds"` // 0: none
	Subscriptions []Subscription `json:"subscriptions"`
	More          int            `json:"more_subscriptions,omitempty"`
	Waiting       uint64         `json:"waiting"`   // messages that it has not finished
	InFlight      int            `json:"in_flight"` // of these, sent and not acknowledged
	MessagesIn    uint64         `json:"messages_in"`
	MessagesOut   uint64         `json:"messages_out"`
	BytesIn       uint64         `json:"bytes_in"`
	BytesOut      uint64         `json:"bytes_out"`
}

// Subscription is a filter of a client, and the QoS it was granted.
type Subscription struct {
	Filter string `json:"filter"`
	QoS    byte   `json:"qos"`
}

// clientOf is a client as the broker gives it.
func clientOf(c *broker.Client) ClientDetails {
	d := ClientDetails{
		ID: c.ID, User: c.User, Address: c.Address, Listener: c.Listener, Transport: c.Transport, Online: c.Online,
		SessionExpiry: c.Expiry.Seconds(), KeepAlive: c.KeepAlive.Seconds(),
		Subscriptions: make([]Subscription, 0, len(c.Subscriptions)), More: c.More,
		Waiting: c.Waiting, InFlight: c.InFlight, MessagesIn: c.MessagesIn, MessagesOut: c.MessagesOut, BytesIn: c.BytesIn, BytesOut: c.BytesOut,
	}
	for _, s := range c.Subscriptions {
		d.Subscriptions = append(d.Subscriptions, Subscription(s))
	}
	switch c.Version {
	case packet.V5:
		d.Protocol = "MQTT 5"
	case packet.V311:
		d.Protocol = "MQTT 3.1.1"
	case packet.V31:
		d.Protocol = "MQTT 3.1"
	}
	if c.Online {
		d.Connected = c.Since.UTC()
	} else {
		d.Disconnected = c.Since.UTC()
	}
	return d
}

// Bounds of a list, where a request does not say its own.
const (
	usualLimit = 1000
	mostLimit  = 20_000
)

// limitOf reads ?limit=N.
func limitOf(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return usualLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > mostLimit {
		return 0, fmt.Errorf("limit: %q is no number from 0 to %d", text, mostLimit)
	}
	return n, nil
}

func (s *Server) clients(w http.ResponseWriter, r *http.Request) {
	limit, err := limitOf(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	list, all := s.Broker.Clients(r.URL.Query().Get("match"), limit)
	out := Clients{Total: all, Clients: make([]ClientDetails, 0, len(list))}
	for i := range list {
		out.Clients = append(out.Clients, clientOf(&list[i]))
	}
	reply(w, out)
}

func (s *Server) kick(w http.ResponseWriter, r *http.Request) {
	var q struct{ Client string }
	if !read(w, r, &q) {
		return
	}
	if !s.Broker.Kick(q.Client) {
		fail(w, fmt.Errorf("%w: %s", ErrNoClient, q.Client))
		return
	}
	s.Log.Info("a client was disconnected by an operator", "client", q.Client)
	reply(w, map[string]bool{"kicked": true})
}

// Clients lists the clients whose identifier, user or address has match in it, at
// most limit of them; 0: as many as the gateway sees fit.
func (c *Client) Clients(ctx context.Context, match string, limit int) (*Clients, error) {
	list := new(Clients)
	return list, c.get(ctx, http.MethodGet, "clients?"+listQuery(match, limit), nil, list)
}

// listQuery is ?match=…&limit=….
func listQuery(match string, limit int) string {
	q := url.Values{}
	if match != "" {
		q.Set("match", match)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q.Encode()
}

// Kick ends the connection of a client. Its session stays, and nothing keeps it
// from connecting again.
func (c *Client) Kick(ctx context.Context, client string) error {
	var a struct{ Kicked bool }
	return c.get(ctx, http.MethodPost, "clients/kick", map[string]string{"client": client}, &a)
}
