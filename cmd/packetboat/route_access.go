package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"packetboat/broker/acl"
	"packetboat/broker/topic"
	"packetboat/config"
	"packetboat/gateway"
)

// access is what a client may do with a topic, or subscribe to with a filter.
type access struct {
	User      string    `json:"user"`
	Client    string    `json:"client"`
	Publish   *decision `json:"publish,omitempty"` // not of a filter
	Subscribe *decision `json:"subscribe"`
}

// decision is what the access rules say.
type decision struct {
	Allowed bool        `json:"allowed"`
	By      string      `json:"by,omitempty"`     // the filter that allows it
	Rule    *accessRule `json:"rule"`             // null: none decides
	Allows  []string    `json:"allows,omitempty"` // what the rule allows this client instead
	Void    int         `json:"void,omitempty"`   // filters of the rule that the client's name will not do for
}

// accessRule is a rule and where it stands.
type accessRule struct {
	Key string `json:"key"`
	At  string `json:"at"`
}

// accessOf asks the rules of a configuration.
func accessOf(cfg *config.Config, user, client, name string) (*access, error) {
	if !topic.ValidFilter(name) {
		return nil, fmt.Errorf("%q is neither a topic nor a topic filter", name)
	}
	rules, err := gateway.AccessRules(cfg.Auth.Rules)
	if err != nil {
		return nil, err // load has checked it
	}
	a := &access{User: user, Client: client}
	rights := &acl.Rights{Rule: -1, Publish: acl.Filters{"#", name}, Subscribe: acl.Filters{"#", name}}
	if rules != nil {
		rights = rules.Client(user, client)
	}
	decide := func(own acl.Filters, of func(*config.AuthRule) []config.Template, allows func(acl.Filters) bool) *decision {
		d := &decision{Allowed: allows(own)}
		if rights.Rule < 0 {
			return d
		}
		key := fmt.Sprintf("auth.rule[%d]", rights.Rule)
		d.Rule = &accessRule{Key: key, At: cfg.At(key).String()}
		if d.Void = len(of(&cfg.Auth.Rules[rights.Rule])) - len(own); !d.Allowed {
			d.Allows = own
			return d
		}
		for i := range own {
			if allows(own[i : i+1]) {
				d.By = own[i]
				break
			}
		}
		return d
	}
	if topic.ValidName(name) {
		a.Publish = decide(rights.Publish, func(r *config.AuthRule) []config.Template { return r.Publish },
			func(l acl.Filters) bool { return l.Match(name) && !isBrokers(name) })
	}
	a.Subscribe = decide(rights.Subscribe, func(r *config.AuthRule) []config.Template { return r.Subscribe },
		func(l acl.Filters) bool { return l.Covers(name) })
	return a, nil
}

// isBrokers: nobody publishes to the broker's own topics, whatever the rules say.
func isBrokers(name string) bool { return name == "$SYS" || strings.HasPrefix(name, "$SYS/") }

func printAccess(out io.Writer, a *access, name string, anyRules bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "user %q, client %q\t%s\n", a.User, a.Client, name)
	if a.Publish != nil {
		text := a.Publish.text(anyRules)
		if isBrokers(name) {
			text = "DENIED: the topic is the broker's own"
		}
		fmt.Fprintf(w, "  publish\t%s\n", text)
	}
	fmt.Fprintf(w, "  subscribe\t%s\n", a.Subscribe.text(anyRules))
	return w.Flush()
}

func (d *decision) text(anyRules bool) string {
	switch {
	case !anyRules:
		return "allowed: there are no access rules"
	case d.Rule == nil:
		return "DENIED: no rule names this client"
	}
	rule := fmt.Sprintf("%s (at %s)", d.Rule.Key, d.Rule.At)
	if d.Allowed {
		return "allowed: " + d.By + ", " + rule
	}
	text := "DENIED: " + rule + " allows "
	if len(d.Allows) == 0 {
		text += "nothing"
	} else {
		text += strings.Join(d.Allows, ", ")
	}
	if d.Void > 0 {
		text += fmt.Sprintf("; %d of its filters ask for a name, which this client does not have, or with / + # or a leading $", d.Void)
	}
	return text
}
