package e2e

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"packetboat/broker/packet"
	"packetboat/gateway/admin"
)

// causeWithin is how long after its beginning a cause is named by status.
const causeWithin = 10 * time.Second

// A cause is something that goes wrong, and what status has to say about it.
type cause struct {
	name  string
	setUp func(t *testing.T) (g *gateway, begin func())
	want  []string // in status, when it has begun; none of it before
}

func TestStatusNamesTheCauseWithinTenSeconds(t *testing.T) {
	t.Parallel()
	for _, c := range causes() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, begin := c.setUp(t)
			g.start()
			if begin == nil { // it is so from the start
				begin = func() {}
			} else if out, _ := g.tool("status"); strings.Contains(out, c.want[0]) {
				t.Fatalf("before anything is wrong:\n%s", out)
			}
			began := time.Now()
			begin()
			var out string
			code := 0
			defer func() {
				if t.Failed() {
					t.Logf("status said:\n%s", out)
				}
			}()
			await(t, causeWithin, "status names "+strings.Join(c.want, ", "), func() bool {
				out, code = g.tool("status")
				return holdsAll(out, c.want)
			})
			t.Logf("named after %v:\n%s", time.Since(began).Round(10*time.Millisecond), out)
			if code != 1 || !strings.Contains(out, "    -> ") {
				t.Errorf("exit code %d, or no remedy:\n%s", code, out)
			}
			g.stop()
		})
	}
}

// TestStatusForecasts when the queue will be full, from what comes in while the
// cloud is away, and says that nothing waits when all has gone.
func TestStatusForecasts(t *testing.T) {
	t.Parallel()
	cloud := newMosquitto(t, anonymous)
	cloud.stop()
	g := newGatewayOn(t, t.TempDir(), "max_size = \"64MiB\"\nmin_free = \"1MiB\"", bridgeTo(cloud.address, upRule))
	began := time.Now()
	g.start()
	status := func() (st admin.Status) {
		out, _ := g.tool("status", "-json")
		if err := json.Unmarshal([]byte(out), &st); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return st
	}
	c := dialClient(t, g.mqtt, "filler", packet.V5)
	var st admin.Status
	g.await("it is foretold when the queue is full", func() bool {
		c.publish(packet.Publish{Topic: "sensors/fill", Payload: make([]byte, 4<<10), QoS: 1})
		st = status()
		return st.Disk.FullIn != nil
	})
	if b := st.Bridges[0]; *st.Disk.FullIn <= 0 || st.Disk.FreeBytes <= 0 || st.Flowing != admin.FlowNo || b.DrainedIn != nil ||
		b.Since.Before(began) || b.Since.After(time.Now()) || b.Waiting == 0 {
		t.Errorf("%+v", st)
	}
	cloud.start()
	g.await("all has gone", func() bool {
		st = status()
		return st.Flowing == admin.FlowYes && st.Bridges[0].Waiting == 0
	})
	if b := st.Bridges[0]; b.DrainedIn == nil || *b.DrainedIn != 0 || st.Disk.FullIn != nil && *st.Disk.FullIn <= 0 || st.Lost != 0 || len(st.Problems) > 0 {
		t.Errorf("%+v", st)
	}
	g.stop()
}

func holdsAll(text string, want []string) bool {
	for _, w := range want {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

func causes() []cause {
	return []cause{
		{"the cloud is down", func(t *testing.T) (*gateway, func()) {
			cloud := newMosquitto(t, anonymous)
			g := newGateway(t, bridgeTo(cloud.address, upRule))
			return g, func() {
				g.await("it is online", func() bool { return details(t, g).State == "online" })
				cloud.stop()
			}
		}, []string{"what is wrong", "bridge cloud is", "connection refused", "nothing listens at that port", "flowing", "NO"}},
		{"the name of the cloud is wrong", func(t *testing.T) (*gateway, func()) {
			return newGateway(t, bridgeTo("cloud.invalid:1883", upRule)), nil
		}, []string{"cloud.invalid", "name servers"}}, // which may say no, or nothing
		{"the cloud does not answer", func(t *testing.T) (*gateway, func()) {
			address := listening(t, func(net.Conn) { <-t.Context().Done() })
			return newGateway(t, bridgeTo(address, upRule)), nil
		}, []string{"has not answered CONNECT", "check that an MQTT broker listens at that port"}},
		{"the password is wrong", func(t *testing.T) (*gateway, func()) {
			cloud := newMosquitto(t, "allow_anonymous false")
			return newGateway(t, bridgeTo(cloud.address, "username = \"gw\"\npassword = \"wrong\"\n"+upRule)), nil
		}, []string{"bridge cloud is refused", "not authorized", "check username, password"}},
		{"the cloud's certificate has expired", func(t *testing.T) (*gateway, func()) {
			return securedCloud(t, ended), nil
		}, []string{"certificate: that of \"CN=cloud\" has expired", "it must be renewed there"}},
		{"the clock is wrong: the cloud's certificate is not valid yet", func(t *testing.T) (*gateway, func()) {
			return securedCloud(t, of1970), nil
		}, []string{"certificate: that of \"CN=cloud\" is not valid yet", "check this machine's clock (timedatectl)"}},
		{"a file of TLS is missing", func(t *testing.T) (*gateway, func()) {
			section := strings.Replace(bridgeTo(freePort(t), "[bridge.tls]\nca = \"/nowhere/ca.crt\"\n"+upRule), "mqtt://", "mqtts://", 1)
			return newGateway(t, section), nil
		}, []string{"TLS files: ", "/nowhere/ca.crt", "put the file there"}},
		{"the disk is nearly full", func(t *testing.T) (*gateway, func()) {
			var st unix.Statfs_t
			dir := t.TempDir()
			if err := unix.Statfs(dir, &st); err != nil {
				t.Fatal(err)
			}
			free := int64(st.Bavail) * int64(st.Bsize)
			return newGatewayOn(t, dir, fmt.Sprintf("min_free = \"%dMiB\"", free>>20+1024), ""), nil
		}, []string{"the disk is nearly full", "queue.min_free keeps", "free space on the disk"}},
		{"the queue is full", func(t *testing.T) (*gateway, func()) {
			g := newGatewayOn(t, t.TempDir(), "max_size = \"16MiB\"\nmin_free = \"1MiB\"\nsegment_size = \"256KiB\"", bridgeTo(freePort(t), upRule))
			return g, func() { fill(t, g, 18<<20) }
		}, []string{"the queue is full", "messages for bridge cloud were dropped", "when_full = drop-oldest", "newest loss", "sensors/fill"}},
		{"the queue takes nothing", func(t *testing.T) (*gateway, func()) {
			rule := strings.Replace(upRule, "topic =", "when_full = \"reject\"\nmax_size = \"1MiB\"\ntopic =", 1)
			g := newGatewayOn(t, t.TempDir(), "max_size = \"16MiB\"\nmin_free = \"1MiB\"\nsegment_size = \"256KiB\"", bridgeTo(freePort(t), rule))
			return g, func() { fill(t, g, 2<<20) }
		}, []string{"refused in the last minute", "when_full = reject", "raise queue.max_size"}},
		{"the serial port is unplugged", func(t *testing.T) (*gateway, func()) {
			port := filepath.Join(t.TempDir(), "ttyUSB0")
			device := plugTalker(t, port, 1)
			g := newGateway(t, serialAt(port, ""))
			return g, func() {
				g.await("the port is open", func() bool { out, _ := g.tool("status"); return strings.Contains(out, "1 of 1 ready") })
				device.unplug(t, port)
			}
		}, []string{"adapter scale is not ready: ", "does not exist: is the device plugged in?", "packetboat ports"}},
		{"the serial port is not there", func(t *testing.T) (*gateway, func()) {
			return newGateway(t, serialAt("/dev/serial/by-id/usb-nobody_*", "")), nil
		}, []string{"adapter scale is not ready: no port matches /dev/serial/by-id/usb-nobody_*", "packetboat ports"}},
		{"the baud rate is wrong", func(t *testing.T) (*gateway, func()) {
			port := filepath.Join(t.TempDir(), "ttyUSB0")
			say := plugGarbage(t, port)
			g := newGateway(t, serialAt(port, "decode = { type = \"json\" }\n"))
			return g, say
		}, []string{"frames in the last minute are bad", "most often the speed is wrong (baud = 9600, mode = \"8N1\")", "packetboat probe"}},
		{"the access rules deny a publish", func(t *testing.T) (*gateway, func()) {
			g := newGateway(t, "[[auth.rule]]\nclient = \"meter-*\"\npublish = [\"meters/#\"]\n")
			return g, func() {
				dialClient(t, g.mqtt, "meter-7", packet.V5).publish(packet.Publish{Topic: "valves/7", Payload: []byte("open"), QoS: 1})
			}
		}, []string{"the access rules have denied requests (1 so far)", "client meter-7 may not publish to valves/7", "[[auth.rule]]"}},
		{"the access rules deny a subscription", func(t *testing.T) (*gateway, func()) {
			g := newGateway(t, "[[auth.rule]]\nclient = \"meter-*\"\npublish = [\"meters/#\"]\n")
			return g, func() {
				c := dialClient(t, g.mqtt, "meter-7", packet.V5)
				c.send(packet.AppendSubscribe(nil, packet.V5, &packet.Subscribe{ID: 1, Filters: []packet.Filter{{Filter: "cmd/#", QoS: 1}}}))
				c.until(packet.SUBACK)
			}
		}, []string{"the access rules have denied requests (1 so far)", "client meter-7 may not subscribe to cmd/#"}},
		{"a login fails", func(t *testing.T) (*gateway, func()) {
			address := freePort(t)
			g := newGateway(t, fmt.Sprintf("[[listener]]\naddress = %q\nanonymous = false\n[auth]\nusers = %q\n", address, filepath.Join(t.TempDir(), "users")))
			g.passwd("right", "meter")
			return g, func() {
				if _, code := login(t, address, "", "x", "meter", "wrong", packet.V5); code != packet.BadUserNameOrPassword {
					t.Errorf("the answer is 0x%02X", code)
				}
			}
		}, []string{"logins have failed (1 so far)", "user \"meter\" from 127.0.0.1", "packetboat passwd"}},
		{"a listener's port is taken", func(t *testing.T) (*gateway, func()) {
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = taken.Close() })
			return newGateway(t, fmt.Sprintf("[[listener]]\naddress = %q\n", taken.Addr())), nil
		}, []string{"not listening on 127.0.0.1:", "address already in use", "ss -ltnp"}},
		{"a listener's certificate is replaced by something else", func(t *testing.T) (*gateway, func()) {
			address, server := freePort(t), newPair(t)
			newAuthority(t, "CA").issue("gateway", server)
			g := newGateway(t, fmt.Sprintf("[[listener]]\naddress = %q\n[listener.tls]\ncert = %q\nkey = %q\n", address, server.cert, server.key))
			return g, func() { replace(t, server.cert, "nonsense") }
		}, []string{"the changed TLS files cannot be used", "tls.crt has no certificate"}},
		{"a listener's certificate has expired", func(t *testing.T) (*gateway, func()) {
			server := newPair(t)
			newAuthority(t, "CA").issueAs("gateway", server, ended)
			return newGateway(t, fmt.Sprintf("[[listener]]\naddress = %q\n[listener.tls]\ncert = %q\nkey = %q\n", freePort(t), server.cert, server.key)), nil
		}, []string{"the certificate in ", "has expired on", "renew it"}},
	}
}

// securedCloud is a gateway with a bridge to a Mosquitto whose certificate change
// has spoiled.
func securedCloud(t *testing.T, change func(*x509.Certificate)) *gateway {
	t.Helper()
	ca, server, file := newAuthority(t, "CA"), newPair(t), filepath.Join(t.TempDir(), "ca.crt")
	ca.issueAs("cloud", server, change)
	ca.file(file)
	cloud := newMosquitto(t, anonymous+fmt.Sprintf("\ncertfile %s\nkeyfile %s\n", server.cert, server.key))
	return newGateway(t, strings.Replace(bridgeTo(cloud.address, fmt.Sprintf("[bridge.tls]\nca = %q\n", file)+upRule), "mqtt://", "mqtts://", 1))
}

// fill publishes so many bytes, whether they are taken or not.
func fill(t *testing.T, g *gateway, bytes int) {
	t.Helper()
	c := dialClient(t, g.mqtt, "filler", packet.V5)
	payload := []byte(strings.Repeat("x", 16<<10))
	for sent := 0; sent < bytes; sent += len(payload) {
		c.publish(packet.Publish{Topic: "sensors/fill", Payload: payload, QoS: 1})
	}
}

func serialAt(port, more string) string {
	return fmt.Sprintf("[[serial]]\nname = \"scale\"\nport = %q\n%s", port, more)
}

// plugGarbage plugs in a device under the name port that says what a wrong speed
// makes of lines, when it is told to.
func plugGarbage(t *testing.T, port string) (say func()) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := term.MakeRaw(int(slave.Fd())); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(slave.Name(), port); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	t.Cleanup(func() {
		close(stop)
		wg.Wait()
		_ = slave.Close()
		_ = master.Close()
	})
	return func() {
		wg.Go(func() {
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					_, _ = master.Write([]byte("\xfe\x80\x00\xf8\x1e\n")) // fails when the test is over
				}
			}
		})
	}
}
