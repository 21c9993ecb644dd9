package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"packetboat/config"
)

// usbPort makes a tree with one USB port, as /sys and /dev have it.
func usbPort(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	device := "sys/devices/usb1/1-1/1-1:1.0/ttyUSB0"
	for _, dir := range []string{device + "/tty/ttyUSB0", "sys/class/tty", "sys/bus/usb-serial", "dev/serial/by-id"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"sys/devices/usb1/1-1/idVendor": "0403", "sys/devices/usb1/1-1/idProduct": "6001", "sys/devices/usb1/1-1/serial": "A9007",
		"sys/devices/usb1/1-1/manufacturer": "FTDI", "sys/devices/usb1/1-1/product": "FT232R USB UART", "dev/ttyUSB0": "",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		device + "/subsystem":          filepath.Join(root, "sys/bus/usb-serial"),
		device + "/tty/ttyUSB0/device": "../../../ttyUSB0",
		"sys/class/tty/ttyUSB0":        filepath.Join(root, device, "tty/ttyUSB0"),
		"dev/serial/by-id/usb-FTDI-0":  "../../ttyUSB0",
	} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestPortsSaysWhatAPortIsAndWhoHasIt(t *testing.T) {
	root := usbPort(t)
	cfg := &config.Config{
		Serial: []config.Serial{
			{Stream: config.Stream{Name: "scale"}, Match: &config.USB{VID: "0403", PID: "6001"}},
			{Stream: config.Stream{Name: "meter"}, Port: filepath.Join(root, "dev/ttyUSB1")},
		},
		Modbus: []config.Modbus{{Name: "plc", Port: filepath.Join(root, "dev/serial/by-id/usb-*")}},
	}
	held, err := os.Open(filepath.Join(root, "dev/ttyUSB0"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	self := os.Getpid()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", self))
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"open", "locked"} {
		if how == "locked" {
			if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
				t.Fatal(err)
			}
		}
		list, err := listPorts(root, cfg)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := printPorts(&b, list); err != nil {
			t.Fatal(err)
		}
		want := root + `/dev/ttyUSB0  FTDI FT232R USB UART, USB 0403:6001, serial A9007
    port = "` + root + `/dev/serial/by-id/usb-FTDI-0"
    match = { vid = "0403", pid = "6001", serial = "A9007" }
    held by ` + fmt.Sprintf("%s (process %d)", strings.TrimSpace(string(name)), self) + `
    adapter scale, plc
`
		if b.String() != want {
			t.Errorf("%s:\n%s\nnot\n%s", how, &b, want)
		}
	}
	// The line can be pasted.
	if _, err := config.Parse("f", []byte("[[serial]]\nname = \"s\"\nmatch = { vid = \"0403\", pid = \"6001\", serial = \"A9007\" }\n"), config.Options{}); err != nil {
		t.Error(err)
	}
}

func TestPortsWithoutAnyPort(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "sys/class/tty"), 0o755); err != nil {
		t.Fatal(err)
	}
	list, err := listPorts(root, &config.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(list); err != nil || string(b) != "[]" {
		t.Errorf("%s, %v", b, err)
	}
	var b strings.Builder
	if err := printPorts(&b, list); err != nil || !strings.HasPrefix(b.String(), "There is no serial port.") {
		t.Errorf("%v, %s", err, &b)
	}
}

func TestPortsOfThisMachineWithAndWithoutAConfiguration(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.toml")
	code, out, errOut := call(t, "ports", "-json", "-config", missing)
	var list []portInfo
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || !strings.Contains(errOut, "cannot be read") {
		t.Errorf("exit code %d, %v, %s", code, err, errOut)
	}
	t.Setenv("PACKETBOAT_CONFIG", missing) // the default need not be there
	if code, _, errOut := call(t, "ports"); code != 0 || errOut != "" {
		t.Errorf("exit code %d, %s", code, errOut)
	}
}
