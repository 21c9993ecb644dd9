package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A checker finds what is wrong between keys, and puts in what is known by now:
// names into templates, the defaults that depend on other keys.
type checker struct {
	c      *Config
	report func(pos Position, key, msg string)

	reported map[string]bool   // keys that have an error
	adapters map[string]string // key path by name
	listens  []listen          // addresses taken, with who takes them
}

// fail reports an error about the value with that key path. One that has an error
// already has no value to say more about.
func (k *checker) fail(key, format string, args ...any) {
	if k.reported[key] {
		return
	}
	k.report(k.c.At(key), key, fmt.Sprintf(format, args...))
}

// check goes through the sections in the order of the file.
func (k *checker) check(opt Options) {
	k.identify(opt)
	k.queue()
	k.broker()
	k.listeners()
	k.resolve("auth.users", &k.c.Auth.Users)
	k.rulesOfAccess()
	k.adapters = map[string]string{}
	for i := range k.c.Serial {
		k.serial(i, &k.c.Serial[i])
	}
	for i := range k.c.TCP {
		k.tcp(i, &k.c.TCP[i])
	}
	for i := range k.c.Modbus {
		k.modbus(i, &k.c.Modbus[i])
	}
	k.bridges()
	k.whenFull()
}

func (k *checker) queue() {
	q := &k.c.Queue
	if q.SegmentSize != Auto && q.SegmentSize > q.MaxSize/8 {
		k.fail("queue.segment_size", "must be at most an eighth of queue.max_size, here %s", q.MaxSize/8)
	}
}

// maxSegment is the greatest size that a segment can have.
func (q *Queue) maxSegment() Size {
	if q.SegmentSize != Auto {
		return q.SegmentSize
	}
	return max(256<<10, min(q.MaxSize/64, 8<<20))
}

func (k *checker) broker() {
	b := &k.c.Broker
	if half := k.c.Queue.maxSegment() / 2; b.MaxPacketSize != Auto && b.MaxPacketSize > half {
		k.fail("broker.max_packet_size", "must be at most half a segment of the queue, here %s (see queue.segment_size)", half)
	}
	if b.MaxRetainedSize != Auto && b.MaxRetainedSize > k.c.Queue.MaxSize/2 {
		k.fail("broker.max_retained_size", "must be at most half of queue.max_size, here %s", k.c.Queue.MaxSize/2)
	}
	k.wholeSeconds("broker.max_keep_alive", int64(b.MaxKeepAlive))
	b.Unrouted = k.topic("broker.unrouted", b.Unrouted, known{"gateway": k.c.Gateway.ID}, []string{"topic"}, true)
	if b.Unrouted.String() == "{topic}" {
		k.fail("broker.unrouted", "must differ from {topic} itself: a message would go nowhere")
	}
	if text := string(b.Unrouted.Expand(nil, func(dst []byte, _ string) []byte { return append(dst, 'x') })); strings.HasPrefix(text, "$SYS/") {
		k.fail("broker.unrouted", "must not be below $SYS, which is the broker's own")
	}
}

func (k *checker) wholeSeconds(key string, nanoseconds int64) {
	if nanoseconds%1e9 != 0 {
		k.fail(key, "must be whole seconds")
	}
}

// known are the placeholders whose values the configuration itself gives.
type known map[string]string

func (n known) names() []string {
	list := make([]string, 0, len(n))
	for name := range n {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// template parses t and binds what is known; later are the placeholders that a
// message gives.
func (k *checker) template(key string, t Template, now known, later []string) (Template, bool) {
	parsed, err := ParseTemplate(t.src, append(now.names(), later...)...)
	if err != nil {
		k.fail(key, "%s", err)
		return Template{}, false
	}
	for name, value := range now {
		parsed = parsed.Bind(name, value)
	}
	return parsed, true
}

// topic is template for the name of a topic.
func (k *checker) topic(key string, t Template, now known, later []string, none bool) Template {
	parsed, ok := k.template(key, t, now, later)
	if !ok || none && t.src == "" {
		return parsed
	}
	// Any text may come from placeholders; one character stands for it.
	sample := string(parsed.Expand(nil, func(dst []byte, _ string) []byte { return append(dst, 'x') }))
	if msg := topicProblem(sample); msg != "" {
		k.fail(key, "%s", msg)
	}
	return parsed
}

// text expands a template that has only known placeholders.
func (k *checker) text(key string, s *string, now known) bool {
	t, ok := k.template(key, Template{src: *s}, now, nil)
	if ok {
		*s, _ = t.Literal()
	}
	return ok
}

// topicText is text for the name of a topic, which may be "" when none is true.
func (k *checker) topicText(key string, s *string, now known, none bool) {
	if none && *s == "" {
		return
	}
	if !k.text(key, s, now) {
		return
	}
	if msg := topicProblem(*s); msg != "" {
		k.fail(key, "%s", msg)
	}
}

// filterText is text for a topic filter. It gives the placeholders {1} {2} … for
// its wildcards; ok is false when they are not known.
func (k *checker) filterText(key string, s *string, now known) (captures []string, ok bool) {
	if *s == "" || !k.text(key, s, now) { // an empty one was reported
		return nil, false
	}
	n, msg := filterProblem(*s)
	if msg != "" {
		k.fail(key, "%s", msg)
		return nil, false
	}
	for i := range n {
		captures = append(captures, strconv.Itoa(i+1))
	}
	return captures, true
}

// name checks the name of an adapter or bridge, unique among those in taken. It
// gives the name to put into templates.
func (k *checker) name(path, name string, taken map[string]string) string {
	key := path + ".name"
	if name == "" {
		return "name" // reported as missing or empty; the templates are not to blame
	}
	if msg := levelProblem(name); msg != "" {
		k.fail(key, "%q %s", name, msg)
		return "name"
	}
	if first, ok := taken[name]; ok {
		k.fail(key, "%q is the name of %s already (at %s)", name, first, k.c.At(first+".name"))
		return name
	}
	taken[name] = path
	return name
}

// belongs checks that the table at path has no key of another type than its own.
func (k *checker) belongs(path, kind string, keys map[string][]string) {
	for owner, list := range keys {
		for _, key := range list {
			p := path + "." + key
			if !k.c.isSet(p) || slices.Contains(keys[kind], key) {
				continue
			}
			var owners []string
			for o, l := range keys {
				if slices.Contains(l, key) {
					owners = append(owners, strconv.Quote(o))
				}
			}
			slices.Sort(owners)
			if strconv.Quote(owner) == owners[0] { // once
				k.fail(p, "belongs to type %s; the type here is %q", strings.Join(owners, " or "), kind)
			}
		}
	}
}
