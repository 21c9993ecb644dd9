// Package acl knows who may publish and subscribe to what.
//
// Rules are compiled once and then only asked. The first rule that names a client,
// adapter or bridge decides about it, so a connection asks for its [Rights] once
// and each message only for a topic:
//
//	rules.Client(user, id) ──► Rights ──► Memo.Allows(rights.Publish, topic)
//	                                      rights.Subscribe.Covers(filter)
//
// A client that no rule names may do nothing. An adapter or bridge that no rule
// names has no Rights: it keeps the topics that its own section names.
package acl

import (
	"strings"
	"sync"

	"packetboat/broker/topic"
)

// Rule is one rule. One of User, Client and Adapter is given, as a glob: * is any
// text, ? any character, [a-z] one of these, and \ takes the meaning from what
// follows.
type Rule struct {
	// User is compared with the user name of a client; one without is named by
	// no such rule.
	User string
	// Client is compared with a client identifier, which everybody can claim.
	Client string
	// Adapter is compared with the names of adapters or, if it begins with
	// "bridge/", of bridges.
	Adapter string

	Publish   []Pattern
	Subscribe []Pattern
}

// Pattern is a topic filter with placeholders, in its pieces.
type Pattern []Piece

// Piece is text, or the placeholder called Name: "user" or "client".
type Piece struct{ Text, Name string }

// Rules are compiled rules. They may be asked by any number of goroutines.
type Rules struct {
	rules []rule

	mu     sync.RWMutex
	inside map[string]*Rights // of adapters and bridges, by whole name
}

type rule struct {
	kind kind
	glob string
	fix  *Rights // what it gives to everybody; nil: that depends on who it is

	publish, subscribe []Pattern
}

type kind byte

const (
	user kind = iota
	client
	inside // adapters and bridges
)

// Rights are what one client, adapter or bridge may do. They are not changed.
type Rights struct {
	Rule      int // the rule that decides, -1: none
	Publish   Filters
	Subscribe Filters
}

// none are the rights of a client that no rule names.
var none = Rights{Rule: -1}

// Client gives the rights of a client. Without a user name name is "".
func (r *Rules) Client(name, id string) *Rights {
	for i := range r.rules {
		x := &r.rules[i]
		switch {
		case x.kind == user && name != "" && matches(x.glob, name):
		case x.kind == client && matches(x.glob, id):
		default:
			continue
		}
		if x.fix != nil {
			return x.fix
		}
		return &Rights{Rule: i, Publish: expand(x.publish, name, id), Subscribe: expand(x.subscribe, name, id)}
	}
	return &none
}

// Inside gives the rights of an adapter ("adapter/NAME") or a bridge
// ("bridge/NAME"), nil when no rule names it. Its callers are few and ask again and
// again.
func (r *Rules) Inside(name string) *Rights {
	r.mu.RLock()
	rights, ok := r.inside[name]
	r.mu.RUnlock()
	if ok {
		return rights
	}
	for i := range r.rules {
		if x := &r.rules[i]; x.kind == inside && matches(x.glob, name) {
			rights = x.fix
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inside == nil {
		r.inside = make(map[string]*Rights)
	}
	r.inside[strings.Clone(name)] = rights
	return rights
}

// expand puts the names into the patterns. A pattern for which a name will not do
// gives no filter.
func expand(patterns []Pattern, name, id string) Filters {
	var list Filters
	for _, p := range patterns {
		if f, ok := p.expand(name, id); ok {
			list = append(list, f)
		}
	}
	return list
}

// expand is safe against names that were chosen to widen a rule: one with a
// wildcard, a level separator or a leading $ in it stands for nothing, and so does
// an empty one (Mosquitto: CVE-2017-7650).
func (p Pattern) expand(name, id string) (filter string, ok bool) {
	var b strings.Builder
	for _, piece := range p {
		v := piece.Text
		switch piece.Name {
		case "user":
			v = name
		case "client":
			v = id
		}
		if piece.Name != "" && !plain(v) {
			return "", false
		}
		b.WriteString(v)
	}
	filter = b.String()
	return filter, usable(filter)
}

// plain: a name can stand in a filter for a part of one level.
func plain(name string) bool {
	return name != "" && name[0] != '$' && !strings.ContainsAny(name, "+#/")
}

// usable: what a rule may allow. Groups of shared subscriptions are no part of it.
func usable(filter string) bool {
	_, _, shared := topic.CutShare(filter)
	return !shared && topic.ValidFilter(filter)
}

// fixed: the pattern is the same for everybody.
func (p Pattern) fixed() bool {
	for _, piece := range p {
		if piece.Name != "" {
			return false
		}
	}
	return true
}

// Filters allow what one of them allows.
type Filters []string

// Match reports whether a filter matches the name.
func (l Filters) Match(name string) bool {
	for _, f := range l {
		if topic.Match(f, name) {
			return true
		}
	}
	return false
}

// Covers reports whether a single filter matches all that the given one does,
// which may be a shared subscription.
func (l Filters) Covers(filter string) bool {
	_, filter, _ = topic.CutShare(filter)
	if filter == "" {
		return false
	}
	for _, f := range l {
		if topic.Covers(f, filter) {
			return true
		}
	}
	return false
}
