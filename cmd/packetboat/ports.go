package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"packetboat/adapters/serial"
	"packetboat/config"
)

const portsHelp = `For each port: what it is, the lines for a [[serial]] section that name it so that
it is found again (port by a name that lasts, or match by its USB identity), who
has it open, and which adapter of the configuration uses it. No port is opened.
As root it sees who holds a port in every case, else only its own programs, and
those that lock the port, as a gateway does.
`

// portInfo is a port in the list.
type portInfo struct {
	serial.Info
	Holder   *serial.Holder `json:"holder,omitempty"`
	Adapters []string       `json:"adapters,omitempty"` // names of those that use it
}

func portsCommand(_ context.Context, e *env, args []string) int {
	f := e.flags()
	path := configFlag(f)
	asJSON := f.Bool("json", false, "JSON output")
	if code, ok := e.parse(f, args); !ok {
		return code
	}
	cfg := &config.Config{}
	if _, err := os.Stat(*path); err == nil || *path != f.Lookup("config").DefValue {
		loaded, err := config.Load(*path, config.Options{})
		if err == nil {
			cfg = loaded
		} else { // who looks for ports may be about to write it
			fmt.Fprintf(e.err, "%v\npacketboat ports: without the configuration, the adapters that use the ports are not known\n", err)
		}
	}
	list, err := listPorts("/", cfg)
	if err != nil {
		return e.fail(err)
	}
	if *asJSON {
		err = json.NewEncoder(e.out).Encode(list)
	} else {
		err = printPorts(e.out, list)
	}
	if err != nil {
		return e.fail(err)
	}
	return exitFine
}

// listPorts lists the ports below root, with those who use them.
func listPorts(root string, cfg *config.Config) ([]portInfo, error) {
	ports, err := serial.Ports(root)
	if err != nil {
		return nil, err
	}
	list := make([]portInfo, len(ports)) // never null in JSON
	for i, p := range ports {
		list[i].Info = p
		if h, ok := serial.FindHolder(p.Path); ok {
			list[i].Holder = &h
		}
		add := func(name, port string, match *config.USB) {
			if (serial.Wanted{Port: port, Match: match}).Means(p) {
				list[i].Adapters = append(list[i].Adapters, name)
			}
		}
		for _, s := range cfg.Serial {
			add(s.Name, s.Port, s.Match)
		}
		for _, m := range cfg.Modbus {
			add(m.Name, m.Port, m.Match)
		}
	}
	return list, nil
}

func printPorts(w io.Writer, list []portInfo) error {
	var b strings.Builder
	if len(list) == 0 {
		b.WriteString("There is no serial port. Is the device plugged in? `dmesg` says what the kernel makes of it; a container must be given the device.\n")
	}
	for i := range list {
		p := &list[i]
		fmt.Fprintln(&b, p.Path+describePort(&p.Info))
		fmt.Fprintf(&b, "    port = %q\n", p.Stable())
		if p.VID != "" {
			fmt.Fprintf(&b, "    match = %s\n", matchOf(&p.Info))
		}
		if p.Holder != nil {
			fmt.Fprintf(&b, "    held by %v\n", *p.Holder)
		}
		if len(p.Adapters) > 0 {
			fmt.Fprintf(&b, "    adapter %s\n", strings.Join(p.Adapters, ", "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// describePort is what USB says of a port: "  FTDI FT232R USB UART, USB
// 0403:6001, serial A9007".
func describePort(p *serial.Info) string {
	if p.VID == "" {
		return ""
	}
	text := "  "
	product := strings.TrimSpace(p.Product)
	if p.Manufacturer != "" && !strings.HasPrefix(product, p.Manufacturer) {
		product = strings.TrimSpace(p.Manufacturer + " " + product)
	}
	if product != "" {
		text += product + ", "
	}
	text += "USB " + p.VID + ":" + p.PID
	if p.Serial != "" {
		text += ", serial " + p.Serial
	}
	return text
}

// matchOf is the port's identity as TOML has it.
func matchOf(p *serial.Info) string {
	text := fmt.Sprintf("{ vid = %q, pid = %q", p.VID, p.PID)
	if p.Serial != "" {
		text += fmt.Sprintf(", serial = %q", p.Serial)
	}
	return text + " }"
}
