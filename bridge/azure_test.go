package bridge

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

var sasLife = flag.Duration("sas-life", 2*time.Second, "how long tokens live in the test of Azure's profile; the acceptance list says 5s")

const azureSignature = "SharedAccessSignature sr=hub.azure-devices.net%2Fdevices%2Fmy%20device%2F1&sig=AgaPEk%2FWlAjI3TpNwcgA8Gmk%2BgQuiyOfYBPE9N%2BGfio%3D&se=1700000000"

const deviceKey = "c2VjcmV0IG9mIHRoZSBkZXZpY2U="

// azureRules is Azure IoT Hub as far as it is strict.
type azureRules struct {
	violations []string
	tokens     []string
	expiry     time.Time
}

func (a *azureRules) judge(up bool, typ byte, frame []byte) verdict {
	if !up {
		return pass
	}
	why := ""
	_, flags, body, _, err := packet.Next(frame, 0)
	switch {
	case err != nil:
		why = err.Error()
	case typ == packet.CONNECT:
		why = a.connect(body)
	case !time.Now().Before(a.expiry):
		why = "the token has expired"
	case typ == packet.PUBLISH:
		var p packet.Publish
		if err := packet.ParsePublish(flags, body, packet.V311, &p); err != nil {
			why = err.Error()
		} else if p.QoS == 2 || p.Retain || !strings.HasPrefix(p.Topic, "devices/gw1/messages/events/") || len(p.Payload) > 256<<10 {
			why = fmt.Sprintf("PUBLISH at QoS %d on %s", p.QoS, p.Topic)
		}
	}
	if why == "" {
		return pass
	}
	a.violations = append(a.violations, why)
	return cutBefore
}

func (a *azureRules) connect(body []byte) string {
	var p packet.Connect
	if err := packet.ParseConnect(body, &p); err != nil {
		return err.Error()
	}
	token := string(p.Password)
	_, se, _ := strings.Cut(token, "&se=")
	unix, err := strconv.ParseInt(se, 10, 64)
	if err != nil {
		return "no expiry in " + token
	}
	a.expiry = time.Unix(unix, 0)
	want, err := signature("hub.azure-devices.net", "gw1", deviceKey, a.expiry)
	switch {
	case p.Version != packet.V311:
		return "version"
	case err != nil || token != want:
		return "token " + token
	case p.User != "hub.azure-devices.net/gw1/?api-version=2021-04-12":
		return "user " + p.User
	case p.Will != nil:
		return "a will on a topic of its own"
	}
	a.tokens = append(a.tokens, token)
	return ""
}

func azureRig(t *testing.T, change func(*config.Bridge)) (*rig, *azureRules) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(deviceKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rules := &azureRules{}
	r := newRig(t, func(c *config.Bridge) {
		c.Servers = []string{"mqtts://hub.azure-devices.net"}
		c.Profile, c.TokenKeyFile, c.DeadLetterSize = "azure-iot-hub", key, 1<<20
		c.Status, c.Gaps = "gw1/status", "gw1/gaps" // not in Given: the defaults
		c.Up = []config.Up{up("t/#", "devices/gw1/messages/events/topic={1}"), up("free/#", "devices/gw1/messages/events/{1}")}
		c.Down = []config.Down{down("devices/gw1/messages/devicebound/#", "cmd/{1}", 2)}
		if change != nil {
			change(c)
		}
	})
	r.faults.set(rules.judge)
	return r, rules
}

// TestTokensAreRenewedBetweenAcknowledgements: nothing is lost, repeated or out of
// order, the hub never has to hang up.
func TestTokensAreRenewedBetweenAcknowledgements(t *testing.T) {
	r, rules := azureRig(t, nil)
	r.start()
	r.bridge.profile.tokenLife = *sasLife
	r.run()
	n := 0
	r.cloud.onPublish = func(*packet.Publish) (byte, bool) { return 0, true }
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	renewals := func() (k int) {
		r.faults.mu.Lock()
		defer r.faults.mu.Unlock()
		return len(rules.tokens)
	}
	for range tick.C {
		if renewals() >= 5 { // two for the first connection, which makes the session
			break
		}
		r.publish(store.Message{Topic: "t/1", Payload: fmt.Append(nil, n), QoS: byte(1 + n%2)})
		n++
	}
	r.awaitIdle()
	if got := r.cloud.payloads(); !slices.Equal(got, numbers(0, n)) {
		t.Errorf("%d messages arrived, want %d, in order, each once", len(got), n)
	}
	r.cloud.do(func() {
		if slices.ContainsFunc(r.cloud.frames, func(f string) bool { return strings.Contains(f, " dup ") }) {
			t.Error("messages were in flight when a token was renewed")
		}
	})
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	if len(rules.violations) > 0 || len(slices.Compact(slices.Clone(rules.tokens))) < 4 {
		t.Errorf("violations %q, tokens %q", rules.violations, rules.tokens)
	}
	if got := r.bridge.Stats(); got.SessionsLost > 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestTheProfileOfAzureWithAHostileWorkload(t *testing.T) {
	r, rules := azureRig(t, func(c *config.Bridge) {
		c.Up = append(c.Up, up("any/#", "devices/gw1/messages/events/{1}"))
	})
	r.segment = 2 << 20
	r.start()
	r.publish(store.Message{Topic: "t/1", Payload: []byte("a"), QoS: 2, Retain: true})
	r.publish(store.Message{Topic: "t/1", Payload: make([]byte, 256<<10+1), QoS: 2})
	r.publish(store.Message{Topic: "any/1", Payload: []byte("b"), QoS: 1})
	lane := r.bridge.lanes[0].consumer
	lane.GiveUp(0, store.Purged, "") // a gap to tell of
	r.run()
	r.awaitIdle()
	var got []string
	r.cloud.do(func() {
		for _, p := range r.cloud.got {
			got = append(got, p.Topic)
		}
	})
	slices.Sort(got)
	if want := []string{"devices/gw1/messages/events/1", "devices/gw1/messages/events/packetboat=gaps", "devices/gw1/messages/events/packetboat=gaps"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	r.deadLetters("too large: 262145 bytes of payload", string(make([]byte, 256<<10+1)))
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	if len(rules.violations) > 0 {
		t.Errorf("violations %q", rules.violations)
	}
}

func TestTheKeyOfTokensIsReadAnew(t *testing.T) {
	r, rules := azureRig(t, nil)
	if err := os.WriteFile(r.cfg.TokenKeyFile, []byte("no key!"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.run()
	s := r.awaitState(BackingOff)
	if s.Err == nil || !strings.Contains(s.Err.Error(), "is not base64") || strings.Contains(s.Err.Error(), "no key!") {
		t.Errorf("state %v", s)
	}
	var bad *ConfigError
	if err := CheckFiles(r.cfg); !errors.As(err, &bad) || bad.Key != "token_key_file" {
		t.Errorf("CheckFiles: %v", err)
	}
	if err := os.WriteFile(r.cfg.TokenKeyFile, []byte(deviceKey), 0o600); err != nil {
		t.Fatal(err)
	}
	r.awaitState(Online)
	if err := CheckFiles(r.cfg); err != nil {
		t.Errorf("CheckFiles: %v", err)
	}
	r.halt()
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	if len(rules.violations) > 0 {
		t.Errorf("violations %q", rules.violations)
	}
}

// TestASignatureOfAzure against one that was worked out with Python's hmac.
func TestASignatureOfAzure(t *testing.T) {
	got, err := signature("hub.azure-devices.net", "my device/1", deviceKey, time.Unix(1700000000, 0))
	if err != nil || got != azureSignature {
		t.Errorf("got  %s, %v\nwant %s", got, err, azureSignature)
	}
}

// TestMistakesAgainstAProfile are found with the configuration.
func TestMistakesAgainstAProfile(t *testing.T) {
	aws := func(change func(*config.Bridge)) func(*config.Bridge) {
		return func(c *config.Bridge) {
			c.Profile, c.Servers, c.Inflight = "aws-iot", []string{"mqtts://a"}, 100
			change(c)
		}
	}
	azure := func(change func(*config.Bridge)) func(*config.Bridge) {
		return func(c *config.Bridge) {
			c.Profile, c.Servers, c.TokenKeyFile = "azure-iot-hub", []string{"mqtts://a"}, "key"
			c.Up = []config.Up{up("#", "devices/gw1/messages/events/t={1}")}
			change(c)
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*config.Bridge)
		want   string
	}{
		{"fine", aws(func(*config.Bridge) {}), ""},
		{"fine too", azure(func(*config.Bridge) {}), ""},
		{"no TLS", aws(func(c *config.Bridge) { c.Servers = []string{"mqtts://a", "mqtt://b"} }), "servers[1]: has the scheme mqtt; aws-iot is reached by TLS only"},
		{"QoS 2", aws(func(c *config.Bridge) { c.Up[0].QoS = 2 }), "up[0].qos: 2: aws-iot takes at most QoS 1"},
		{"at least QoS 2", aws(func(c *config.Bridge) { c.Up[0].MinQoS = 2 }), "up[0].min_qos: 2: aws-iot"},
		{"in flight", aws(func(c *config.Bridge) { c.Inflight, c.Given = 101, []string{"inflight"} }), "inflight: 101: aws-iot takes 100"},
		{"keep alive", aws(func(c *config.Bridge) { c.KeepAlive = 10 * time.Second }), "keep_alive: 10s: aws-iot takes 30s to 20m0s"},
		{"client id", aws(func(c *config.Bridge) { c.ClientID = strings.Repeat("x", 129) }), "client_id: has 129 bytes"},
		{"slashes of a template", aws(func(c *config.Bridge) { c.Up[0] = up("a/+/b", "1/2/3/4/5/6/7/{1}/9") }), "up[0].topic: "},
		{"slashes of a filter that go along", aws(func(c *config.Bridge) { c.Up[0] = up("1/2/3/4/5/6/7/+/#", "x/{topic}") }), "up[0].topic: "},
		{"slashes as far as there must be", aws(func(c *config.Bridge) { c.Up[0] = up("1/2/3/4/5/6/7/8/#", "{topic}") }), ""},
		{"a subscription too deep", aws(func(c *config.Bridge) { c.Down = []config.Down{down("1/2/3/4/5/6/7/8/9", "x", 1)} }), "down[0].filter: "},
		{"too many subscriptions", aws(func(c *config.Bridge) {
			for i := range 51 {
				c.Down = append(c.Down, down(fmt.Sprint(i), "{topic}", 1))
			}
		}), "down[50].filter: is one too many"},
		{"a token", aws(func(c *config.Bridge) { c.TokenKeyFile = "key" }), "token_key_file: makes tokens for"},
		{"no credentials", azure(func(c *config.Bridge) { c.TokenKeyFile = "" }), "token_key_file: is missing"},
		{"two credentials", azure(func(c *config.Bridge) { c.Password = "x" }), "token_key_file: is set beside password"},
		{"MQTT 5", azure(func(c *config.Bridge) { c.Version, c.Given = 5, []string{"version"} }), "version: 5: azure-iot-hub speaks 3.1.1 only"},
		{"any topic", azure(func(c *config.Bridge) { c.Up[0] = up("#", "{topic}") }), "up[0].topic: \"{topic}\": azure-iot-hub takes messages on devices/gw1/messages/events/…"},
		{"any subscription", azure(func(c *config.Bridge) { c.Down = []config.Down{down("cmd/#", "{topic}", 1)} }), "down[0].filter: "},
		{"a status topic", azure(func(c *config.Bridge) { c.Status, c.Given = "gw1/status", []string{"status"} }), "status: \"gw1/status\": azure-iot-hub takes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.change)
			err := Check(r.cfg)
			if tt.want == "" && err == nil {
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || tt.want == "" || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
