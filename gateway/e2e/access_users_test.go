package e2e

import (
	"strings"
	"testing"
)

// TestUsersKeepToTheAccessRulesOfTheirNames, whatever client identifiers they take,
// and a name that nobody has verified is none.
func TestUsersKeepToTheAccessRulesOfTheirNames(t *testing.T) {
	t.Parallel()
	g, _ := newGuarded(t, `[[auth.rule]]
user = "meter-*"
publish = ["meters/{user}/#"]
[[auth.rule]]
user = "room"
subscribe = ["#"]
`)
	g.passwd("one", "meter-1")
	g.passwd("two", "room")
	g.start()
	pub := func(user, password, id, topic, payload string) (out string) {
		out, _ = mosquittoClient(t, "mosquitto_pub", g.mqtt, "-V", "mqttv5", "-u", user, "-P", password, "-i", id, "-t", topic, "-m", payload, "-q", "1", "-r")
		return out
	}
	for _, c := range []struct {
		name, user, password, id, topic string
		refused                         bool
	}{
		{"another's topic", "meter-1", "one", "meter-2", "meters/meter-2/kwh", true},
		{"the topic of the identifier", "meter-1", "one", "meters", "meters/meters/kwh", true},
		{"a user who may only listen", "room", "two", "meter-1", "meters/meter-1/kwh", true},
		{"its own topic", "meter-1", "one", "x", "meters/meter-1/kwh", false},
	} {
		if out := pub(c.user, c.password, c.id, c.topic, c.name); strings.Contains(out, "Not authorized") != c.refused {
			t.Errorf("%s: %s", c.name, out)
		}
	}
	out, _ := mosquittoClient(t, "mosquitto_sub", g.mqtt, "-u", "room", "-P", "two", "-t", "#", "-C", "1", "-W", "20", "-F", "%t %p")
	if out != "meters/meter-1/kwh its own topic\n" {
		t.Errorf("what was published: %q", out)
	}
	g.stop()
}
