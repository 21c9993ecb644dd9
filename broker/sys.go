package broker

import (
	"context"
	"fmt"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/broker/topic"
)

// sysOrigin is the origin of the broker's own messages.
const sysOrigin = "$SYS"

// sys is $SYS/broker/…: the topics that Mosquitto's users know, published every
// Options.SysInterval with QoS 0 when their value has changed. A new
// subscription gets the present values at once, like retained messages, but they
// are in no store.
//
// While nobody subscribes to any of it only the averages are kept up.
type sys struct {
	wanted atomic.Int64 // filters for it in the tree

	mu     sync.Mutex
	load   loads
	heap   uint64    // the most it was
	at     time.Time // of the values; zero: there are none
	values topic.Names[*Message]
}

// runSys keeps the averages and publishes until ctx ends.
func (b *Broker) runSys(ctx context.Context) {
	b.sys.mu.Lock()
	b.sys.load.at = b.started
	b.sys.mu.Unlock()
	tick := time.NewTicker(b.opt.SysInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.publishSys()
		}
	}
}

func (b *Broker) publishSys() {
	s := b.Stats()
	now := time.Now()
	b.sys.mu.Lock()
	b.sys.load.sample(now, &s)
	b.sys.mu.Unlock()
	if b.sys.wanted.Load() == 0 {
		b.sys.forget()
		return
	}
	r := b.router()
	for _, m := range b.renewSys(now, &s) {
		r.route(nil, m)
	}
	r.flush()
	b.routers.Put(r)
}

// forget drops the values: a subscription that comes later is not to get old
// ones.
func (y *sys) forget() {
	y.mu.Lock()
	defer y.mu.Unlock()
	if !y.at.IsZero() {
		y.at, y.values = time.Time{}, topic.Names[*Message]{}
	}
}

// matchSys collects the present values that filter matches.
func (b *Broker) matchSys(filter string) (found []*Message) {
	if b.opt.SysInterval <= 0 {
		return nil
	}
	b.sys.mu.Lock()
	stale := b.sys.at.IsZero()
	b.sys.mu.Unlock()
	if stale { // nobody had asked for them
		s := b.Stats()
		b.renewSys(time.Now(), &s)
	}
	b.sys.mu.Lock()
	defer b.sys.mu.Unlock()
	b.sys.values.Match(filter, func(_ string, m *Message) bool {
		found = append(found, m)
		return true
	})
	return found
}

// renewSys makes the values those of s and returns the ones that have changed.
func (b *Broker) renewSys(now time.Time, s *Stats) (changed []*Message) {
	held, bytes := b.stored(s)
	inflight := b.inflight()
	y := &b.sys
	y.mu.Lock()
	defer y.mu.Unlock()
	set := func(name, value string) {
		name = "$SYS/broker/" + name
		if old, ok := y.values.Get(name); ok && string(old.Payload) == value {
			return
		}
		m := &Message{Topic: name, Payload: []byte(value), Origin: sysOrigin}
		y.values.Set(name, m)
		changed = append(changed, m)
	}
	count := func(name string, v uint64) { set(name, strconv.FormatUint(v, 10)) }
	signed := func(name string, v int64) { set(name, strconv.FormatInt(v, 10)) }

	set("version", "packetboat version "+b.opt.Version)
	set("uptime", fmt.Sprintf("%d seconds", int(now.Sub(b.started)/time.Second)))

	offline := max(int64(s.Sessions)-s.Online, 0)
	signed("clients/connected", s.Online)
	signed("clients/active", s.Online)
	signed("clients/disconnected", offline)
	signed("clients/inactive", offline)
	signed("clients/total", s.Online+offline)
	signed("clients/maximum", s.MostOnline)
	count("clients/expired", s.SessionsExpired)

	count("bytes/received", s.BytesReceived)
	count("bytes/sent", s.BytesSent)
	count("messages/received", s.PacketsReceived)
	count("messages/sent", s.PacketsSent)
	signed("messages/inflight", int64(inflight))
	count("messages/stored", held)
	count("store/messages/count", held)
	count("store/messages/bytes", bytes)

	count("publish/messages/received", s.PublishReceived)
	count("publish/messages/sent", s.PublishSent)
	count("publish/messages/dropped", s.dropped())
	count("publish/messages/unrouted", s.Unrouted)
	count("publish/messages/refused", s.Refused)
	count("publish/messages/denied", s.Denied)
	count("publish/bytes/received", s.PayloadReceived)
	count("publish/bytes/sent", s.PayloadSent)

	signed("retained messages/count", int64(s.Retained))
	signed("subscriptions/count", int64(s.Subscriptions))
	signed("shared_subscriptions/count", int64(s.Shared))

	heap := heapSize()
	y.heap = max(y.heap, heap)
	count("heap/current", heap)
	count("heap/maximum", y.heap)

	state := "ok"
	if err := b.store.Failed(); err != nil {
		state = "failed: " + err.Error()
	}
	set("queue", state)
	if b.opt.SysMore != nil {
		b.opt.SysMore(set)
	}

	for i, name := range loadNames {
		for j := range loadSpans {
			set("load/"+name+"/"+loadSpans[j].name, strconv.FormatFloat(y.load.avg[i][j], 'f', 2, 64))
		}
	}
	y.at = now
	return changed
}

// dropped are deliveries that did not take place.
func (s *Stats) dropped() uint64 { return s.DroppedQoS0 + s.TooLarge + s.Expired + s.Withheld }

// stored is how many messages are kept, for sessions, bridges and adapters and
// as retained ones, and their bytes.
func (b *Broker) stored(s *Stats) (messages, bytes uint64) {
	messages, bytes = uint64(s.Retained), uint64(s.RetainedBytes)
	for _, name := range b.store.Consumers() {
		if c := b.store.Lookup(name); c != nil {
			lag := c.Lag()
			messages += lag.Messages
			bytes += lag.Bytes
		}
	}
	return messages, bytes
}

// inflight is how many QoS 1 and 2 messages clients have not acknowledged.
func (b *Broker) inflight() (n int) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, s := range b.sessions {
		c := s.conn.Load()
		if c == nil {
			continue
		}
		s.mu.Lock()
		if s.win != nil {
			n += s.win.InFlight()
		}
		s.mu.Unlock()
		c.out.mu.Lock()
		n += c.out.window.n
		c.out.mu.Unlock()
	}
	return n
}

func heapSize() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
