package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"packetboat/bridge"
	"packetboat/broker/topic"
	"packetboat/config"
	"packetboat/gateway/quantity"
)

const routeHelp = `It explains, from the configuration alone, which [[bridge.up]] rule of each bridge
takes a local topic, and what becomes of it: the topic at the cloud, the QoS of a
message that was published at 0, 1 and 2, the priority, and what happens to it when
the queue is full. Rules behind that one which would match are named as well: the
first rule that matches carries the message. A bridge never sends back what it has
received from its own cloud.

With -down TOPIC is one at the cloud, and the [[bridge.down]] rules are looked at.
Nothing is connected to; a cloud may lower QoS and refuse RETAIN.

With -user NAME, -client ID or both it says before that whether such a client may
publish to the topic and subscribe to it, and which [[auth.rule]] decides. TOPIC may
be a filter then, to subscribe to.
`

// routes is what the bridges do with a topic.
type routes struct {
	Topic   string        `json:"topic"`
	Down    bool          `json:"down,omitempty"`   // it is one at the cloud
	Access  *access       `json:"access,omitempty"` // when a client was named
	Bridges []bridgeRoute `json:"bridges"`
}

// bridgeRoute is what one bridge does with it.
type bridgeRoute struct {
	Bridge    string    `json:"bridge"`
	Enabled   bool      `json:"enabled"`
	Rule      *ruleAt   `json:"rule"` // null: it takes nothing
	To        string    `json:"to,omitempty"`
	QoS       *[3]int   `json:"qos,omitempty"` // of what is published at 0, 1, 2
	Retain    bool      `json:"retain,omitempty"`
	Lane      *laneOfUp `json:"lane,omitempty"`
	Unreached []ruleAt  `json:"not_reached,omitempty"`
	Limits    []string  `json:"profile_limits,omitempty"`
	Problem   string    `json:"dead_letter,omitempty"` // why the profile does not allow it
}

// laneOfUp is where a message waits.
type laneOfUp struct {
	Priority int     `json:"priority"`
	MaxAge   float64 `json:"max_age_seconds"` // 0: for ever
	WhenFull string  `json:"when_full"`
	MaxSize  int64   `json:"max_size"` // 0: no bound of its own
}

// ruleAt is a rule and where it stands.
type ruleAt struct {
	Key    string `json:"key"`
	At     string `json:"at"`
	Filter string `json:"filter"`
}

func routeCommand(_ context.Context, e *env, args []string) int {
	f := e.flags()
	path := configFlag(f)
	down := f.Bool("down", false, "TOPIC is one at the cloud")
	user := f.String("user", "", "what may a client with this user `NAME` do")
	client := f.String("client", "", "... and with this client `ID`")
	asJSON := f.Bool("json", false, "JSON output")
	words, code, ok := e.parseWords(f, args)
	if !ok {
		return code
	}
	if len(words) != 1 {
		fmt.Fprintln(e.err, "packetboat route: usage: packetboat route TOPIC (packetboat help route)")
		return exitUsage
	}
	cfg, ok := e.load(*path)
	if !ok {
		return exitUsage
	}
	var r *routes
	var err error
	switch asked := *user != "" || *client != ""; {
	case asked && *down:
		err = errors.New("-user and -client ask about local topics, -down about those at the cloud")
	case asked:
		r, err = routesFor(cfg, words[0], *user, *client)
	default:
		r, err = routesOf(cfg, words[0], *down)
	}
	if err != nil {
		fmt.Fprintf(e.err, "packetboat route: %v\n", err)
		return exitUsage
	}
	if *asJSON {
		err = json.NewEncoder(e.out).Encode(r)
	} else {
		err = printAll(e.out, r, len(cfg.Auth.Rules) > 0)
	}
	if err != nil {
		return e.fail(err)
	}
	return exitFine
}

// routesFor asks the access rules too. A filter is asked about for them alone.
func routesFor(cfg *config.Config, name, user, client string) (*routes, error) {
	a, err := accessOf(cfg, user, client, name)
	if err != nil {
		return nil, err
	}
	if !topic.ValidName(name) {
		return &routes{Topic: name, Access: a, Bridges: []bridgeRoute{}}, nil
	}
	r, err := routesOf(cfg, name, false)
	if err == nil {
		r.Access = a
	}
	return r, err
}

func printAll(out io.Writer, r *routes, anyRules bool) error {
	if r.Access != nil {
		if err := printAccess(out, r.Access, r.Topic, anyRules); err != nil || !topic.ValidName(r.Topic) {
			return err
		}
		fmt.Fprintln(out)
	}
	return printRoutes(out, r)
}

// routesOf asks the rules of each bridge.
func routesOf(cfg *config.Config, name string, down bool) (*routes, error) {
	if !topic.ValidName(name) {
		return nil, fmt.Errorf("%q is no topic that a message can be published to: that is UTF-8 text, not empty, without wildcards (+ and #) and NUL", name)
	}
	r := &routes{Topic: name, Down: down, Bridges: []bridgeRoute{}}
	for i := range cfg.Bridges {
		b, err := routeOf(cfg, i, name, down)
		if err != nil {
			return nil, fmt.Errorf("bridge %s: %w", cfg.Bridges[i].Name, err)
		}
		r.Bridges = append(r.Bridges, b)
	}
	return r, nil
}

// routeOf asks the rules of the i-th bridge.
func routeOf(cfg *config.Config, i int, name string, down bool) (bridgeRoute, error) {
	b := &cfg.Bridges[i]
	explain, rule := bridge.Explain, func(j int) ruleAt {
		return newRuleAt(cfg, fmt.Sprintf("bridge[%d].up[%d]", i, j), b.Up[j].Filter)
	}
	if down {
		explain, rule = bridge.ExplainDown, func(j int) ruleAt {
			return newRuleAt(cfg, fmt.Sprintf("bridge[%d].down[%d]", i, j), b.Down[j].Filter)
		}
	}
	x := bridgeRoute{Bridge: b.Name, Enabled: b.Enabled}
	e, err := explain(*b, name)
	if err != nil || e.Rule < 0 {
		return x, err
	}
	takes := rule(e.Rule)
	x.Rule, x.To, x.Retain = &takes, e.Topic, e.Retain
	x.QoS = &[3]int{int(e.QoS[0]), int(e.QoS[1]), int(e.QoS[2])} // bytes would be Base64 in JSON
	if !down {
		x.Lane = &laneOfUp{Priority: e.Lane, MaxAge: e.MaxAge.Seconds(), WhenFull: e.WhenFull, MaxSize: int64(e.MaxSize)}
	}
	x.Limits, x.Problem = e.Limits, e.Problem
	for _, j := range e.Unreached {
		x.Unreached = append(x.Unreached, rule(j))
	}
	return x, nil
}

func newRuleAt(cfg *config.Config, key, filter string) ruleAt {
	return ruleAt{Key: key, At: cfg.At(key).String(), Filter: filter}
}

// printRoutes shows each bridge in a paragraph.
func printRoutes(out io.Writer, r *routes) error {
	if len(r.Bridges) == 0 {
		fmt.Fprintln(out, "no bridge is configured")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i := range r.Bridges {
		b := &r.Bridges[i]
		if i > 0 {
			fmt.Fprintln(w)
		}
		name := "bridge " + b.Bridge + notEnabled(b.Enabled)
		if b.Rule == nil {
			fmt.Fprintf(w, "%s\ttakes nothing: no rule matches\n", name)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\n", name, toText(r.Topic, b))
		fmt.Fprintf(w, "  rule\t%s, %s (at %s)\n", b.Rule.Filter, b.Rule.Key, b.Rule.At)
		fmt.Fprintf(w, "  QoS\t%s\n", qosText(b.QoS))
		fmt.Fprintf(w, "  retain\t%s\n", map[bool]string{true: "as published", false: "never"}[b.Retain])
		if l := b.Lane; l != nil {
			fmt.Fprintf(w, "  priority\t%d, queue bridge/%s/%d\n", l.Priority, b.Bridge, l.Priority)
			fmt.Fprintf(w, "  waits\t%s\n", waitsText(l))
		}
		if len(b.Limits) > 0 {
			fmt.Fprintf(w, "  profile\t%s\n", strings.Join(b.Limits, ", "))
		}
		if b.Problem != "" {
			fmt.Fprintf(w, "  DEAD LETTER\t%s\n", b.Problem)
		}
		for _, u := range b.Unreached {
			fmt.Fprintf(w, "  not reached\t%s, %s (at %s)\n", u.Filter, u.Key, u.At)
		}
	}
	return w.Flush()
}

func toText(name string, b *bridgeRoute) string {
	if b.To == "" {
		return "takes it and gives it up: the rule makes no valid topic of it"
	}
	return name + " -> " + b.To
}

func qosText(qos *[3]int) string {
	if *qos == [3]int{0, 1, 2} {
		return "as published"
	}
	return fmt.Sprintf("0 -> %d, 1 -> %d, 2 -> %d", qos[0], qos[1], qos[2])
}

func waitsText(l *laneOfUp) string {
	text := "until it is delivered"
	if l.MaxAge > 0 {
		text = "at most " + quantity.Seconds(l.MaxAge)
	}
	text += "; when full: " + l.WhenFull
	if l.MaxSize > 0 {
		text += fmt.Sprintf(", beyond %v of this priority", config.Size(l.MaxSize))
	}
	return text
}
