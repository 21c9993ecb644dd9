package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A knob is a part of a configuration of which there are several versions; the first
// is the one in which everything that was acknowledged can reach its goal.
type knob struct {
	name     string
	versions []string
	now      int
}

// knobs make a configuration. The order of those of one section is that of the table.
type knobs []knob

// turn changes one to three of them.
func (k knobs) turn(r *rand.Rand) {
	for range 1 + r.IntN(3) {
		x := &k[r.IntN(len(k))]
		x.now = r.IntN(len(x.versions))
	}
}

// reset puts all to their first version.
func (k knobs) reset() {
	for i := range k {
		k[i].now = 0
	}
}

func (k knobs) String() string {
	var b strings.Builder
	for i := range k {
		fmt.Fprintf(&b, "%s\n", k[i].versions[k[i].now])
	}
	return b.String()
}

// state names the versions, for the log.
func (k knobs) state() string {
	var b strings.Builder
	for i := range k {
		fmt.Fprintf(&b, "%s=%d ", k[i].name, k[i].now)
	}
	return b.String()
}

// places are the addresses that a configuration in turmoil has.
type places struct {
	cloud, link, nobody string    // bridges'
	doors               [3]string // listeners that may be there
	logger              [2]string // the TCP adapter's
	valve, spare        string
	terminal            string // "" = there are no pseudo terminals
}

// newKnobs is everything about a configuration that a reload can change.
//
// The bridge "cloud" is always there and takes sensors/#, whatever its rules: what is
// published there has to arrive. The bridge "second" comes and goes, with its servers,
// versions and client ids; it owes what it was there for. The clients and devices have
// their own ways to listeners and adapters, one of which is always open.
func newKnobs(p *places) knobs {
	servers := func(list ...string) string {
		for i := range list {
			list[i] = fmt.Sprintf("%q", "mqtt://"+list[i])
		}
		return "servers = [" + strings.Join(list, ", ") + "]"
	}
	door := func(i int, more string) string {
		return fmt.Sprintf("[[listener]]\naddress = %q\nanonymous = true\n%s\n", p.doors[i], more)
	}
	up := func(filter, more string) string { return fmt.Sprintf("[[bridge.up]]\nfilter = %q\n%s\n", filter, more) }
	second := func(server, more, rules string) string {
		return fmt.Sprintf("[[bridge]]\nname = \"second\"\nbackoff = { min = \"10ms\", max = \"100ms\", stable = \"1s\" }\nstatus = \"\"\n%s\n%s\n%s",
			servers(server), more, rules)
	}
	logger := func(i int, more string) string {
		return fmt.Sprintf("[[tcp]]\nname = \"logger\"\nack = \"OK\\n\"\nlisten = %q\n%s\n", p.logger[i], more)
	}
	valve := func(more, command string) string {
		return fmt.Sprintf("[[tcp]]\nname = \"valve\"\nlisten = %q\n%s\n[tcp.command]\ntopic = \"local/valve\"\nreply = \"\"\n%s\n", p.valve, more, command)
	}
	spare := func(name, more string) string {
		return fmt.Sprintf("[[tcp]]\nname = %q\nlisten = %q\n%s\n", name, p.spare, more)
	}
	everybody := "[[auth.rule]]\nclient = \"*\"\npublish = [\"#\"]\nsubscribe = [\"#\"]\n"
	k := knobs{
		{name: "limits", versions: []string{"", "[limits]\nmessages_per_second = 5000", "[limits]\nfailed_logins = 3\nbytes_per_second = \"10MiB\""}},
		{name: "log", versions: []string{"", "[log]\nlevel = \"debug\""}},
		{name: "rules", versions: []string{
			"", everybody,
			"[[auth.rule]]\nuser = \"ann\"\npublish = [\"x\"]\n" + everybody,
			everybody + "[[auth.rule]]\nadapter = \"logger\"\npublish = [\"sensors/#\"]\n",
		}},
		{name: "doors", versions: []string{
			door(0, ""), door(0, "") + door(1, ""), door(1, ""), door(0, "max_connections = 50"), door(1, "") + door(2, "transport = \"websocket\""),
		}},
		{name: "cloud.servers", versions: []string{
			"[[bridge]]\nname = \"cloud\"\nshared_sessions = true\nbackoff = { min = \"10ms\", max = \"100ms\", stable = \"1s\" }\n" + servers(p.cloud),
			"[[bridge]]\nname = \"cloud\"\nshared_sessions = true\nbackoff = { min = \"10ms\", max = \"100ms\", stable = \"1s\" }\n" + servers(p.link),
			"[[bridge]]\nname = \"cloud\"\nshared_sessions = true\nbackoff = { min = \"10ms\", max = \"50ms\", stable = \"1s\" }\n" + servers(p.link, p.cloud),
			"[[bridge]]\nname = \"cloud\"\nshared_sessions = true\nbackoff = { min = \"10ms\", max = \"50ms\", stable = \"1s\" }\n" + servers(p.nobody, p.cloud),
			"[[bridge]]\nname = \"cloud\"\nshared_sessions = true\nbackoff = { min = \"10ms\", max = \"50ms\", stable = \"1s\" }\n" + servers(p.nobody),
		}},
		{name: "cloud.inflight", versions: []string{"", "inflight = 1", "inflight = 7", "inflight = 1024"}},
		{name: "cloud.rate", versions: []string{"", "rate = 500", "ack_timeout = \"5s\"", "keep_alive = \"5s\""}},
		{name: "cloud.told", versions: []string{"", "status = \"\"", "gaps = \"\"", "stamp = \"off\"", "dead_letter_size = \"0\"", "retries = 1"}},
		{name: "cloud.up", versions: []string{
			up("sensors/#", "topic = \"sites/{gateway}/{1}\""),
			up("sensors/#", "topic = \"elsewhere/{1}\""),
			up("sensors/lanes", "priority = 3") + up("sensors/#", ""),
			up("sensors/lanes", "priority = 1\nwhen_full = \"reject\"\nmax_size = \"2MiB\"") + up("sensors/+", "topic = \"flat/{1}\"") + up("sensors/#", ""),
			up("sensors/loose", "qos = 1\npriority = 2") + up("sensors/#", "when_full = \"drop-newest\"\nmax_size = \"6MiB\""),
			up("sensors/loose", "qos = 2\nretain = \"never\"") + up("sensors/#", "min_qos = 1"),
		}},
		{name: "cloud.down", versions: []string{
			"[[bridge.down]]\nfilter = \"cmd/#\"\ntopic = \"local/{1}\"\n",
			"[[bridge.down]]\nfilter = \"more/#\"\n[[bridge.down]]\nfilter = \"cmd/#\"\ntopic = \"local/{1}\"\n",
			"[[bridge.down]]\nfilter = \"cmd/#\"\ntopic = \"local/{1}\"\nretain = \"never\"\n",
		}},
		{name: "second", versions: []string{
			second(p.cloud, "client_id = \"s-a\"", up("other/#", "")),
			"",
			second(p.cloud, "client_id = \"s-a\"\nenabled = false", up("other/#", "")),
			second(p.link, "client_id = \"s-a\"", up("other/#", "topic = \"o/{1}\"")),
			second(p.cloud, "client_id = \"s-b\"\nversion = \"3.1.1\"", up("other/#", "")),
			second(p.nobody, "client_id = \"s-b\"", up("other/+", "priority = 0")),
			second(p.link, "client_id = \"s-a\"\ninflight = 3\nstamp = \"off\"", up("other/#", "")),
		}},
		{name: "logger", versions: []string{
			logger(0, "topic = \"sensors/logger\""),
			logger(1, "topic = \"sensors/logger\""),
			logger(0, "topic = \"sensors/logger\"\nretain = true\nstatus = \"\""),
			logger(0, "topic = \"sensors/log/ger\"\nmax_connections = 5"),
			logger(1, "topic = \"sensors/logger\"\nenabled = false"),
			logger(1, "topic = \"sensors/logger\"\nframe = { type = \"delimiter\", bytes = \"\\n\" }"),
			"",
		}},
		{name: "valve", versions: []string{
			valve("", "ttl = \"10m\""), valve("", "ttl = \"20m\""), valve("silent_after = \"1s\"", "ttl = \"10m\""), valve("status = \"\"", "ttl = \"10m\"\nstates = \"\""),
		}},
		{name: "spare", versions: []string{"", spare("spare", ""), spare("other", ""), spare("spare", "idle_timeout = \"1s\"")}},
	}
	if p.terminal != "" {
		scale := func(more string) string {
			return fmt.Sprintf("[[serial]]\nname = \"scale\"\nport = %q\ntopic = \"sensors/scale\"\n%s\n", p.terminal, more)
		}
		k = append(k, knob{name: "scale", versions: []string{scale(""), scale("baud = 19200"), scale("enabled = false"), "", scale("retain = true")}})
	}
	return k
}
