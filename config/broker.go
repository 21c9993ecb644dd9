package config

import "time"

// Broker is [broker]: the limits of the local broker.
type Broker struct {
	// MaxPacketSize is in bytes. Auto: 1MiB, or half a segment if that is less.
	MaxPacketSize Size `toml:"max_packet_size" default:"auto" auto:"yes" min:"256B" max:"128MiB"`
	// MaxInflight is the receive maximum, each way, of each client.
	MaxInflight int `toml:"max_inflight" default:"1024" min:"1" max:"65535"`
	// MaxSessions counts the persistent ones.
	MaxSessions int `toml:"max_sessions" default:"1000" min:"1"`
	// MaxSessionExpiry bounds what a client may ask for.
	MaxSessionExpiry time.Duration `toml:"max_session_expiry" default:"7d"`
	// MaxSessionMessages are queued for one offline session, then its oldest is
	// dropped.
	MaxSessionMessages int  `toml:"max_session_messages" default:"100000" min:"1"`
	MaxSessionSize     Size `toml:"max_session_size" default:"64MiB"`
	// MaxSubscriptions is per client.
	MaxSubscriptions int `toml:"max_subscriptions" default:"1000" min:"1"`
	// MaxTopicLevels of names and filters.
	MaxTopicLevels int `toml:"max_topic_levels" default:"32" min:"1" max:"1024"`
	// TopicAliasMax is told to MQTT 5 clients; 0 is none.
	TopicAliasMax int `toml:"topic_alias_max" default:"64" min:"0" max:"65535"`
	// MaxKeepAlive is the server keep alive; 0 leaves it to the client.
	MaxKeepAlive time.Duration `toml:"max_keep_alive" default:"0s" max:"65535s"`
	// ConnectTimeout is from accept to a complete CONNECT.
	ConnectTimeout time.Duration `toml:"connect_timeout" default:"10s" min:"1ms"`
	// Retain: retained messages are kept.
	Retain bool `toml:"retain" default:"true"`
	// MaxRetained messages.
	MaxRetained int `toml:"max_retained" default:"10000" min:"0"`
	// MaxRetainedSize of all of them in bytes. Auto: Queue.MaxSize / 64, at most
	// 16MiB.
	MaxRetainedSize Size `toml:"max_retained_size" default:"auto" auto:"yes"`
	// SysInterval is how often $SYS topics are published; 0 is never.
	SysInterval time.Duration `toml:"sys_interval" default:"10s"`
	// Unrouted is where a message goes that nobody subscribes to: a template
	// over {gateway} and {topic}; "" counts it only.
	Unrouted Template `toml:"unrouted"`
}

// Listener is one [[listener]] of the local broker.
type Listener struct {
	// Address is host:port, unix:PATH or systemd:NAME (a socket that systemd
	// holds). See Network.
	Address string `toml:"address" required:"yes"`
	// Transport is tcp (for unix sockets too) or websocket.
	Transport string `toml:"transport" default:"tcp" enum:"tcp websocket"`
	// Anonymous: clients need no user name. Load sets the default: true on
	// loopback addresses and unix sockets, else false.
	Anonymous      bool         `toml:"anonymous"`
	MaxConnections int          `toml:"max_connections" default:"10000" min:"1"`
	TLS            *ListenerTLS `toml:"tls"` // nil: none

	// Limited: the file sets MaxConnections. Where it does not, open files are a
	// bound as well, which the listeners without one share.
	Limited bool
	// Implied: the file has no [[listener]], this one stands in. Of the two
	// that do, one on each loopback, either may be impossible on a machine.
	Implied bool
}

// ListenerTLS is [listener.tls].
type ListenerTLS struct {
	Cert string `toml:"cert" required:"yes"`
	Key  string `toml:"key" required:"yes"`
	// ClientCA: client certificates are verified against it.
	ClientCA string `toml:"client_ca"`
	// ClientCert is optional, required, or username (the certificate's CN is
	// the user name).
	ClientCert string `toml:"client_cert" default:"optional" enum:"optional required username"`
}

// Auth is [auth]: who may connect, publish and subscribe.
type Auth struct {
	// Users is the file of users; when it is missing there are none.
	Users string     `toml:"users" default:"/etc/packetboat/users"`
	Rules []AuthRule `toml:"rule"`
}

// AuthRule is one [[auth.rule]]. The first that names somebody decides about him.
type AuthRule struct {
	// User, Client and Adapter are globs; one of them is given. An Adapter that
	// begins with "bridge/" names bridges.
	User    string `toml:"user"`
	Client  string `toml:"client"`
	Adapter string `toml:"adapter"`
	// Publish and Subscribe are filters. Bound: {gateway}. Left to expand, of
	// clients: {user} and {client}.
	Publish   []Template `toml:"publish"`
	Subscribe []Template `toml:"subscribe"`
}

// Limits is [limits]; 0 is no limit.
type Limits struct {
	ConnectsPerSecond int  `toml:"connects_per_second" default:"0" min:"0"` // per source address
	MessagesPerSecond int  `toml:"messages_per_second" default:"0" min:"0"` // per client
	BytesPerSecond    Size `toml:"bytes_per_second" default:"0"`            // per client
	FailedLogins      int  `toml:"failed_logins" default:"10" min:"0"`      // per source address and minute
}
