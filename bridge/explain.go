package bridge

import (
	"fmt"
	"time"

	"packetboat/broker/topic"
	"packetboat/config"
)

// Route is what a bridge does with a topic, as its rules alone say. What a cloud
// does not take (its maximum QoS, retained messages) is known only when connected.
type Route struct {
	Rule      int     // which up or down rule takes it, from 0; -1: none
	Topic     string  // what the rule makes of it; "" when that is no valid topic
	QoS       [3]byte // of messages published at 0, 1 and 2
	Retain    bool    // RETAIN goes along
	Unreached []int   // rules behind Rule that match it too

	// Of up rules.
	Lane     int
	MaxAge   time.Duration // 0: no limit
	WhenFull string
	MaxSize  config.Size // of the lane, 0: no bound

	// Limits are what the profile allows, in words; Problem is why it does not allow
	// the topic: each message on it is a dead letter then.
	Limits  []string
	Problem string
}

// Explain says what the up rules make of a local topic. QoS is, for a message
// published at 0, 1 and 2, that at which it goes to the cloud.
func Explain(cfg config.Bridge, name string) (Route, error) {
	rules, err := rulesFor(cfg, name)
	if err != nil {
		return Route{}, err
	}
	r := router{rules: &rules}
	to := r.route(name)
	e := Route{Rule: -1, Topic: to.topic}
	for i := range rules.up {
		switch u := &rules.up[i]; {
		case u == to.rule:
			e.Rule = i
		case e.Rule >= 0 && topic.Match(u.filter, name):
			e.Unreached = append(e.Unreached, i)
		}
	}
	if e.Rule < 0 {
		return e, nil
	}
	p := profileOf(cfg.Profile)
	for qos := range e.QoS {
		e.QoS[qos] = min(to.rule.goesAt(byte(qos)), p.qos)
	}
	e.Limits = p.words()
	if e.Topic != "" {
		e.Problem = p.topicProblem(e.Topic, cfg.ClientID)
	}
	c := cfg.Up[e.Rule]
	e.Retain, e.Lane, e.MaxAge, e.WhenFull, e.MaxSize = to.rule.retain, to.rule.lane, c.MaxAge, c.WhenFull, c.MaxSize
	return e, nil
}

// goesAt is the QoS at which the rule has a message queued that was published at
// qos, as the broker settles it by [rules.subscriptions].
func (u *upRule) goesAt(qos byte) byte {
	if u.qos != config.Keep {
		return byte(u.qos)
	}
	return max(qos, u.minQoS)
}

// ExplainDown says what the down rules make of a topic at the cloud. QoS is, for
// a message published there at 0, 1 and 2, that which the rule asks for; where a
// message matches several subscriptions, a cloud may send it at the highest.
func ExplainDown(cfg config.Bridge, name string) (Route, error) {
	rules, err := rulesFor(cfg, name)
	if err != nil {
		return Route{}, err
	}
	rule, local := rules.local(name)
	e := Route{Rule: -1, Topic: local}
	for i := range rules.down {
		switch d := &rules.down[i]; {
		case d == rule:
			e.Rule = i
		case e.Rule >= 0 && topic.Match(d.filter, name):
			e.Unreached = append(e.Unreached, i)
		}
	}
	if e.Rule < 0 {
		return e, nil
	}
	for qos := range e.QoS {
		e.QoS[qos] = min(byte(qos), rule.qos, profileOf(cfg.Profile).qos)
	}
	e.Retain = rule.retain
	return e, nil
}

// rulesFor compiles the rules of a section to try a topic on them.
func rulesFor(cfg config.Bridge, name string) (rules, error) {
	if !topic.ValidName(name) {
		return rules{}, fmt.Errorf("%q is no topic that a message can be published to", name)
	}
	return compileRules(cfg.Up, cfg.Down)
}
