// Package doctor looks for what keeps a gateway from working, on the machine that
// it runs on, whether it runs or not: the configuration, the disk, the clock,
// ports, and the way to each cloud, step by step.
//
//	configuration, files   what the gateway would say at its start    doctor.go
//	data directory, syncs  room, mount, what the disk is worth        disk.go, sync.go, device.go
//	open files, clock      of the machine                             machine.go
//	listeners              who has the port                           listen.go
//	serial ports           there, allowed, free                       serial.go
//	bridges                name, way, TCP, TLS, login, round trip     bridge.Examine
//	the gateway            its own word, when it runs                 doctor.go
//
// Nothing is changed: it writes one small file into the data directory, which it
// removes, and is a guest at the clouds for a moment.
package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"packetboat/bridge"
	"packetboat/config"
	"packetboat/gateway"
	"packetboat/gateway/admin"
	"packetboat/gateway/quantity"
)

// Finding is what a check has found.
type Finding struct {
	Subject string         `json:"subject"` // "machine", "data directory", "bridge NAME mqtts://HOST:PORT", …
	Check   string         `json:"check"`
	Outcome bridge.Outcome `json:"outcome"` // ok, warning, FAILED, skipped
	Text    string         `json:"text"`    // what was found or measured
	Remedy  string         `json:"remedy,omitempty"`
	Seconds float64        `json:"seconds,omitempty"` // that it took, where that says something
}

// Options say what to look at.
type Options struct {
	Bridge  string        // this one alone; "": everything
	OwnID   bool          // log in with the bridges' own client ids
	Timeout time.Duration // of a step on the way to a cloud; 0: 5 s

	// Root is what /proc, /sys and /dev are below; "" is /. For tests.
	Root string
}

// Doctor examines a gateway of a configuration that has passed [gateway.Check].
type Doctor struct {
	cfg     *config.Config
	opt     Options
	tell    func(Finding)
	running *admin.Status // the gateway's, nil when none answers
	process int           // the gateway's, 0: not known
}

// New makes one; tell is called by Run with each finding, as soon as there is one.
func New(cfg *config.Config, opt Options, tell func(Finding)) *Doctor {
	return &Doctor{cfg: cfg, opt: opt, tell: tell}
}

// Run makes all checks until ctx ends, each within bounds: without clouds some
// seconds.
func (d *Doctor) Run(ctx context.Context) {
	if d.opt.Bridge == "" {
		d.machine(ctx)
	}
	for i := range d.cfg.Bridges {
		b := d.cfg.Bridges[i]
		if d.opt.Bridge == "" && !b.Enabled || d.opt.Bridge != "" && d.opt.Bridge != b.Name || ctx.Err() != nil {
			continue
		}
		bridge.Examine(ctx, b, bridge.Visit{OwnID: d.opt.OwnID, StepTimeout: d.opt.Timeout}, func(server string, f bridge.Finding) {
			d.tell(Finding{Subject: strings.TrimSpace("bridge " + b.Name + " " + server), Check: f.Step, Outcome: f.Outcome, Text: f.Text, Remedy: f.Remedy, Seconds: f.Took.Seconds()})
		})
	}
	if d.opt.Bridge == "" && ctx.Err() == nil {
		d.gateway()
	}
}

// machine makes the checks that need no cloud.
func (d *Doctor) machine(ctx context.Context) {
	d.ask(ctx)
	d.configuration()
	d.listeners()
	d.dataDir(ctx)
	d.openFiles()
	d.clock()
	d.serialPorts()
}

// askFor is how long the gateway may take for its status.
const askFor = 3 * time.Second

// ask gets the status of the gateway, if it runs.
func (d *Doctor) ask(ctx context.Context) {
	if d.cfg.Admin.Socket == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	c, err := admin.Dial(ctx, d.cfg.Admin.Socket)
	if err != nil {
		return
	}
	defer c.Close()
	if st, err := c.Status(ctx); err == nil {
		d.running = st
	}
}

func (d *Doctor) configuration() {
	c := d.cfg
	adapters := len(c.Serial) + len(c.TCP) + len(c.Modbus)
	d.tell(Finding{Subject: "configuration", Check: "keys", Outcome: bridge.Fine,
		Text: fmt.Sprintf("%s: %s, %s, %s", c.At("").File, quantity.Count(len(c.Listeners), "listener", "listeners"),
			quantity.Count(adapters, "adapter", "adapters"), quantity.Count(len(c.Bridges), "bridge", "bridges"))})
	for _, e := range gateway.CheckFiles(c) {
		d.tell(Finding{Subject: "configuration", Check: "files", Outcome: bridge.Failed, Text: e.Error(), Remedy: "run this as the service's user if it is about permissions: sudo -u packetboat packetboat doctor"})
	}
}

// gateway tells what the gateway itself says.
func (d *Doctor) gateway() {
	f := Finding{Subject: "gateway", Check: "status", Outcome: bridge.Fine}
	st := d.running
	switch {
	case d.cfg.Admin.Socket == "":
		f.Outcome, f.Text = bridge.Skipped, `it has no socket to be asked by (admin.socket = "")`
	case st == nil:
		f.Outcome, f.Text = bridge.Skipped, "none answers on "+d.cfg.Admin.Socket
		f.Remedy = "if it should run: systemctl status packetboat, journalctl -u packetboat"
	case len(st.Problems) == 0:
		f.Text = fmt.Sprintf("runs for %v, flowing: %s", (time.Duration(st.Uptime) * time.Second), st.Flowing)
	}
	if st == nil || len(st.Problems) == 0 {
		d.tell(f)
		return
	}
	f.Outcome = bridge.Doubtful
	if st.Flowing == admin.FlowNo {
		f.Outcome = bridge.Failed
	}
	for _, p := range st.Problems {
		f.Text, f.Remedy = p.What, p.Remedy
		d.tell(f)
	}
}

// found is a finding of the machine.
func (d *Doctor) found(subject, check string, outcome bridge.Outcome, text, remedy string) {
	d.tell(Finding{Subject: subject, Check: check, Outcome: outcome, Text: text, Remedy: remedy})
}
