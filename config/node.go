package config

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

type kind byte

const (
	kindScalar kind = iota
	kindTable
	kindArray
)

// A node is a value of the configuration and where it stands.
type node struct {
	kind kind
	key  Position // where its key is written; of an array's item: where it begins
	pos  Position // where its value begins; of a table: its name
	val  any      // of a scalar: string, int64, float64, bool or time.Time

	kids  map[string]*node // of a table
	names []string         // keys of kids in the order in which they were written
	items []*node          // of an array

	path    string // in its file
	open    bool   // may still be added to: it was not written as { … } or [ … ]
	defined bool   // a [table] header or a dotted key made it
	bad     bool   // an error was reported about its value already
	env     bool   // its value has something of the environment
}

func newTable(pos Position, path string) *node {
	return &node{kind: kindTable, key: pos, pos: pos, path: path, kids: map[string]*node{}, open: true}
}

func (n *node) put(name string, kid *node) {
	n.kids[name] = kid
	n.names = append(n.names, name)
}

// closeTables ends an inline table and those that dotted keys made in it:
// nothing may add to them any more.
func (n *node) closeTables() {
	n.open = false
	for _, k := range n.kids {
		if k.kind == kindTable && k.open {
			k.closeTables()
		}
	}
}

// fill puts the values that the TOML library found into the tree of places. It
// reports whether the two agree.
func (n *node) fill(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		if n.kind != kindTable || len(v) != len(n.kids) {
			return false
		}
		for name, kid := range n.kids {
			kv, ok := v[name]
			if !ok || !kid.fill(kv) {
				return false
			}
		}
		return true
	case []map[string]any:
		if n.kind != kindArray || len(v) != len(n.items) {
			return false
		}
		for i := range v {
			if !n.items[i].fill(v[i]) {
				return false
			}
		}
		return true
	case []any:
		if n.kind != kindArray || len(v) != len(n.items) {
			return false
		}
		for i := range v {
			if !n.items[i].fill(v[i]) {
				return false
			}
		}
		return true
	case nil:
		return n.kind == kindTable && len(n.kids) == 0 // the empty file
	}
	n.val = v
	return n.kind == kindScalar
}

// merge adds what another file says. Arrays append; a key set in both is an
// error that names both places.
func (n *node) merge(from *node, path string, report func(pos Position, key, msg string)) {
	for _, name := range from.names {
		other, have := from.kids[name], n.kids[name]
		p := join(path, name)
		switch {
		case have == nil:
			n.put(name, other)
		case have.kind == kindTable && other.kind == kindTable:
			have.merge(other, p, report)
		case have.kind == kindArray && other.kind == kindArray:
			have.items = append(slices.Clip(have.items), other.items...)
		default:
			report(other.key, p, setTwice(have.key))
		}
	}
}

// places notes the place of each value below n by its path.
func (n *node) places(path string, in map[string]Position) {
	in[path] = n.pos
	for name, kid := range n.kids {
		kid.places(join(path, name), in)
	}
	for i, item := range n.items {
		item.places(index(path, i), in)
	}
}

// what names the kind of value for messages.
func (n *node) what() string {
	switch n.kind {
	case kindTable:
		return "a table"
	case kindArray:
		return "an array"
	}
	switch n.val.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a number with a point"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	}
	return fmt.Sprintf("a %T", n.val)
}

func join(path, name string) string {
	if path == "" {
		return quoteKey(name)
	}
	return path + "." + quoteKey(name)
}

func index(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

// quoteKey writes a key as it has to be written in a file.
func quoteKey(name string) string {
	for i := 0; i < len(name); i++ {
		if !bareKeyByte(name[i]) {
			return strconv.Quote(name)
		}
	}
	if name == "" {
		return `""`
	}
	return name
}

// KeyPath gives the path of a key that is free, such as a name in set, within a
// section: set.kg, set."weight in kg".
func KeyPath(section, name string) string { return join(section, name) }
