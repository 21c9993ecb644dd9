package topic

import "strings"

// Tree holds subscriptions: at most one value per filter and key. The zero
// Tree is empty and ready.
//
// Any number of Match may run at once, Insert and Remove only alone: the
// owner's RWMutex sees to that.
type Tree[K comparable, V any] struct {
	root node[K, V]
	size int
}

type node[K comparable, V any] struct {
	children map[string]*node[K, V] // by level, without wildcards
	plus     *node[K, V]            // the level +
	here     bucket[K, V]           // filters that end at this level
	hash     bucket[K, V]           // filters that go on with /#
}

// bucket keeps the subscriptions to one filter in a slice, which is what
// matching runs over; a long one gets an index for its owner's sake.
type bucket[K comparable, V any] struct {
	entries []entry[K, V]
	index   map[K]int
}

type entry[K comparable, V any] struct {
	key K
	val V
}

const indexFrom = 16

func (b *bucket[K, V]) find(key K) int {
	if b.index != nil {
		if i, ok := b.index[key]; ok {
			return i
		}
		return -1
	}
	for i := range b.entries {
		if b.entries[i].key == key {
			return i
		}
	}
	return -1
}

func (b *bucket[K, V]) insert(key K, v V) (old V, replaced bool) {
	if i := b.find(key); i >= 0 {
		old = b.entries[i].val
		b.entries[i].val = v
		return old, true
	}
	b.entries = append(b.entries, entry[K, V]{key, v})
	switch {
	case b.index != nil:
		b.index[key] = len(b.entries) - 1
	case len(b.entries) > indexFrom:
		b.index = make(map[K]int)
		for i := range b.entries {
			b.index[b.entries[i].key] = i
		}
	}
	return old, false
}

func (b *bucket[K, V]) remove(key K) (old V, ok bool) {
	i := b.find(key)
	if i < 0 {
		return old, false
	}
	old = b.entries[i].val
	last := len(b.entries) - 1
	b.entries[i] = b.entries[last]
	b.entries[last] = entry[K, V]{}
	b.entries = b.entries[:last]
	if b.index != nil {
		delete(b.index, key)
		if i != last {
			b.index[b.entries[i].key] = i
		}
	}
	if last == 0 {
		*b = bucket[K, V]{}
	}
	return old, true
}

func (b *bucket[K, V]) each(f func(V)) {
	for i := range b.entries {
		f(b.entries[i].val)
	}
}

// Len is the number of subscriptions.
func (t *Tree[K, V]) Len() int { return t.size }

// Insert subscribes key to the valid filter and returns the value that it
// replaced, if any.
func (t *Tree[K, V]) Insert(filter string, key K, v V) (old V, replaced bool) {
	old, replaced = t.bucket(filter).insert(key, v)
	if !replaced {
		t.size++
	}
	return old, replaced
}

// bucket finds the place of filter and makes the way to it.
func (t *Tree[K, V]) bucket(filter string) *bucket[K, V] {
	n := &t.root
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		switch level {
		case "#":
			return &n.hash
		case "+":
			if n.plus == nil {
				n.plus = &node[K, V]{}
			}
			n = n.plus
		default:
			c := n.children[level]
			if c == nil {
				c = &node[K, V]{}
				if n.children == nil {
					n.children = make(map[string]*node[K, V])
				}
				n.children[strings.Clone(level)] = c
			}
			n = c
		}
	}
	return &n.here
}

// Get returns key's value for filter.
func (t *Tree[K, V]) Get(filter string, key K) (v V, ok bool) {
	n := &t.root
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if level == "#" {
			return n.hash.get(key)
		}
		if level == "+" {
			n = n.plus
		} else {
			n = n.children[level]
		}
		if n == nil {
			return v, false
		}
	}
	return n.here.get(key)
}

func (b *bucket[K, V]) get(key K) (v V, ok bool) {
	i := b.find(key)
	if i < 0 {
		return v, false
	}
	return b.entries[i].val, true
}

// Remove takes key's subscription to filter away and returns its value.
func (t *Tree[K, V]) Remove(filter string, key K) (old V, ok bool) {
	old, ok = t.root.remove(filter, true, key)
	if ok {
		t.size--
	}
	return old, ok
}

// remove goes down the levels of rest and prunes what has become empty.
func (n *node[K, V]) remove(rest string, more bool, key K) (old V, ok bool) {
	if !more {
		return n.here.remove(key)
	}
	level, rest, more := strings.Cut(rest, "/")
	switch level {
	case "#":
		return n.hash.remove(key)
	case "+":
		if n.plus == nil {
			return old, false
		}
		old, ok = n.plus.remove(rest, more, key)
		if n.plus.empty() {
			n.plus = nil
		}
	default:
		c := n.children[level]
		if c == nil {
			return old, false
		}
		old, ok = c.remove(rest, more, key)
		if c.empty() {
			delete(n.children, level)
			if len(n.children) == 0 {
				n.children = nil
			}
		}
	}
	return old, ok
}

func (n *node[K, V]) empty() bool {
	return len(n.children) == 0 && n.plus == nil && len(n.here.entries) == 0 && len(n.hash.entries) == 0
}

// Match calls f for each subscription whose filter matches name, in no
// particular order; a key with several such filters comes several times. It
// does not allocate.
func (t *Tree[K, V]) Match(name string, f func(V)) {
	if hidden(name) { // [MQTT-4.7.2-1]
		level, rest, more := strings.Cut(name, "/")
		if c := t.root.children[level]; c != nil {
			c.match(rest, more, f)
		}
		return
	}
	t.root.match(name, true, f)
}

func (n *node[K, V]) match(rest string, more bool, f func(V)) {
	for {
		n.hash.each(f)
		if !more {
			n.here.each(f)
			return
		}
		var level string
		level, rest, more = strings.Cut(rest, "/")
		c := n.children[level]
		switch {
		case n.plus == nil:
			if c == nil {
				return
			}
			n = c
		case c == nil:
			n = n.plus
		default:
			c.match(rest, more, f)
			n = n.plus
		}
	}
}
