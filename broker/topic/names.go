package topic

import "strings"

// Names holds one value per topic name and finds them by filter. The zero
// Names is empty and ready.
//
// Any number of Get and Match may run at once, Set and Delete only alone.
type Names[V any] struct {
	root nameNode[V]
	size int
}

type nameNode[V any] struct {
	children map[string]*nameNode[V]
	name     string // whole, when there is a value
	val      V
	set      bool
}

// Len is the number of names with a value.
func (t *Names[V]) Len() int { return t.size }

// Set gives name a value and returns the one before. The name is kept.
func (t *Names[V]) Set(name string, v V) (old V, replaced bool) {
	n := &t.root
	for rest, more := name, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		c := n.children[level]
		if c == nil {
			c = &nameNode[V]{}
			if n.children == nil {
				n.children = make(map[string]*nameNode[V])
			}
			n.children[strings.Clone(level)] = c
		}
		n = c
	}
	old, replaced = n.val, n.set
	n.name, n.val, n.set = name, v, true
	if !replaced {
		t.size++
	}
	return old, replaced
}

// Get returns the value of name.
func (t *Names[V]) Get(name string) (v V, ok bool) {
	n := &t.root
	for rest, more := name, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if n = n.children[level]; n == nil {
			return v, false
		}
	}
	return n.val, n.set
}

// Delete removes name and returns its value.
func (t *Names[V]) Delete(name string) (old V, ok bool) {
	old, ok = t.root.delete(name, true)
	if ok {
		t.size--
	}
	return old, ok
}

func (n *nameNode[V]) delete(rest string, more bool) (old V, ok bool) {
	if !more {
		old, ok = n.val, n.set
		var zero V
		n.name, n.val, n.set = "", zero, false
		return old, ok
	}
	level, rest, more := strings.Cut(rest, "/")
	c := n.children[level]
	if c == nil {
		return old, false
	}
	old, ok = c.delete(rest, more)
	if !c.set && len(c.children) == 0 {
		delete(n.children, level)
		if len(n.children) == 0 {
			n.children = nil
		}
	}
	return old, ok
}

// Match calls f for each name that the valid filter matches, in no particular
// order, until f returns false.
func (t *Names[V]) Match(filter string, f func(name string, v V) bool) {
	t.root.match(filter, true, true, f)
}

func (n *nameNode[V]) match(rest string, more, first bool, f func(string, V) bool) bool {
	if !more {
		return !n.set || f(n.name, n.val)
	}
	level, rest, more := strings.Cut(rest, "/")
	switch level {
	case "#":
		return n.all(first, f)
	case "+":
		for l, c := range n.children {
			if first && hidden(l) { // [MQTT-4.7.2-1]
				continue
			}
			if !c.match(rest, more, false, f) {
				return false
			}
		}
	default:
		if c := n.children[level]; c != nil {
			return c.match(rest, more, false, f)
		}
	}
	return true
}

// all visits n and everything below it.
func (n *nameNode[V]) all(first bool, f func(string, V) bool) bool {
	if n.set && !f(n.name, n.val) {
		return false
	}
	for l, c := range n.children {
		if first && hidden(l) {
			continue
		}
		if !c.all(false, f) {
			return false
		}
	}
	return true
}
