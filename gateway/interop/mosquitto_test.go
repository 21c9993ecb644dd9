package interop

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mosquitto has mosquitto_pub talk to mosquitto_sub.
func mosquitto(t *testing.T, s *site) {
	for _, name := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%v: install the package mosquitto-clients", err)
		}
	}
	help, _ := exec.Command("mosquitto_sub", "--help").CombinedOutput() // its exit code is 1
	tlsArgs := []string{"--cafile", s.ca()}
	links := map[string][]string{
		"tcp":  {"-h", "127.0.0.1", "-p", s.port("tcp")},
		"tls":  append([]string{"-h", "127.0.0.1", "-p", s.port("tls")}, tlsArgs...),
		"mtls": append([]string{"-h", "localhost", "-p", s.port("mtls"), "--cert", s.cert(), "--key", s.key()}, tlsArgs...),
		"unix": {"--unix", s.address["unix"]},
		"ws":   {"-h", "127.0.0.1", "-p", s.port("ws"), "--ws"},
		"wss":  append([]string{"-h", "127.0.0.1", "-p", s.port("wss"), "--ws"}, tlsArgs...),
	}
	for _, kind := range kinds {
		for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
			t.Run(kind+" "+version, func(t *testing.T) {
				for _, option := range []string{"--unix", "--ws"} {
					if slices.Contains(links[kind], option) && !strings.Contains(string(help), option+" ") {
						t.Skipf("this mosquitto_sub has no %s", option)
					}
				}
				mosquittoPair(t, s, version, links[kind], "mosquitto/"+kind+"/"+version)
			})
		}
	}
}

// mosquittoPair publishes one message at each QoS, one of them large, and one
// that is retained.
func mosquittoPair(t *testing.T, s *site, version string, link []string, topic string) {
	args := func(more ...string) []string { return append(append([]string{"-V", version}, link...), more...) }
	pub := func(more ...string) { output(t, command(t, "mosquitto_pub", args(more...)...)) }
	large := strings.Repeat("0123456789", 20_000)
	file := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(file, []byte(large), 0o600); err != nil {
		t.Fatal(err)
	}
	pub("-t", topic+"/retained", "-m", "kept", "-q", "1", "-r")
	format := "message %t %q %r %p"
	property := []string{}
	if version == "mqttv5" {
		format = "message %t %q %r %C%p"
		property = []string{"-D", "publish", "content-type", "text/"}
	}
	sub := command(t, "mosquitto_sub", args("-t", topic+"/#", "-q", "2", "-C", "4", "-d", "-F", format)...)
	out, err := sub.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		fmt.Sprintf("message %s/retained 1 1 kept", topic),
		fmt.Sprintf("message %s 0 0 zero", topic), fmt.Sprintf("message %s 1 0 one", topic), fmt.Sprintf("message %s 2 0 %s", topic, large),
	}
	if len(property) > 0 {
		want[1] = fmt.Sprintf("message %s 0 0 text/zero", topic)
	}
	var got, all []string
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		all = append(all, line[:min(len(line), 80)])
		if strings.HasPrefix(line, "message ") {
			got = append(got, line)
		}
		if strings.HasPrefix(line, "Subscribed ") {
			pub(append([]string{"-t", topic, "-m", "zero", "-q", "0"}, property...)...)
			pub("-t", topic, "-m", "one", "-q", "1")
			pub("-t", topic, "-f", file, "-q", "2")
		}
	}
	if err := sub.Wait(); err != nil {
		t.Errorf("mosquitto_sub: %v", err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("mosquitto_sub said\n%s", strings.Join(all, "\n"))
	}
}
