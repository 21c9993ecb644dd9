package gateway

import (
	"slices"
	"strings"

	"packetboat/bridge"
	"packetboat/broker"
	"packetboat/broker/store"
	"packetboat/config"
)

// QueueOptions are the bounds of the queue of a gateway of that configuration, for
// who writes into its data directory while it does not run.
func QueueOptions(c *config.Config) store.Options {
	l := limitsOf(c, measure(c.Gateway.DataDir))
	return store.Options{MaxSize: int64(c.Queue.MaxSize), MinFree: l.minFree, SegmentSize: l.segment}
}

func (g *Gateway) storeOptions() store.Options {
	return store.Options{
		MaxSize:        int64(g.cfg.Queue.MaxSize),
		MinFree:        g.limits.minFree,
		SegmentSize:    g.limits.segment,
		CommitInterval: g.limits.commit,
		Log:            g.log,
	}
}

func (g *Gateway) brokerOptions() broker.Options {
	b := &g.cfg.Broker
	o := broker.Options{
		Store:              g.store,
		Log:                g.log,
		Authenticate:       g.logins.authenticate,
		MaxPacketSize:      int(g.limits.maxPacket),
		MaxInflight:        b.MaxInflight,
		MaxSessions:        b.MaxSessions,
		MaxSessionExpiry:   b.MaxSessionExpiry,
		MaxSessionMessages: b.MaxSessionMessages,
		MaxSessionSize:     int64(b.MaxSessionSize),
		MaxSubscriptions:   b.MaxSubscriptions,
		MaxTopicLevels:     b.MaxTopicLevels,
		TopicAliasMax:      b.TopicAliasMax,
		MaxKeepAlive:       b.MaxKeepAlive,
		ConnectTimeout:     b.ConnectTimeout,
		MessagesPerSecond:  g.cfg.Limits.MessagesPerSecond,
		BytesPerSecond:     int64(g.cfg.Limits.BytesPerSecond),
		NoRetain:           !b.Retain || b.MaxRetained == 0 || g.limits.retained == 0,
		MaxRetained:        b.MaxRetained,
		MaxRetainedSize:    g.limits.retained,
		SysInterval:        b.SysInterval,
		Version:            g.opt.Version,
		SysMore:            g.sysBridges,
	}
	if t := b.Unrouted; !t.IsZero() {
		o.Unrouted = func(dst []byte, topic string) []byte {
			return t.Expand(dst, func(dst []byte, _ string) []byte { return append(dst, topic...) })
		}
	}
	// The zero values of these mean the broker's defaults.
	if o.TopicAliasMax == 0 {
		o.TopicAliasMax = -1
	}
	if o.MaxSessionExpiry == 0 {
		o.MaxSessionExpiry = 1 // less than the second that expiry is counted in
	}
	switch g.cfg.Queue.QoS0 {
	case "all":
		o.QueueQoS0 = broker.QueueForAll
	case "none":
		o.QueueQoS0 = broker.QueueForNone
	case "bridges":
		o.QueueQoS0 = broker.QueueForBridges
	}
	return o
}

// sysBridges tells in $SYS which bridges are online, as Mosquitto does of its own.
func (g *Gateway) sysBridges(set func(name, value string)) {
	for _, b := range g.bridges.all() {
		state := "0"
		if b.State().Phase == bridge.Online {
			state = "1"
		}
		set("connection/"+b.Name()+"/state", state)
	}
}

// warnAbandoned names the queues of bridges and adapters that are in the store
// and not in the configuration: renamed or removed, what they hold is kept.
func (g *Gateway) warnAbandoned(cfg *config.Config) {
	var known []string
	for _, b := range g.bridges.all() {
		known = append(known, "bridge/"+b.Name())
	}
	for _, a := range g.devices.all() {
		known = append(known, "adapter/"+a.Name())
	}
	waiting := map[string]uint64{}
	for _, name := range g.store.Consumers() {
		owner, ok := queueOwner(name)
		if !ok || slices.Contains(known, owner) {
			continue
		}
		if c := g.store.Lookup(name); c != nil {
			c.SetOrphan(true) // the first to go when the queue is full
			waiting[owner] += c.Lag().Messages
		}
	}
	for owner, n := range waiting {
		g.broker.Abandoned(owner)
		if n > 0 {
			g.log.Warn("messages wait for a bridge or adapter that is not configured or not enabled; they are kept, configure it again under the same name to have them delivered",
				"queue", owner, "messages", n, "config", cfg.At("").File)
		}
	}
}

// queueOwner is the bridge or adapter that a consumer belongs to.
func queueOwner(consumer string) (owner string, ok bool) {
	parts := strings.Split(consumer, "/")
	if len(parts) < 2 || parts[0] != "bridge" && parts[0] != "adapter" {
		return "", false
	}
	return parts[0] + "/" + parts[1], true
}
