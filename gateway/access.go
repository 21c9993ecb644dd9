package gateway

import (
	"errors"
	"strconv"
	"strings"

	"packetboat/broker/acl"
	"packetboat/config"
)

// AccessRules compiles the rules of who may publish and subscribe to what, nil when
// there are none: then everything is allowed. Its error joins values of type
// *acl.Error.
func AccessRules(list []config.AuthRule) (*acl.Rules, error) { return acl.Compile(accessRules(list)) }

func accessRules(list []config.AuthRule) []acl.Rule {
	rules := make([]acl.Rule, len(list))
	for i, r := range list {
		rules[i] = acl.Rule{
			User: r.User, Client: r.Client, Adapter: r.Adapter, Publish: patterns(r.Publish), Subscribe: patterns(r.Subscribe),
		}
	}
	return rules
}

func patterns(list []config.Template) []acl.Pattern {
	out := make([]acl.Pattern, len(list))
	for i, t := range list {
		for _, p := range t.Pieces() {
			out[i] = append(out[i], acl.Piece(p))
		}
	}
	return out
}

// rulesOf are those of a configuration, and one for each adapter that none of them names and
// that answers commands: it keeps to the topics of its own section. What it
// publishes by itself does so anyway; but a command says where its answer is to go,
// and who may command an adapter must not have it publish anywhere.
func rulesOf(c *config.Config) (*acl.Rules, error) {
	rules := accessRules(c.Auth.Rules)
	named, err := acl.Compile(rules)
	if err != nil || named == nil {
		return nil, err
	}
	own := func(s *config.Stream) {
		if s.Enabled && s.Command != nil && named.Inside("adapter/"+s.Name) == nil {
			rules = append(rules, ownTopics(s))
		}
	}
	for i := range c.Serial {
		own(&c.Serial[i].Stream)
	}
	for i := range c.TCP {
		own(&c.TCP[i].Stream)
	}
	return acl.Compile(rules)
}

// ownTopics is the rule of an adapter's own section.
func ownTopics(s *config.Stream) acl.Rule {
	r := acl.Rule{Adapter: acl.Quote(s.Name), Publish: []acl.Pattern{allOf(s.Topic)}}
	if !s.Status.IsZero() {
		r.Publish = append(r.Publish, allOf(s.Status))
	}
	for _, name := range []string{s.Command.Reply, s.Command.States} {
		if name != "" {
			r.Publish = append(r.Publish, acl.Pattern{{Text: name}})
		}
	}
	r.Subscribe = []acl.Pattern{allOf(s.Command.Topic)}
	return r
}

// allOf is the filter of all topics that a template gives: what stands for a part of
// a level is a level.
func allOf(t config.Template) acl.Pattern {
	const any = "\x00" // in no topic
	levels := strings.Split(string(t.Expand(nil, func(dst []byte, _ string) []byte { return append(dst, any...) })), "/")
	for i, l := range levels {
		if strings.Contains(l, any) {
			levels[i] = "+"
		}
	}
	return acl.Pattern{{Text: strings.Join(levels, "/")}}
}

// access reports mistakes in the rules.
func (c *checker) access() {
	_, err := AccessRules(c.cfg.Auth.Rules)
	if err == nil {
		return
	}
	all, ok := err.(interface{ Unwrap() []error })
	if !ok {
		c.fail("auth.rule", "%v", err)
		return
	}
	for _, e := range all.Unwrap() {
		var x *acl.Error
		if !errors.As(e, &x) {
			c.fail("auth.rule", "%v", e)
			continue
		}
		key := ruleKey(x.Rule) + "." + x.Key
		if x.By < 0 {
			c.fail(strings.TrimSuffix(key, "."), "%v", x.Err)
			continue
		}
		first := ruleKey(x.By)
		c.fail(key, "names only whom %s (%s, at %v) names, which comes first: this rule never decides; put it before that one",
			first, whoOf(&c.cfg.Auth.Rules[x.By]), c.cfg.At(first))
	}
}

func ruleKey(i int) string { return "auth.rule[" + strconv.Itoa(i) + "]" }

// whoOf is whom a rule names, as in the file.
func whoOf(r *config.AuthRule) string {
	switch {
	case r.User != "":
		return "user = " + strconv.Quote(r.User)
	case r.Client != "":
		return "client = " + strconv.Quote(r.Client)
	}
	return "adapter = " + strconv.Quote(r.Adapter)
}
