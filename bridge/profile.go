package bridge

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"packetboat/broker"
	"packetboat/broker/store"
	"packetboat/config"
)

// A profile is what a kind of cloud demands beyond MQTT. It is data, from the
// services' own documentation of 2026: what is in it is checked with the
// configuration as far as that shows it, and with each message when it is
// published. 0 and nil mean no limit.
type profile struct {
	name     string
	versions []config.Version // the first is the default
	tls      bool             // nothing else is served

	qos      byte // the most that is taken, both ways
	noRetain bool // RETAIN is refused, or means something else
	inflight int  // unacknowledged at a time, each way
	payload  int  // bytes of a message

	clientID int // bytes
	topic    int // bytes
	slashes  int // in a topic or filter
	uncount  int // slashes of a topic that begins with uncounted
	prefix   string

	filters      int // subscriptions of a connection
	keepAliveMin time.Duration
	keepAliveMax time.Duration

	rate      int           // publishes a second
	byteRate  int           // bytes a second, about
	connects  time.Duration // between two CONNECTs of one client
	tokenLife time.Duration // of tokens that are made from a key

	// publish and subscribe are what topics and filters begin with, {client} being
	// the client id; nil is anything.
	publish, subscribe []string

	noStatus bool   // the status topic is "" unless the configuration has one
	gaps     string // the gaps topic, unless the configuration has one; "" as usual
	username string // unless the configuration has one; {server}, {client}
}

// profileOf returns the profile of that name; validation has seen to it that there
// is one.
func profileOf(name string) *profile {
	switch name {
	case "aws-iot":
		return &profile{
			name: name, versions: []config.Version{5, 4}, tls: true,
			qos: 1, inflight: 100, payload: 128 << 10,
			clientID: 128, topic: 256, slashes: 7, uncount: 3, prefix: "$aws/rules/",
			filters: 50, keepAliveMin: 30 * time.Second, keepAliveMax: 1200 * time.Second,
			rate: 100, byteRate: 512 << 10, connects: time.Second,
		}
	case "azure-iot-hub":
		return &profile{
			name: name, versions: []config.Version{4}, tls: true,
			qos: 1, noRetain: true, payload: 256 << 10,
			clientID: 128, keepAliveMax: 1177 * time.Second,
			publish:   []string{"devices/{client}/messages/events/", "$iothub/twin/", "$iothub/methods/res/"},
			subscribe: []string{"devices/{client}/messages/devicebound/", "$iothub/twin/", "$iothub/methods/"},
			noStatus:  true, gaps: "devices/{client}/messages/events/packetboat=gaps",
			username: "{server}/{client}/?api-version=2021-04-12", tokenLife: time.Hour,
		}
	}
	return &profile{name: "generic", qos: 2}
}

// settle gives cfg the profile's values where the configuration says nothing.
func (p *profile) settle(cfg *config.Bridge) {
	given := func(key string) bool { return slices.Contains(cfg.Given, key) }
	if p.versions != nil && !given("version") {
		cfg.Version = p.versions[0]
	}
	if p.inflight > 0 && !given("inflight") {
		cfg.Inflight = p.inflight
	}
	if p.noStatus && !given("status") {
		cfg.Status = ""
	}
	if p.gaps != "" && !given("gaps") {
		cfg.Gaps = p.fill(p.gaps, cfg.ClientID)
	}
}

func (p *profile) fill(s, client string) string { return strings.ReplaceAll(s, "{client}", client) }

// check finds what of the configuration the cloud would not take; bad reports it by
// key.
func (p *profile) check(cfg *config.Bridge, bad func(key, format string, args ...any)) {
	if p.name == "generic" {
		if cfg.TokenKeyFile != "" {
			bad("token_key_file", `makes tokens for profile = "azure-iot-hub" only`)
		}
		return
	}
	if !slices.Contains(p.versions, cfg.Version) {
		bad("version", "%s: %s speaks %s only", cfg.Version, p.name, p.versions[0])
	}
	if p.clientID > 0 && len(cfg.ClientID) > p.clientID {
		bad("client_id", "has %d bytes; %s takes %d", len(cfg.ClientID), p.name, p.clientID)
	}
	if p.inflight > 0 && cfg.Inflight > p.inflight {
		bad("inflight", "%d: %s takes %d unacknowledged messages", cfg.Inflight, p.name, p.inflight)
	}
	if p.keepAliveMin > 0 && cfg.KeepAlive < p.keepAliveMin || p.keepAliveMax > 0 && cfg.KeepAlive > p.keepAliveMax {
		bad("keep_alive", "%v: %s takes %v to %v", cfg.KeepAlive, p.name, max(p.keepAliveMin, time.Second), p.keepAliveMax)
	}
	for i, s := range cfg.Servers {
		if scheme, _, _ := strings.Cut(s, ":"); p.tls && scheme != "mqtts" && scheme != "wss" {
			bad(fmt.Sprintf("servers[%d]", i), "has the scheme %s; %s is reached by TLS only: mqtts, or wss", scheme, p.name)
		}
	}
	p.checkCredentials(cfg, bad)
	for _, t := range []struct{ key, topic string }{{"status", cfg.Status}, {"gaps", cfg.Gaps}} {
		if t.topic == "" {
			continue
		}
		if why := p.topicProblem(t.topic, cfg.ClientID); why != "" {
			bad(t.key, `%q: %s; or "" for none`, t.topic, why)
		}
	}
	p.checkRules(cfg, bad)
}

func (p *profile) checkCredentials(cfg *config.Bridge, bad func(key, format string, args ...any)) {
	if p.tokenLife == 0 {
		if cfg.TokenKeyFile != "" {
			bad("token_key_file", `makes tokens for profile = "azure-iot-hub" only`)
		}
		return
	}
	switch {
	case cfg.TokenKeyFile != "" && cfg.Password != "":
		bad("token_key_file", "is set beside password; give one of them")
	case cfg.TokenKeyFile == "" && cfg.Password == "" && cfg.TLS.Cert == "":
		bad("token_key_file", "is missing: %s wants a token, made from the key of the device in this file, or tls.cert", p.name)
	}
}

// checkRules checks as much of the rules as does not depend on a message.
func (p *profile) checkRules(cfg *config.Bridge, bad func(key, format string, args ...any)) {
	for i := range cfg.Up {
		u := &cfg.Up[i]
		key := func(k string) string { return fmt.Sprintf("up[%d].%s", i, k) }
		if u.QoS > config.UpQoS(p.qos) {
			bad(key("qos"), "%v: %s takes at most QoS %d", u.QoS, p.name, p.qos)
		}
		if u.MinQoS > int(p.qos) {
			bad(key("min_qos"), "%d: %s takes at most QoS %d", u.MinQoS, p.name, p.qos)
		}
		if why := p.topicProblem(leastTopic(u.Topic, u.Filter), cfg.ClientID); why != "" {
			bad(key("topic"), "%q: %s", u.Topic.String(), why)
		}
	}
	for i := range cfg.Down {
		f := cfg.Down[i].Filter
		if why := p.filterProblem(f, cfg.ClientID); why != "" {
			bad(fmt.Sprintf("down[%d].filter", i), "%q: %s", f, why)
		}
	}
	if p.filters > 0 && len(cfg.Down) > p.filters {
		bad(fmt.Sprintf("down[%d].filter", p.filters), "is one too many: %s takes %d subscriptions", p.name, p.filters)
	}
}

// leastTopic is the shortest topic that a template can make of what its filter
// takes.
func leastTopic(t config.Template, filter string) string {
	least := strings.NewReplacer("+", "x", "/#", "", "#", "x").Replace(filter)
	return string(t.Expand(nil, func(dst []byte, name string) []byte {
		if name == "topic" {
			return append(dst, least...)
		}
		return append(dst, 'x')
	}))
}

// topicProblem says why the cloud would not take a topic; "" if it does.
func (p *profile) topicProblem(topic, client string) string {
	if p.topic > 0 && len(topic) > p.topic {
		return fmt.Sprintf("%d bytes of topic, %s takes %d", len(topic), p.name, p.topic)
	}
	if why := p.slashProblem(topic); why != "" {
		return why
	}
	return p.prefixProblem(topic, client, p.publish, "messages on")
}

func (p *profile) filterProblem(filter, client string) string {
	if p.topic > 0 && len(filter) > p.topic {
		return fmt.Sprintf("%d bytes, %s takes %d", len(filter), p.name, p.topic)
	}
	if why := p.slashProblem(filter); why != "" {
		return why
	}
	return p.prefixProblem(filter, client, p.subscribe, "subscriptions to")
}

func (p *profile) slashProblem(topic string) string {
	if p.slashes == 0 {
		return ""
	}
	n, most := strings.Count(topic, "/"), p.slashes
	if p.prefix != "" && strings.HasPrefix(topic, p.prefix) {
		most += p.uncount
	}
	if n > most {
		return fmt.Sprintf("%d slashes, %s takes %d", n, p.name, most)
	}
	return ""
}

func (p *profile) prefixProblem(topic, client string, allowed []string, what string) string {
	if allowed == nil {
		return ""
	}
	shown := make([]string, len(allowed))
	for i, a := range allowed {
		shown[i] = p.fill(a, client)
		if strings.HasPrefix(topic, shown[i]) {
			return ""
		}
	}
	return fmt.Sprintf("%s takes %s %s… only", p.name, what, strings.Join(shown, "…, "))
}

// judge says why the cloud would not take a message on that topic; 0 if it does.
func (p *profile) judge(topic, client string, payload int) (why store.Reason, text string) {
	if p.payload > 0 && payload > p.payload {
		return store.TooLarge, fmt.Sprintf("%d bytes of payload, %s takes %d", payload, p.name, p.payload)
	}
	if text := p.topicProblem(topic, client); text != "" {
		return store.Unfit, fmt.Sprintf("topic %q: %s", topic, text)
	}
	return 0, ""
}

// judgeOf is judge for messages that a rule takes, as the router asks; nil when
// there is nothing to ask.
func (p *profile) judgeOf(u *upRule, client string) func(m *broker.Message, qos byte) (store.Reason, string) {
	if p.payload == 0 && p.topic == 0 && p.slashes == 0 && p.publish == nil {
		return nil
	}
	return func(m *broker.Message, _ byte) (store.Reason, string) {
		topic := u.topicOf(m.Topic)
		if topic == "" {
			return 0, "" // told when it is sent, with the rules of then
		}
		return p.judge(topic, client, len(m.Payload))
	}
}

// most are the profile's limits on top of the server's.
func (p *profile) most(l limits) limits {
	if p.inflight > 0 {
		l.inFlight = min(l.inFlight, p.inflight)
	}
	l.qos = min(l.qos, p.qos)
	l.retain = l.retain && !p.noRetain
	return l
}

// words are the limits for people.
func (p *profile) words() (list []string) {
	add := func(is bool, format string, args ...any) {
		if is {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	add(p.qos < 2, "QoS %d at most", p.qos)
	add(p.noRetain, "no RETAIN")
	add(p.payload > 0, "%v of payload", config.Size(p.payload))
	add(p.topic > 0, "%d bytes of topic", p.topic)
	add(p.slashes > 0, "%d slashes in a topic", p.slashes)
	add(p.inflight > 0, "%d messages in flight", p.inflight)
	add(p.rate > 0, "%d messages a second", p.rate)
	add(p.byteRate > 0, "%v a second", config.Size(p.byteRate))
	return list
}
