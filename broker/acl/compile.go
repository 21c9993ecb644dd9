package acl

import (
	"errors"
	"fmt"
	"strings"
)

// Error is a mistake in a rule.
type Error struct {
	Rule int    // from 0
	Key  string // user, client, adapter, publish[0], …
	// By is the rule before this one that takes all that it names; -1: the mistake
	// is another.
	By  int
	Err error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("rule %d: %s: %v", e.Rule+1, e.Key, e.Err) }

// Unwrap gives what is wrong.
func (e *Error) Unwrap() error { return e.Err }

var (
	errWho    = errors.New("a rule names one of user, client and adapter")
	errNever  = errors.New("names only whom an earlier rule names, so it never decides")
	errFilter = errors.New("is not a topic filter, or it is one of a shared subscription")
)

// Compile makes rules, nil of none: then everything is allowed. Its error joins
// those of all mistakes, each of type *Error.
func Compile(list []Rule) (*Rules, error) {
	if len(list) == 0 {
		return nil, nil
	}
	r := &Rules{}
	var errs []error
	for i := range list {
		x, mistakes := compile(i, &list[i])
		if len(mistakes) == 0 {
			if by := r.takenBy(&x); by >= 0 {
				mistakes = append(mistakes, &Error{Rule: i, Key: x.kind.key(), By: by, Err: errNever})
			}
		}
		errs = append(errs, mistakes...)
		r.rules = append(r.rules, x)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return r, nil
}

// compile makes the i-th rule. A rule with mistakes names nobody.
func compile(i int, from *Rule) (rule, []error) {
	var errs []error
	bad := func(key string, err error) { errs = append(errs, &Error{Rule: i, Key: key, By: -1, Err: err}) }
	x := rule{publish: from.Publish, subscribe: from.Subscribe}
	given := 0
	for k, glob := range [...]string{user: from.User, client: from.Client, inside: from.Adapter} {
		if glob == "" {
			continue
		}
		given++
		x.kind = kind(k)
		if x.kind == inside && !strings.HasPrefix(glob, "bridge/") {
			glob = "adapter/" + glob
		}
		var err error
		if x.glob, err = prepared(glob); err != nil {
			bad(x.kind.key(), fmt.Errorf("%q is no pattern: a [ has no ], or it ends in a \\", glob))
		}
	}
	if given != 1 {
		bad("", errWho)
	}
	fixed := true
	check := func(key string, list []Pattern) {
		for j, p := range list {
			fixed = fixed && p.fixed()
			if f, ok := p.expand("x", "x"); !ok {
				bad(fmt.Sprintf("%s[%d]", key, j), fmt.Errorf("%q %w", f, errFilter))
			}
		}
	}
	check("publish", x.publish)
	check("subscribe", x.subscribe)
	if fixed || x.kind == inside {
		x.fix = &Rights{Rule: i, Publish: expand(x.publish, "", ""), Subscribe: expand(x.subscribe, "", "")}
	}
	if len(errs) > 0 {
		x.glob = ""
	}
	return x, errs
}

func (k kind) key() string { return [...]string{user: "user", client: "client", inside: "adapter"}[k] }

// takenBy is the first rule that names everybody whom x names, -1 for none. A
// client always has an identifier, so that client = "*" takes users too.
func (r *Rules) takenBy(x *rule) int {
	for i := range r.rules {
		y := &r.rules[i]
		switch {
		case y.glob == "":
		case y.kind == x.kind && globCovers(y.glob, x.glob):
			return i
		case y.kind == client && x.kind == user && everybody(y.glob):
			return i
		}
	}
	return -1
}
