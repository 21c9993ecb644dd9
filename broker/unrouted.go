package broker

import "strings"

// unrouted says where messages go that nobody subscribes to: a template over
// the topic, which is what stands between head and tail.
type unrouted struct {
	expand     func(dst []byte, topic string) []byte // nil: nowhere
	head, tail string
	fixed      bool // the topic stands nowhere in it: head is all
}

func (u *unrouted) init(expand func(dst []byte, topic string) []byte) {
	if expand == nil {
		return
	}
	const mark = "\x00" // in no topic
	u.expand = expand
	all := string(expand(nil, mark))
	i := strings.Index(all, mark)
	if i < 0 {
		u.head, u.fixed = all, true
		return
	}
	u.head, u.tail = all[:i], all[strings.LastIndex(all, mark)+len(mark):]
}

// takes reports whether m goes to the unrouted topic. What looks like it came
// from there does not, or two gateways that are bridged to each other would
// send it in circles. A message that is kept as a retained one is not lost, and
// the broker's own topics are of interest only to who asks for them.
func (u *unrouted) takes(m *Message, retain bool) bool {
	return u.expand != nil && m.Origin != sysOrigin && !(m.Retain && retain) && !u.from(m.Topic)
}

func (u *unrouted) from(name string) bool {
	if u.fixed {
		return name == u.head
	}
	return strings.HasPrefix(name, u.head) && strings.HasSuffix(name, u.tail)
}

func (u *unrouted) topic(name string) string { return string(u.expand(nil, name)) }
