package bridge

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"packetboat/broker"
	"packetboat/broker/store"
	"packetboat/broker/topic"
	"packetboat/config"
)

// ConfigError is a mistake in a bridge's section, placed by the key within it:
// "up[1].topic".
type ConfigError struct {
	Key string
	Err error
}

func (e *ConfigError) Error() string { return e.Key + ": " + e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }

// upRule is a compiled rule for messages on their way to the cloud.
type upRule struct {
	filter string
	remap  remap
	lane   int
	qos    config.UpQoS
	minQoS byte
	retain bool
	maxAge uint32 // seconds, 0 = no limit

	whenFull store.Policy // the same for all rules of a lane
	maxSize  uint64       // of the lane, bytes; 0 = no bound
}

// downRule is a compiled rule for messages from the cloud.
type downRule struct {
	subscribe string // the filter as the cloud gets it
	filter    string // the same as it matches topics, without $share/GROUP/
	remap     remap
	qos       byte
	retain    bool
}

// rules are the compiled rules of a bridge; immutable.
type rules struct {
	up   []upRule
	down []downRule
	back answers
}

// compileRules checks all rules and reports all mistakes at once.
func compileRules(up []config.Up, down []config.Down) (rules, error) {
	var r rules
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, &ConfigError{key, fmt.Errorf(format, args...)})
	}
	for i, u := range up {
		key := func(k string) string { return fmt.Sprintf("up[%d].%s", i, k) }
		if !topic.ValidFilter(u.Filter) {
			bad(key("filter"), "%q is not a topic filter", u.Filter)
			continue
		}
		if _, _, shared := topic.CutShare(u.Filter); shared {
			bad(key("filter"), "a shared subscription cannot feed a bridge, which needs every message")
		}
		if u.MaxAge > 0 && u.MaxAge < time.Second {
			bad(key("max_age"), "%v: MQTT counts the age of messages in seconds", u.MaxAge)
		}
		m, err := newRemap(u.Topic, u.Filter)
		if err != nil {
			bad(key("topic"), "%w", err)
		}
		r.up = append(r.up, upRule{
			filter: u.Filter, remap: m, lane: u.Priority, qos: u.QoS, minQoS: byte(u.MinQoS),
			retain: u.Retain != "never", maxAge: seconds(u.MaxAge),
			whenFull: policy(u.WhenFull), maxSize: uint64(max(u.MaxSize, 0)),
		})
	}
	for i, d := range down {
		key := func(k string) string { return fmt.Sprintf("down[%d].%s", i, k) }
		if !topic.ValidFilter(d.Filter) {
			bad(key("filter"), "%q is not a topic filter", d.Filter)
			continue
		}
		filter := d.Filter
		if _, rest, shared := topic.CutShare(filter); shared {
			filter = rest
		}
		m, err := newRemap(d.Topic, filter)
		if err != nil {
			bad(key("topic"), "%w", err)
		}
		r.down = append(r.down, downRule{
			subscribe: d.Filter, filter: filter, remap: m, qos: byte(d.QoS), retain: d.Retain != "never",
		})
	}
	if len(errs) > 0 {
		return r, errors.Join(errs...)
	}
	r.back = r.answers()
	return r, nil
}

func policy(whenFull string) store.Policy {
	switch whenFull {
	case config.Reject:
		return store.Reject
	case config.DropNewest:
		return store.DropNewest
	}
	return store.DropOldest
}

// whenFull is what the rules say about a lane that has no room; a lane without
// rules drops its oldest.
func (r *rules) whenFull(lane int) (p store.Policy, maxSize uint64) {
	for _, u := range r.up {
		if u.lane == lane {
			return u.whenFull, u.maxSize
		}
	}
	return store.DropOldest, 0
}

func seconds(d time.Duration) uint32 {
	return uint32(min(max(d, 0)/time.Second, 1<<32-1))
}

// subscriptions are the up rules as the broker routes by them. They settle
// the lane and the QoS of a message when it is stored.
//
// Whether RETAIN is sent is decided by the rules there are when a message is
// sent, so the queue keeps it always.
func (r *rules) subscriptions() []broker.Subscription {
	subs := make([]broker.Subscription, len(r.up))
	for i, u := range r.up {
		subs[i] = broker.Subscription{Filter: u.filter, Lane: u.lane, QoS: 2, MinQoS: u.minQoS, KeepRetain: true}
		if u.qos != config.Keep {
			subs[i].QoS, subs[i].Fixed = byte(u.qos), true
		}
	}
	return subs
}

// topLane is the highest lane that a rule fills.
func (r *rules) topLane() int {
	top := 0
	for _, u := range r.up {
		top = max(top, u.lane)
	}
	return top
}

// topicOf is the topic at the cloud for one that the rule takes, "" when the rule
// makes no valid one of it.
func (u *upRule) topicOf(name string) string {
	captures, _ := topic.MatchCaptures(u.filter, name, nil)
	return u.remap.topic(name, captures)
}

// firstUp is the up rule that takes a topic, -1 for none; firstDown is the down rule.
func (r *rules) firstUp(name string) int {
	return slices.IndexFunc(r.up, func(u upRule) bool { return topic.Match(u.filter, name) })
}

func (r *rules) firstDown(name string) int {
	return slices.IndexFunc(r.down, func(d downRule) bool { return topic.Match(d.filter, name) })
}

// local is what the down rules make of a topic from the cloud: the first that
// matches counts. rule is nil when none takes it, local "" when the rule makes
// no valid topic of it.
func (r *rules) local(name string) (rule *downRule, local string) {
	for i := range r.down {
		d := &r.down[i]
		if captures, ok := topic.MatchCaptures(d.filter, name, nil); ok {
			return d, d.remap.topic(name, captures)
		}
	}
	return nil, ""
}

// remap makes a topic of a topic.
type remap struct {
	template config.Template
	whole    bool   // {topic}
	hash     string // the placeholder of what # matched, "" when there is none
}

// newRemap checks that the template asks only for what the filter captures.
func newRemap(t config.Template, filter string) (remap, error) {
	m := remap{template: t, whole: t.String() == "{topic}"}
	captures := strings.Count(filter, "+") + strings.Count(filter, "#")
	if strings.HasSuffix(filter, "#") {
		m.hash = strconv.Itoa(captures)
	}
	var err error
	probe := t.Expand(nil, func(dst []byte, name string) []byte {
		if k, e := strconv.Atoi(name); e == nil && (k < 1 || k > captures) {
			err = fmt.Errorf("{%s} has nothing to stand for: the filter has %d wildcards", name, captures)
		} else if e != nil && name != "topic" {
			err = fmt.Errorf("{%s} means nothing here", name)
		}
		return append(dst, 'x')
	})
	if err == nil && !topic.ValidName(string(probe)) {
		err = fmt.Errorf("%q is no topic to publish to", t.String())
	}
	return m, err
}

// topic is the new name, "" when that is not a valid one.
func (m *remap) topic(name string, captures []string) string {
	if m.whole {
		return strings.Clone(name)
	}
	out := string(m.template.Expand(nil, func(dst []byte, placeholder string) []byte {
		if placeholder == "topic" {
			return append(dst, name...)
		}
		k, _ := strconv.Atoi(placeholder) // newRemap has checked it
		v := captures[k-1]
		if v == "" && placeholder == m.hash && len(dst) > 0 && dst[len(dst)-1] == '/' && !strings.HasSuffix(name, "/") {
			dst = dst[:len(dst)-1] // a/# took a itself: x/{1} is x then
		}
		return append(dst, v...)
	}))
	if !topic.ValidName(out) {
		return ""
	}
	return out
}

// route is what the up rules make of a local topic.
type route struct {
	rule  *upRule // nil: no rule takes it
	topic string  // at the cloud; "" when the rule makes no valid topic of it
	comes bool    // a down rule takes it there: it may come back
}

// router remembers the routes of recent topics, because devices publish to
// the same few for ever. Not for concurrent use.
type router struct {
	rules    *rules
	cache    map[string]route
	captures []string
}

// maxRoutes bounds the router's memory; when it is full it starts afresh.
const maxRoutes = 4096

func (r *router) route(name string) route {
	if t, ok := r.cache[name]; ok {
		return t
	}
	var t route
	for i := range r.rules.up {
		u := &r.rules.up[i]
		var ok bool
		if r.captures, ok = topic.MatchCaptures(u.filter, name, r.captures[:0]); ok {
			t = route{rule: u, topic: u.remap.topic(name, r.captures)}
			t.comes = t.topic != "" && r.rules.firstDown(t.topic) >= 0
			break
		}
	}
	if r.cache == nil || len(r.cache) >= maxRoutes {
		r.cache = make(map[string]route)
	}
	r.cache[strings.Clone(name)] = t
	return t
}
