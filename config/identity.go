package config

import (
	"os"
	"strings"
)

// sharedHostnames are what systems call themselves before anybody has named them:
// a thousand gateways may have each.
var sharedHostnames = map[string]bool{"raspberrypi": true, "localhost": true, "debian": true, "ubuntu": true}

// identify sets gateway.id when the files leave it empty.
func (k *checker) identify(opt Options) {
	const key = "gateway.id"
	g := &k.c.Gateway
	if g.ID == "" {
		host, err := opt.Hostname()
		if err != nil || host == "" {
			k.fail(key, "cannot be taken from the host name (there is none); set it")
			return
		}
		g.ID = host
		if short, _, _ := strings.Cut(host, "."); sharedHostnames[strings.ToLower(short)] {
			serial := opt.Board()
			if serial == "" {
				k.fail(key, "cannot be made from the host name %s, which many machines have, and this one has neither a board serial number nor a machine id; set it", host)
				return
			}
			g.ID += "-" + serial[max(0, len(serial)-6):]
		}
	}
	if msg := levelProblem(g.ID); msg != "" {
		k.fail(key, "%q %s", g.ID, msg)
		g.ID = "gateway" // the templates made of it are not to blame
	}
}

// board gives the serial number of the board this runs on, else the machine id.
func board() string {
	return boardFrom("/sys/firmware/devicetree/base/serial-number", "/proc/cpuinfo", "/etc/machine-id")
}

// boardFrom takes the first of: a device tree's serial number, the Serial line of
// a cpuinfo, a machine id. Serial numbers of zeros only are none.
func boardFrom(serialNumber, cpuinfo, machineID string) string {
	usable := func(s string) string {
		s = strings.Trim(s, "\x00 \t\r\n")
		if strings.Trim(s, "0") == "" || levelProblem(s) != "" {
			return ""
		}
		return s
	}
	// The files are absent on other machines: that is no error.
	data, _ := os.ReadFile(serialNumber)
	if s := usable(string(data)); s != "" {
		return s
	}
	data, _ = os.ReadFile(cpuinfo)
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "Serial" {
			if s := usable(value); s != "" {
				return s
			}
		}
	}
	data, _ = os.ReadFile(machineID)
	return usable(string(data))
}
