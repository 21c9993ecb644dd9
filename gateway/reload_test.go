package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"packetboat/bridge"
	"packetboat/broker"
	"packetboat/broker/store"
	"packetboat/config"
	"packetboat/gateway/admin"
)

const twoBridges = `
[[listener]]
address = "127.0.0.1:0"
[[bridge]]
name = "one"
servers = ["mqtt://127.0.0.1:1"]
[[bridge.up]]
filter = "a/#"
[[bridge]]
name = "two"
servers = ["mqtt://127.0.0.1:1"]
client_id = "g2"
[[bridge.up]]
filter = "b/#"
`

// reloadable is a gateway whose configuration is what file gives.
func reloadable(t *testing.T, text string) (r *running, g *Gateway, file func(text string)) {
	t.Helper()
	r = &running{t: t, ended: make(chan error, 1), states: make(chan string, 100)}
	next := text
	g = New(parse(t, text), Options{
		Log:    slog.New(newHandler("debug", "journal", r)),
		Notify: func(s string) { r.states <- s },
		Load: func() (*config.Config, error) {
			return config.Parse("p.toml", []byte("[gateway]\nid = \"g\"\n"+next), config.Options{})
		},
	})
	g.passed = func() sockets { return sockets{} }
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	t.Cleanup(r.cancel)
	go func() { r.ended <- g.Run(ctx) }()
	r.state("READY=1")
	return r, g, func(text string) { next = text }
}

func names(g *Gateway) (list []string) {
	for _, b := range g.bridges.all() {
		list = append(list, b.Name())
	}
	return list
}

func TestReloadAddsChangesAndRemovesBridges(t *testing.T) {
	text := sections(t, twoBridges)
	r, g, file := reloadable(t, text)
	reload := func(text string, want admin.Changes, bridges ...string) {
		t.Helper()
		file(text)
		did, err := g.Reload(t.Context())
		if err != nil || !reflect.DeepEqual(did, want) {
			t.Errorf("%+v, %v", did, err)
		}
		if got := names(g); !reflect.DeepEqual(got, bridges) {
			t.Errorf("bridges %q", got)
		}
		r.state("RELOADING=1\nMONOTONIC_USEC=")
		r.state("READY=1")
	}
	reload(text, admin.Changes{}, "one", "two")
	reload(strings.Replace(text, "a/#", "c/#", 1), admin.Changes{Changed: []string{"one"}}, "one", "two")
	one, _, _ := strings.Cut(text, "[[bridge]]\nname = \"two\"")
	reload(one, admin.Changes{Changed: []string{"one"}, Removed: []string{"two"}}, "one")
	reload(text, admin.Changes{Added: []string{"two"}}, "one", "two")
	reload(strings.Replace(text, "[[listener]]", "[broker]\nmax_sessions = 7\n[[listener]]", 1), admin.Changes{Restart: []string{"[broker]"}}, "one", "two")
	rule := func(user string) string { return "\n[[auth.rule]]\nuser = \"" + user + "\"\n" }
	reload(text+rule("a"), admin.Changes{Rules: true}, "one", "two")
	reload(text+rule("a"), admin.Changes{}, "one", "two")
	reload(text+rule("b"), admin.Changes{Rules: true}, "one", "two")
	reload(text, admin.Changes{Rules: true}, "one", "two")
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if _, err := g.Reload(t.Context()); err != ErrNotRunning {
		t.Errorf("after the end: %v", err)
	}
}

func TestAReloadThatCannotBeChangesNothing(t *testing.T) {
	text := sections(t, twoBridges)
	_, g, file := reloadable(t, text)
	before := g.bridges.all()
	for _, c := range []struct{ name, text, want string }{
		{"a mistake", strings.Replace(text, "b/#", "b/#/c", 1), "bridge[1].up[0].filter"},
		{"another gateway", strings.Replace(text, "data_dir", "require_mount = true\ndata_dir", 1), "restart the gateway"},
	} {
		file(c.text)
		if _, err := g.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if !reflect.DeepEqual(g.bridges.all(), before) {
			t.Errorf("%s: the bridges are others", c.name)
		}
	}
}

// Of two reloads at once the second reads the file when the first has acted on it:
// what is in force in the end is the newest file.
func TestReloadsAreOneAfterTheOther(t *testing.T) {
	text := sections(t, twoBridges)
	_, g, file := reloadable(t, text)
	load, second := g.opt.Load, make(chan error, 1)
	first := true
	g.opt.Load = func() (*config.Config, error) {
		cfg, err := load()
		if !first {
			return cfg, err
		}
		first = false
		select {
		case g.reloading <- struct{}{}:
			t.Error("another reload may begin while the file is read")
		default:
		}
		file(strings.Replace(text, "b/#", "new/#", 1)) // by the time the first acts
		go func() {
			_, err := g.Reload(context.Background())
			second <- err
		}()
		return cfg, err
	}
	if _, err := g.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	if got := g.bridges.sections()["two"].Up[0].Filter; got != "new/#" {
		t.Errorf("in force is %s", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	g.reloading <- struct{}{}
	if _, err := g.Reload(ended); err != context.Canceled {
		t.Errorf("somebody who does not wait: %v", err)
	}
}

// A bridge that takes the place of another, perhaps with its client id and the topic
// of its status, connects when that one has left.
func TestBridgesLeaveBeforeOthersConnect(t *testing.T) {
	text := sections(t, twoBridges)
	_, g, file := reloadable(t, text)
	make, made := g.bridges.make, 0
	g.bridges.make = func(c config.Bridge, replaces *bridge.Bridge) (*bridge.Bridge, error) {
		made++
		for _, b := range g.bridges.list {
			select {
			case <-b.part.done:
			default:
				t.Errorf("bridge %s runs while %s is made", b.Name(), c.Name)
			}
		}
		return make(c, replaces)
	}
	file(strings.NewReplacer(`"one"`, `"uno"`, `"two"`, "\"two\"\nkeep_alive = \"7s\"").Replace(text))
	did, err := g.Reload(t.Context())
	if want := (admin.Changes{Added: []string{"uno"}, Changed: []string{"two"}, Removed: []string{"one"}}); err != nil || made != 2 || !reflect.DeepEqual(did, want) {
		t.Errorf("%+v, %v, %d made", did, err, made)
	}
}

// What is retained while a bridge is not configured goes up when it is again: its
// rules are new then.
func TestRulesOfABridgeThatComesBackAreNew(t *testing.T) {
	text := sections(t, twoBridges)
	_, g, file := reloadable(t, text)
	waiting := func(want uint64) {
		t.Helper()
		if got := g.store.Lookup("bridge/two/0").Lag().Messages; got != want {
			t.Errorf("%d wait, not %d", got, want)
		}
	}
	reload := func(text string) {
		t.Helper()
		file(text)
		if _, err := g.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	retain := func(value string) {
		t.Helper()
		if _, err := g.broker.Publish(&broker.Message{Topic: "b/1", Payload: []byte(value), QoS: 1, Retain: true}); err != nil {
			t.Fatal(err)
		}
	}
	retain("first")
	waiting(1)
	one, _, _ := strings.Cut(text, "[[bridge]]\nname = \"two\"")
	reload(one)
	retain("second")
	waiting(1)
	reload(one) // of other parts
	reload(text)
	waiting(2)
	reload(strings.Replace(text, "a/#", "c/#", 1))
	waiting(2)
}

// A queue is not given to a bridge that a reload is just adding.
func TestNoQueueIsRenamedInTheMiddleOfAReload(t *testing.T) {
	text := strings.Replace(sections(t, twoBridges), `socket = ""`, fmt.Sprintf("socket = %q", filepath.Join(t.TempDir(), "s")), 1)
	one, _, _ := strings.Cut(text, "[[bridge]]\nname = \"two\"")
	r, g, file := reloadable(t, one)
	r.await("the socket answers", func() bool { return socketClient(t, g) != nil })
	if _, err := g.store.Consumer("bridge/old/0", store.LaneIDs(0)); err != nil {
		t.Fatal(err)
	}
	load, renamed := g.opt.Load, make(chan error, 1)
	g.opt.Load = func() (*config.Config, error) {
		go func() {
			_, err := socketClient(t, g).Rename(context.Background(), "bridge/old", "bridge/two")
			renamed <- err
		}()
		return load()
	}
	file(text)
	if _, err := g.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-renamed; err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("renamed to a bridge that runs: %v", err)
	}
	if g.store.Lookup("bridge/old/0") == nil {
		t.Error("the queue is gone")
	}
}

func socketClient(t *testing.T, g *Gateway) *admin.Client {
	c, err := admin.Dial(t.Context(), g.cfg.Admin.Socket)
	if err != nil {
		return nil
	}
	t.Cleanup(c.Close)
	return c
}
