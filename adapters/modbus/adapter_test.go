package modbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"packetboat/adapters"
	"packetboat/cmd/packetboat/sim"
	"packetboat/config"
)

// section reads a [[modbus]] section.
func section(t *testing.T, text string) config.Modbus {
	t.Helper()
	cfg, err := config.Parse("f", []byte("gateway.id = \"gw\"\n[[modbus]]\nname = \"m\"\n"+text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Modbus[0]
}

// run runs the adapter as it is, in real time.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	r.jitter = func() time.Duration { return 20 * time.Millisecond }
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(func() { cancel(); wg.Wait(); r.Close() })
}

// plugIn serves the units on a pseudo terminal and lets link lead to it.
func plugIn(t *testing.T, units *sim.Modbus, link string) (unplug func()) {
	t.Helper()
	master, path, err := sim.OpenTerminal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := units.ServeTerminal(ctx, master); err != nil {
			t.Error(err)
		}
	})
	unplug = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		_ = os.Remove(link) // first: the terminal's name is somebody else's at once
		_ = master.Close()
	})
	t.Cleanup(unplug)
	return unplug
}

func TestOverARealPortThatIsUnplugged(t *testing.T) {
	link := filepath.Join(t.TempDir(), "ttyUSB0")
	text := strings.ReplaceAll(oneUnit, `every = "1s"`, `every = "20ms"`)
	r := rigOf(t, section(t, fmt.Sprintf("port = %q\nmode = \"8N1\"\nbaud = 115200\ntimeout = \"5s\"\n%s", link, text)), oneSlave())
	r.run()
	for life := range 3 {
		unplug := plugIn(t, r.slaves, link)
		before, _ := r.broker.of("gw/m/main")
		r.broker.await(t, "readings", func() bool {
			got, _ := r.broker.of("gw/m/main")
			return len(got) > len(before)+5
		})
		seq := r.cmds.send("gw/m/main/set", fmt.Sprintf(`{"limit": %d}`, life+1))
		r.broker.await(t, "the new value", func() bool {
			return strings.Contains(r.broker.last("gw/m/main"), fmt.Sprintf(`"limit":%d,`, life+1))
		})
		if got := r.cmds.fate(seq); got != "done" {
			t.Errorf("command: %q", got)
		}
		unplug()
		r.broker.await(t, "offline", func() bool { return r.broker.last("gw/m/status") == offline })
	}
	if st := r.Stats(); st.Opened != 3 || st.Frame.Checksum != 0 || st.Frame.Garbage != 0 {
		t.Errorf("%+v", st)
	}
}

func TestOverARealConnectionThatIsCut(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(oneUnit, `every = "1s"`, `every = "20ms"`)
	r := rigOf(t, section(t, fmt.Sprintf("connect = %q\ntimeout = \"5s\"\n%s", ln.Addr(), text)), oneSlave())
	served := make(chan net.Conn, 10)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer ln.Close()
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			served <- c
			wg.Go(func() { _ = r.slaves.ServeTCP(context.Background(), c) }) // until it is cut
		}
	})
	r.run()
	for range 3 {
		c := <-served
		before, _ := r.broker.of("gw/m/main")
		r.broker.await(t, "readings", func() bool {
			got, _ := r.broker.of("gw/m/main")
			return len(got) > len(before)+5
		})
		_ = c.Close()
	}
	defer func() { _ = (<-served).Close() }() // the fourth
	if got := r.broker.last("gw/m/main"); got != oneReading {
		t.Error(got)
	}
}

func TestCheckNamesTheKey(t *testing.T) {
	tests := []struct{ name, text, key, want string }{
		{"a unit within a level", strings.Replace(oneUnit, "{unit}", "u-{unit}", 1), "topic", "{unit} must be a level of its own where a value has write = true"},
		{"the same, read only", strings.Replace(strings.Replace(oneUnit, "{unit}", "u-{unit}", 1), ", write = true", "", 1), "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(section(t, "port = \"/dev/x\"\n"+tt.text))
			var key *adapters.KeyError
			if tt.key == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.As(err, &key) || key.Key != tt.key || key.Err.Error() != tt.want {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestTypesOfTheConfigurationAreAllKnown(t *testing.T) {
	for _, typ := range []string{"bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string:1", "string:123"} {
		if _, err := newPoint(&config.ModbusRead{Name: "x", Table: "holding", Type: typ, Order: "big", Scale: 1}); err != nil {
			t.Error(err)
		}
	}
	for _, typ := range []string{"", "int", "int8", "string", "string:0", "string:124", "float16"} {
		if _, err := newPoint(&config.ModbusRead{Name: "x", Table: "holding", Type: typ, Order: "big", Scale: 1}); err == nil {
			t.Errorf("%q is taken", typ)
		}
	}
}
