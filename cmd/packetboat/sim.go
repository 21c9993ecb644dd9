package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"packetboat/cmd/packetboat/sim"
	"packetboat/gateway/quantity"
)

const simHelp = `Devices to try a configuration with, without any hardware:

  serial             a device on a pseudo terminal, whose path is printed
  tcp HOST:PORT      a device that connects to a [[tcp]] listener
  modbus             Modbus units on a pseudo terminal, or with -listen behind TCP
  mqtt HOST:PORT     an MQTT client that numbers what it publishes

serial, tcp and modbus print the section that reads them. The kinds (-kind) are line,
json, csv, nmea, delimiter, start-end, slip, cobs, fixed, length and modbus-rtu.
Modbus units are meters: voltage, current, power, frequency and energy are float32
in the input registers 0, 6, 12, 70 and 72; the holding registers 0 to 9 may be
written. Ctrl-C ends it.
`

// simFlags are the flags of packetboat sim.
type simFlags struct {
	kind, link, listen, topic *string
	every                     *time.Duration
	count                     *uint64
	garbage                   *float64
	answer                    *string
	units, dead               *int
	qos, rate                 *int
}

func simCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	s := simFlags{
		kind:    f.String("kind", "line", "serial, tcp: `KIND` of device"),
		every:   f.Duration("every", time.Second, "serial, tcp: `TIME` between two readings; 0: only when it is asked"),
		count:   f.Uint64("count", 0, "stop after so `MANY`; 0: never"),
		garbage: f.Float64("garbage", 0, "serial, tcp: `SHARE` of frames that are damaged, 0 to 1"),
		answer:  f.String("answer", "", "serial, tcp: `TEXT` that answers each command; {} is the command"),
		link:    f.String("link", "", "serial, modbus: make this `PATH` a link to the terminal, as a configuration names it"),
		listen:  f.String("listen", "", "modbus: serve Modbus TCP on `HOST:PORT`"),
		units:   f.Int("units", 3, "modbus: how many `UNITS`, from 1 on"),
		dead:    f.Int("dead", 0, "modbus: this `UNIT` does not answer"),
		topic:   f.String("topic", "sim", "mqtt: `TOPIC`"),
		qos:     f.Int("qos", 1, "mqtt: `QOS`, 1 or 2"),
		rate:    f.Int("rate", 1, "mqtt: `N` messages a second; 0: as many as are acknowledged"),
	}
	words, code, ok := e.parseWords(f, args)
	if !ok {
		return code
	}
	if len(words) == 0 {
		words = []string{""}
	}
	run := map[string]func(context.Context, *env, *simFlags, []string) error{
		"serial": simSerial, "tcp": simTCP, "modbus": simModbus, "mqtt": simMQTT,
	}[words[0]]
	if run == nil {
		fmt.Fprintf(e.err, "packetboat sim: there is no device %q; there are serial, tcp, modbus, mqtt (packetboat help sim)\n", words[0])
		return exitUsage
	}
	err := run(ctx, e, &s, words[1:])
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintln(e.err, usage.err)
		return exitUsage
	case err != nil && ctx.Err() == nil:
		return e.fail(err)
	}
	return exitFine
}

func kindNames() string {
	var names []string
	for _, k := range sim.Kinds() {
		names = append(names, k.Name)
	}
	return strings.Join(names, ", ")
}

// device is the one that the flags describe.
func (s *simFlags) device(e *env) (*sim.Device, sim.Kind, error) {
	for _, k := range sim.Kinds() {
		if k.Name != *s.kind {
			continue
		}
		d := &sim.Device{Framing: k.Framing, Reading: k.Reading, Every: *s.every, Count: *s.count, Garbage: *s.garbage}
		d.Said = func(request []byte) { fmt.Fprintf(e.out, "<- %s\n", shownFrame(request)) }
		if *s.answer != "" {
			d.Answer = func(request []byte) []byte { return []byte(strings.ReplaceAll(*s.answer, "{}", string(request))) }
		}
		return d, k, nil
	}
	return nil, sim.Kind{}, &usageError{fmt.Errorf("packetboat sim: there is no kind %q; there are %s", *s.kind, kindNames())}
}

// terminal opens a pseudo terminal, under a name of its own if one was asked for.
func (s *simFlags) terminal() (master *os.File, path string, closing func(), err error) {
	master, path, err = sim.OpenTerminal()
	if err != nil {
		return nil, "", nil, err
	}
	closing = func() { _ = master.Close() }
	if *s.link == "" {
		return master, path, closing, nil
	}
	link, err := filepath.Abs(*s.link) // as a configuration has to name it
	if err != nil {
		closing()
		return nil, "", nil, err
	}
	if old, err := os.Readlink(link); err == nil && strings.HasPrefix(old, "/dev/pts/") {
		_ = os.Remove(link) // of an earlier run
	}
	if err := os.Symlink(path, link); err != nil {
		closing()
		return nil, "", nil, err
	}
	return master, link, func() { _ = os.Remove(link); _ = master.Close() }, nil
}

func simSerial(ctx context.Context, e *env, s *simFlags, words []string) error {
	if len(words) > 0 {
		return &usageError{errors.New("packetboat sim serial takes no argument; -link gives the terminal a name")}
	}
	d, k, err := s.device(e)
	if err != nil {
		return err
	}
	master, path, closing, err := s.terminal()
	if err != nil {
		return err
	}
	defer closing()
	fmt.Fprintf(e.out, "[[serial]]\nname   = %q\nport   = %q\n%s\n\n", "sim-"+k.Name, path, k.Section)
	err = d.Run(ctx, master)
	fmt.Fprintf(e.out, "%s sent\n", quantity.Count(d.Sent(), "reading", "readings"))
	return err
}

func simTCP(ctx context.Context, e *env, s *simFlags, words []string) error {
	if len(words) != 1 {
		return &usageError{errors.New("packetboat sim tcp: usage: packetboat sim tcp HOST:PORT")}
	}
	d, k, err := s.device(e)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "[[tcp]]\nname   = %q\nlisten = %q\n%s\n\n", "sim-"+k.Name, words[0], k.Section)
	told := ""
	for ctx.Err() == nil {
		var dialer net.Dialer
		c, err := dialer.DialContext(ctx, "tcp", words[0])
		if err == nil {
			told = ""
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			err = d.Run(ctx, c)
			stop()
			_ = c.Close()
		}
		if err == nil || ctx.Err() != nil {
			break
		}
		if text := err.Error(); text != told {
			fmt.Fprintln(e.err, err)
			told = text
		}
		timer := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	fmt.Fprintf(e.out, "%s sent\n", quantity.Count(d.Sent(), "reading", "readings"))
	return nil
}

func simModbus(ctx context.Context, e *env, s *simFlags, words []string) error {
	if len(words) > 0 {
		return &usageError{errors.New("packetboat sim modbus takes no argument; -listen HOST:PORT serves Modbus TCP")}
	}
	m := &sim.Modbus{Units: map[byte]*sim.ModbusUnit{}}
	section := "[[modbus]]\nname    = \"sim\"\n"
	units := ""
	for id := 1; id <= min(max(*s.units, 1), 247); id++ {
		u := sim.NewMeter(byte(id))
		u.Dead = id == *s.dead
		m.Units[byte(id)] = u
		units += fmt.Sprintf("[[modbus.unit]]\nid = %d\nname = \"unit%d\"\nevery = \"1s\"\nread = [\n"+
			"  { name = \"voltage\", table = \"input\", address = 0, type = \"float32\" },\n"+
			"  { name = \"power\", table = \"input\", address = 12, type = \"float32\" },\n"+
			"  { name = \"limit\", address = 0, write = true },\n]\n", id, id)
	}
	ctx, cancel := context.WithCancel(ctx)
	measured := make(chan struct{})
	go func() {
		defer close(measured)
		m.Measure(ctx)
	}()
	defer func() {
		cancel()
		<-measured
	}()
	if *s.listen != "" {
		ln, err := net.Listen("tcp", *s.listen)
		if err != nil {
			return err
		}
		fmt.Fprintf(e.out, "%sconnect = %q\n%s\n", section, ln.Addr(), units)
		return m.Serve(ctx, ln)
	}
	master, path, closing, err := s.terminal()
	if err != nil {
		return err
	}
	defer closing()
	fmt.Fprintf(e.out, "%sport    = %q\n%s\n", section, path, units)
	return m.ServeTerminal(ctx, master)
}

func simMQTT(ctx context.Context, e *env, s *simFlags, words []string) error {
	if len(words) != 1 || *s.qos < 1 || *s.qos > 2 {
		return &usageError{errors.New("packetboat sim mqtt: usage: packetboat sim mqtt [-qos 1|2] HOST:PORT")}
	}
	tally := new(sim.Tally)
	src := tally.Add(sim.Source{Name: "sim", Kind: fmt.Sprintf("MQTT QoS %d", *s.qos)})
	stop := make(chan struct{})
	p := &sim.Publisher{Addr: words[0], Topic: *s.topic, QoS: byte(*s.qos), Source: src, Rate: *s.rate, Count: *s.count, Stop: stop}
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ends := context.AfterFunc(ctx, func() {
		close(stop)
		time.AfterFunc(3*time.Second, cancel) // for what is in flight
	})
	defer ends()
	err := p.Run(working)
	fmt.Fprintf(e.out, "%d published and acknowledged\n", src.Counts().Acked)
	return err
}
