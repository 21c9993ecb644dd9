package config

import (
	"net/url"
	"slices"
	"strings"
)

// inflight311 is the default of bridge.inflight for MQTT 3.1.1, whose servers
// cannot say how many they take: beyond its max_inflight_messages, 20 unless it is
// told otherwise, Mosquitto acknowledges QoS 2 messages and drops them.
const inflight311 = 20

func (k *checker) bridges() {
	names := map[string]string{}
	for i := range k.c.Bridges {
		path := index("bridge", i)
		b := &k.c.Bridges[i]
		name := k.name(path, b.Name, names)
		if len(b.Servers) == 0 {
			k.fail(path+".servers", "is missing: give at least one, such as [\"mqtt://broker.example.com:1883\"]")
		}
		for j, s := range b.Servers {
			if msg := serverProblem(s); msg != "" {
				k.fail(index(path+".servers", j), "%s", msg)
			}
		}
		if len(b.Up)+len(b.Down) == 0 {
			k.fail(path, "has no rules; give it a [[bridge.up]] or [[bridge.down]] with a filter")
		}
		now := known{"gateway": k.c.Gateway.ID, "bridge": name}
		if k.text(path+".client_id", &b.ClientID, now) && (b.ClientID == "" || len(b.ClientID) > maxTopic) {
			k.fail(path+".client_id", "must not be empty: the session at the cloud belongs to it")
		}
		b.Gateway, b.Given = k.c.Gateway.ID, k.c.keysOf(path)
		if field, ok := strings.CutPrefix(b.Stamp, "json:"); b.Stamp != "off" && b.Stamp != "properties" && (!ok || field == "") {
			k.fail(path+".stamp", "%q is none of off, properties, json:FIELD (such as json:gateway_info)", b.Stamp)
		}
		k.topicText(path+".status", &b.Status, now, true)
		k.topicText(path+".gaps", &b.Gaps, now, true)
		k.wholeSeconds(path+".keep_alive", int64(b.KeepAlive))
		k.wholeSeconds(path+".session_expiry", int64(b.SessionExpiry))
		if b.Backoff.Max < b.Backoff.Min {
			key := path + ".backoff.max"
			if !k.c.isSet(key) {
				key = path + ".backoff.min"
			}
			k.fail(key, "min (%s) must not be above max (%s)", showDuration(b.Backoff.Min), showDuration(b.Backoff.Max))
		}
		if b.Version != 5 && !k.c.isSet(path+".inflight") {
			b.Inflight = inflight311
		}
		k.rules(path, b, now)
		k.sameClient(i)
	}
}

// serverProblem says what is wrong with the URL of a cloud broker. It never
// quotes it: there may be a password in it.
func serverProblem(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Opaque != "" || u.Scheme == "":
		return "is not a URL such as mqtt://broker.example.com:1883"
	case !slices.Contains([]string{"mqtt", "mqtts", "ws", "wss"}, u.Scheme):
		return "has the scheme " + u.Scheme + "; there are mqtt, mqtts, ws and wss" + didYouMean(u.Scheme, []string{"mqtt", "mqtts", "ws", "wss"})
	case u.User != nil:
		return "must not have a user name in it; there are the keys username and password"
	case u.Hostname() == "":
		return "has no host name"
	case strings.HasPrefix(u.Scheme, "mqtt") && (u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != ""):
		return "must end after host and port"
	}
	if port := u.Port(); port != "" {
		if _, _, msg := splitHostPort("h:" + port); msg != "" || port == "0" {
			return "must have a port from 1 to 65535"
		}
	}
	return ""
}

// sameClient reports a bridge that would take over another's connection for ever.
func (k *checker) sameClient(i int) {
	b := &k.c.Bridges[i]
	for j := range i {
		o := &k.c.Bridges[j]
		if !b.Enabled || !o.Enabled || b.ClientID != o.ClientID {
			continue
		}
		for _, s := range b.Servers {
			if slices.Contains(o.Servers, s) {
				k.fail(index("bridge", i)+".client_id", "is %q, as %s's on the same server: each would disconnect the other; give them different ones", b.ClientID, index("bridge", j))
				return
			}
		}
	}
}
