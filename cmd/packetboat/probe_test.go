package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"packetboat/cmd/packetboat/sim"
	"packetboat/config"
)

// TestProbeNamesTheFramingOfSimulatedDevices, and what it prints is a section that
// loads.
func TestProbeNamesTheFramingOfSimulatedDevices(t *testing.T) {
	want := map[string]string{
		"line": `type = "line"`, "delimiter": `type = "delimiter", bytes = ";"`, "start-end": `type = "start-end", start = "\u0002", end = "\u0003"`,
		"slip": `type = "slip"`, "cobs": `type = "cobs"`, "fixed": `type = "fixed", size = 8`, "modbus-rtu": `type = "modbus-rtu"`, "nmea": `type = "nmea"`,
	}
	for _, k := range sim.Kinds() {
		if want[k.Name] == "" {
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			master, path, err := sim.OpenTerminal()
			if err != nil {
				t.Skipf("no pseudo terminals: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			d := sim.Device{Framing: k.Framing, Reading: k.Reading, Every: 60 * time.Millisecond}
			wg.Go(func() { _ = d.Run(ctx, master) })
			defer func() {
				cancel()
				wg.Wait()
				_ = master.Close()
			}()
			code, out, errOut := call(t, "probe", "-baud", "9600", "-time", "3s", path)
			if code != 0 || !strings.Contains(out, want[k.Name]) {
				t.Fatalf("exit code %d\n%s%s", code, out, errOut)
			}
			if _, err := config.Parse("probe", []byte(out), config.Options{}); err != nil {
				t.Errorf("%v in\n%s", err, out)
			}
		})
	}
}

func TestProbeSaysWhatItCannotFind(t *testing.T) {
	master, path, err := sim.OpenTerminal()
	if err != nil {
		t.Skipf("no pseudo terminals: %v", err)
	}
	defer master.Close()
	code, _, errOut := call(t, "probe", "-baud", "9600", "-time", "50ms", path)
	if code != 1 || !strings.Contains(errOut, "nothing came from "+path) {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	code, _, errOut = call(t, "probe", filepath.Join(t.TempDir(), "none"))
	if code != 1 || !strings.Contains(errOut, "does not exist") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

// TestSectionsOfSimulatedDevicesLoad as they are printed.
func TestSectionsOfSimulatedDevicesLoad(t *testing.T) {
	for _, k := range sim.Kinds() {
		text := "[[serial]]\nname = \"s\"\nport = \"/dev/ttyUSB0\"\n" + k.Section + "\n"
		file := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, errOut := call(t, "check", "-config", file); code != 0 {
			t.Errorf("%s: exit code %d %s%s\n%s", k.Name, code, out, errOut, text)
		}
	}
}
