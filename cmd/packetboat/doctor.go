package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"packetboat/bridge"
	"packetboat/config"
	"packetboat/gateway"
	"packetboat/gateway/doctor"
	"packetboat/gateway/quantity"
)

const doctorHelp = `It looks for what keeps things from flowing, with or without a gateway that runs:
the configuration and its files; the data directory, its disk, its room, and how
long a sync takes there; open files; the clock; who has the ports of the listeners;
the serial ports; for each bridge and server the name, the way, the proxy, TCP, TLS
and its certificates, the login, and a message at QoS 1 there and back; and what the
gateway says of itself. A line for each, as soon as it is known: ok, warning, FAILED
or skipped, what was measured, and what to do. With BRIDGE, that bridge alone.

It logs in as CLIENT_ID-doctor, so that a gateway that runs is not disturbed. Where a
cloud lets in the bridge's own client id alone (Azure IoT Hub, most policies of AWS
IoT Core), that fails or is skipped: -own-id logs in with the bridge's own, which
disconnects a gateway that runs; it connects again. The session at the cloud is left
as it was. The message of the round trip goes to the topic "doctor" beside the
bridge's status topic; other subscribers there see it.

Run it as the service's user to see what the service may: sudo -u packetboat
packetboat doctor. Root sees who holds a port. -json gives a JSON object a line. The
exit code is 1 when something FAILED.
`

func doctorCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	path := configFlag(f)
	asJSON := f.Bool("json", false, "JSON output, an object a line")
	ownID := f.Bool("own-id", false, "log in with the bridges' own client ids: disconnects a gateway that runs, for a moment")
	timeout := f.Duration("timeout", 5*time.Second, "`TIME` that a step on the way to a cloud may take")
	words, code, ok := e.parseWords(f, args)
	if !ok {
		return code
	}
	if len(words) > 1 || *timeout <= 0 {
		fmt.Fprintf(e.err, "packetboat doctor: usage: packetboat doctor %s\n", e.cmd.args)
		return exitUsage
	}
	show := newFindings(e.out, *asJSON)
	cfg, err := config.Load(*path, config.Options{})
	if err == nil {
		if errs := gateway.Check(cfg); len(errs) > 0 {
			err = errs
		}
	}
	if err != nil {
		for l := range strings.Lines(err.Error()) {
			show.tell(doctor.Finding{Subject: "configuration", Check: "keys", Outcome: bridge.Failed, Text: strings.TrimSpace(l), Remedy: "correct it; packetboat check says whether it is right"})
		}
		return exitUsage
	}
	opt := doctor.Options{OwnID: *ownID, Timeout: *timeout}
	if len(words) == 1 {
		opt.Bridge = words[0]
		if !slices.ContainsFunc(cfg.Bridges, func(b config.Bridge) bool { return b.Name == opt.Bridge }) {
			fmt.Fprintf(e.err, "packetboat doctor: no bridge is called %s; there are %s\n", opt.Bridge, bridgeNames(cfg))
			return exitUsage
		}
	}
	doctor.New(cfg, opt, show.tell).Run(ctx)
	if err := show.end(); err != nil {
		return e.fail(err)
	}
	if show.failed > 0 || ctx.Err() != nil {
		return exitFailed
	}
	return exitFine
}

func bridgeNames(cfg *config.Config) string {
	var names []string
	for i := range cfg.Bridges {
		names = append(names, cfg.Bridges[i].Name)
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// findings shows each as it comes.
type findings struct {
	out     io.Writer
	json    *json.Encoder // nil: for people
	subject string        // that was shown last
	err     error         // of writing

	failed, doubtful, all int
}

func newFindings(out io.Writer, asJSON bool) *findings {
	s := &findings{out: out}
	if asJSON {
		s.json = json.NewEncoder(out)
	}
	return s
}

func (s *findings) tell(f doctor.Finding) {
	s.all++
	switch f.Outcome {
	case bridge.Failed:
		s.failed++
	case bridge.Doubtful:
		s.doubtful++
	}
	if s.err != nil {
		return
	}
	if s.json != nil {
		s.err = s.json.Encode(f)
		return
	}
	var b strings.Builder
	if f.Subject != s.subject {
		fmt.Fprintln(&b, f.Subject)
		s.subject = f.Subject
	}
	fmt.Fprintf(&b, "  %-7s  %s: %s", f.Outcome, f.Check, visible(f.Text))
	if f.Seconds > 0 && f.Check != "syncs" { // which has its own in the text
		fmt.Fprintf(&b, " (%s)", quantity.Latency(time.Duration(f.Seconds*float64(time.Second))))
	}
	fmt.Fprintln(&b)
	if f.Remedy != "" {
		fmt.Fprintf(&b, "           -> %s\n", visible(f.Remedy))
	}
	_, s.err = io.WriteString(s.out, b.String())
}

// end sums up.
func (s *findings) end() error {
	if s.json != nil || s.err != nil {
		return s.err
	}
	_, err := fmt.Fprintf(s.out, "\n%s: %d FAILED, %s\n",
		quantity.Count(s.all, "check", "checks"), s.failed, quantity.Count(s.doubtful, "warning", "warnings"))
	return err
}
