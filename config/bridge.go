package config

import (
	"fmt"
	"time"
)

// Bridge is one [[bridge]]: a durable consumer of the queue, and its cloud broker.
type Bridge struct {
	// Name is what the queue's cursor belongs to: {bridge} in templates. It has
	// no "/", "+", "#", spaces or braces.
	Name    string `toml:"name" required:"yes"`
	Enabled bool   `toml:"enabled" default:"true"`
	// Gateway is gateway.id; it is not a key of this section.
	Gateway string
	// Given are the keys of this section that the files have, ordered: a profile has
	// defaults of its own for the others. It is not a key either.
	Given []string
	// Servers are URLs; the first that answers is used.
	Servers []string `toml:"servers"`
	// SharedSessions: the servers are one cluster, a session may be resumed on
	// any.
	SharedSessions bool    `toml:"shared_sessions"`
	Version        Version `toml:"version" default:"5"`
	ClientID       string  `toml:"client_id" default:"{gateway}" expanded:"yes"`
	Username       string  `toml:"username"`
	Password       Secret  `toml:"password"`
	// TokenKeyFile (azure-iot-hub): the device key that tokens are made from.
	TokenKeyFile string        `toml:"token_key_file"`
	Profile      string        `toml:"profile" default:"generic" enum:"generic aws-iot azure-iot-hub"`
	KeepAlive    time.Duration `toml:"keep_alive" default:"30s" min:"1s" max:"65535s"`
	// SessionExpiry is what an MQTT 5 cloud is asked to remember.
	SessionExpiry  time.Duration `toml:"session_expiry" default:"7d" max:"49710d"`
	ConnectTimeout time.Duration `toml:"connect_timeout" default:"10s" min:"1ms"`
	// AckTimeout: no acknowledgement this long while messages are in flight
	// means that the link is dead.
	AckTimeout time.Duration `toml:"ack_timeout" default:"30s" min:"1ms"`
	Inflight   int           `toml:"inflight" default:"256" min:"1" max:"1024"`
	// Rate is in messages a second for the backlog; 0 is no limit.
	Rate int `toml:"rate" default:"0" min:"0"`
	// Retries of a message that the cloud refuses for now; then dead letter.
	Retries int `toml:"retries" default:"5" min:"0"`
	// DeadLetterSize bounds what is kept of the messages that the cloud will not
	// take; 0 keeps none.
	DeadLetterSize Size    `toml:"dead_letter_size" default:"16MiB"`
	Backoff        Backoff `toml:"backoff"`
	Proxy          string  `toml:"proxy"`
	Source         string  `toml:"source"` // local address or interface
	// Stamp is off, properties, or json:FIELD: how receive time, seq and gateway
	// go along with a message.
	Stamp string `toml:"stamp" default:"properties"`
	// Status is the upstream topic of the retained presence, expanded; "" is none.
	Status string `toml:"status" default:"{gateway}/status" expanded:"yes"`
	// Gaps is the upstream topic of gap markers, expanded; "" is none.
	Gaps string    `toml:"gaps" default:"{gateway}/gaps" expanded:"yes"`
	TLS  BridgeTLS `toml:"tls"`
	Up   []Up      `toml:"up"`
	Down []Down    `toml:"down"`
}

// BridgeTLS is [bridge.tls].
type BridgeTLS struct {
	CA         string   `toml:"ca"`
	Cert       string   `toml:"cert"`
	Key        string   `toml:"key"`
	ServerName string   `toml:"server_name"`
	ALPN       []string `toml:"alpn"`
}

// Backoff is how long to wait between attempts to connect: from Min to Max, and
// from Min again once a connection was up for Stable.
type Backoff struct {
	Min    time.Duration `toml:"min" default:"1s" min:"1ms"`
	Max    time.Duration `toml:"max" default:"2m" min:"1ms"`
	Stable time.Duration `toml:"stable" default:"30s"`
}

// Up is one [[bridge.up]], local to cloud. The first rule that matches carries
// the message.
type Up struct {
	Filter string `toml:"filter" required:"yes" expanded:"yes"`
	// Topic upstream. Bound: {gateway} and {bridge}. Left to expand: {topic},
	// and {1} {2} … for what the filter's wildcards matched.
	Topic    Template      `toml:"topic" default:"{topic}"`
	QoS      UpQoS         `toml:"qos" default:"keep"`
	MinQoS   int           `toml:"min_qos" default:"0" min:"0" max:"2"` // lower ones are raised to it
	Retain   string        `toml:"retain" default:"keep" enum:"keep never"`
	Priority int           `toml:"priority" default:"0" min:"0" max:"3"` // the lane; higher first
	MaxAge   time.Duration `toml:"max_age" default:"0s"`                 // 0 is no expiry of our own
	// WhenFull is DropOldest, Reject or DropNewest, and MaxSize bounds what waits;
	// 0 is no bound. After Load all rules of one priority have the same.
	WhenFull string `toml:"when_full" enum:"drop-oldest reject drop-newest" empty:"yes"`
	MaxSize  Size   `toml:"max_size" default:"" min:"64KiB" empty:"yes"`
}

// Down is one [[bridge.down]], cloud to local.
type Down struct {
	Filter string   `toml:"filter" required:"yes" expanded:"yes"`    // at the cloud
	Topic  Template `toml:"topic" default:"{topic}"`                 // local; as in Up
	QoS    int      `toml:"qos" default:"2" min:"0" max:"2"`         // the most it asks for
	Retain string   `toml:"retain" default:"keep" enum:"keep never"` // of what comes down
}

// Version is an MQTT protocol level: 5, or 4 for 3.1.1.
type Version byte

// String writes it as in the file.
func (v Version) String() string {
	if v == 4 {
		return "3.1.1"
	}
	return fmt.Sprint(byte(v))
}

func (v *Version) fromTOML(value any) error {
	switch fmt.Sprint(value) {
	case "5":
		*v = 5
	case "3.1.1":
		*v = 4
	default:
		return fmt.Errorf(`must be 5 or "3.1.1"`)
	}
	return nil
}

// UpQoS is the QoS of an up rule: 0, 1, 2 or Keep.
type UpQoS int

// Keep leaves a message's QoS as it was published.
const Keep UpQoS = -1

// String writes it as in the file.
func (q UpQoS) String() string {
	if q == Keep {
		return "keep"
	}
	return fmt.Sprint(int(q))
}

func (q *UpQoS) fromTOML(value any) error {
	switch fmt.Sprint(value) {
	case "keep":
		*q = Keep
	case "0", "1", "2":
		*q = UpQoS(fmt.Sprint(value)[0] - '0')
	default:
		return fmt.Errorf(`must be "keep", 0, 1 or 2`)
	}
	return nil
}
