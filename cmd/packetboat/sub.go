package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/topic"
	"packetboat/cmd/packetboat/client"
)

const subHelp = `Each message is printed with a line end behind it; -v puts its topic in front, -json
makes an object a line of it, -F a text of your own:

  %t topic     %p payload   %l its bytes  %x %X payload in hexadecimal
  %q QoS       %r retain    %m packet id  %I time  %U Unix time
  %C content type  %R response topic  %D correlation data  %E expiry  %P user properties
  %j as -json  %% a percent sign         \n \t \0 \\ as usual

  packetboat sub -t 'sensors/#' -v
  packetboat sub -t '$SYS/broker/#' -W 2 -v
  packetboat sub -t alarms -C 1 -W 30 -q 1 && play alarm.wav

It ends after -C messages, after -W (an error when -C messages had not come by then),
when the connection ends (an error), or by Ctrl-C. A message at QoS 1 or 2 is
acknowledged once it is printed.

` + reachHelp

// subFlags are the flags of packetboat sub.
type subFlags struct {
	*reachFlags
	filters            listFlag
	qos                *int
	count              *uint64
	format             *string
	topics, noRetained *bool
	keepSession, json  *bool
	sessionExpiry      *time.Duration
	noLineEnd          *bool
}

// listFlag may be given more than once.
type listFlag []string

func (l *listFlag) String() string { return strings.Join(*l, ",") }

func (l *listFlag) Set(s string) error {
	*l = append(*l, s)
	return nil
}

func subCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	s := subFlags{
		reachFlags:    addReachFlags(f, "stop listening after it"),
		qos:           f.Int("q", 0, "the highest `QOS` to get: 0, which is the default, 1 or 2"),
		count:         f.Uint64("C", 0, "stop after so `MANY` messages"),
		format:        f.String("F", "", "`FORMAT` of a message"),
		topics:        f.Bool("v", false, "the topic, too"),
		noRetained:    f.Bool("R", false, "no retained messages"),
		keepSession:   f.Bool("c", false, "go on with the session of this client id (-i), and keep it: what comes meanwhile waits there"),
		sessionExpiry: f.Duration("x", 24*time.Hour, "-c: `TIME` that the session is to be kept (MQTT 5)"),
		noLineEnd:     f.Bool("N", false, "no line end behind a message"),
		json:          f.Bool("json", false, "JSON output, an object for each message"),
	}
	f.Var(&s.filters, "t", "`TOPIC`, with + and # as wildcards; may be given again")
	if code, ok := e.parse(f, args); !ok {
		return code
	}
	if err := s.check(); err != nil {
		fmt.Fprintf(e.err, "packetboat sub: %v (packetboat help sub)\n", err)
		return exitUsage
	}
	err := s.run(ctx, e, f)
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(e.err, "packetboat sub: %v\n", usage.err)
		return exitUsage
	}
	if err != nil {
		return e.fail(err)
	}
	return exitFine
}

func (s *subFlags) check() error {
	for _, t := range s.filters {
		if _, rest, _ := topic.CutShare(t); !topic.ValidFilter(rest) {
			return fmt.Errorf("-t %q is no topic filter: + and # must be whole levels, # the last one (in quotes, for the shell)", t)
		}
	}
	shapes := 0
	for _, given := range []bool{*s.format != "", *s.json, *s.topics} {
		if given {
			shapes++
		}
	}
	switch {
	case len(s.filters) == 0:
		return errors.New("say what to listen to with -t TOPIC ('#' is all)")
	case *s.qos < 0 || *s.qos > 2:
		return errors.New("-q must be 0, 1 or 2")
	case shapes > 1:
		return errors.New("-v, -F and -json are three ways to print; give one")
	case *s.keepSession && *s.id == "":
		return errors.New("-c needs -i: a session belongs to a client id")
	case *s.sessionExpiry < 0 || *s.sessionExpiry/time.Second > 1<<32-2:
		return errors.New("-x must be a time from 0s to 136 years")
	}
	return checkFormat(*s.format)
}

func (s *subFlags) run(ctx context.Context, e *env, f *flag.FlagSet) error {
	c, err := s.dial(ctx, e, f, func(o *packet.Connect) {
		o.CleanStart = !*s.keepSession
		if *s.keepSession && o.Version == packet.V5 {
			o.SessionExpiry = uint32(*s.sessionExpiry / time.Second)
		}
		if o.Version == packet.V5 {
			o.ReceiveMaximum = 100
		}
	})
	if err != nil {
		return err
	}
	err = s.listen(ctx, e, c)
	_ = c.Close() // what was printed is acknowledged
	return err
}

// listen subscribes and prints, until it is enough.
func (s *subFlags) listen(ctx context.Context, e *env, c *client.Conn) error {
	var filters []packet.Filter
	for _, t := range s.filters {
		x := packet.Filter{Filter: t, QoS: byte(*s.qos)}
		if *s.noRetained {
			x.RetainHandling = 2
		}
		filters = append(filters, x)
	}
	if err := c.Subscribe(1, filters); err != nil {
		return err
	}
	var over <-chan time.Time
	if s.wait > 0 {
		timer := time.NewTimer(time.Duration(s.wait))
		defer timer.Stop()
		over = timer.C
	}
	var printed uint64
	for *s.count == 0 || printed < *s.count {
		select {
		case event, open := <-c.Events:
			if !open {
				return c.Err()
			}
			if err := s.subscribed(event); err != nil {
				return err
			}
			m, ok := event.(*client.Message)
			if !ok {
				continue
			}
			if !*s.noRetained || !m.Retain {
				if err := s.print(e, m); err != nil {
					return err
				}
				printed++
			}
			if err := c.Done(m); err != nil {
				return err
			}
		case <-over:
			if *s.count > 0 {
				return fmt.Errorf("%d of %d messages came in %v", printed, *s.count, time.Duration(s.wait))
			}
			return nil
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// subscribed finds what the broker has refused.
func (s *subFlags) subscribed(event any) error {
	a, ok := event.(client.Suback)
	if !ok {
		return nil
	}
	for i, code := range a.Codes {
		if code < 0x80 || i >= len(s.filters) {
			continue
		}
		err := &client.Refused{What: "to subscribe to " + s.filters[i], Code: code, Text: a.Text}
		if code == packet.NotAuthorized || code == packet.UnspecifiedError {
			return fmt.Errorf("%w (the broker must allow this user all that the filter matches; packetboat route TOPIC -user NAME says what a gateway allows)", err)
		}
		return err
	}
	return nil
}

func (s *subFlags) print(e *env, m *client.Message) error {
	var b []byte
	switch {
	case *s.json:
		b = appendJSON(nil, m)
	case *s.format != "":
		b = appendFormat(nil, *s.format, m)
	case *s.topics:
		b = append(append(append(b, m.Topic...), ' '), m.Payload...)
	default:
		b = append(b, m.Payload...)
	}
	if !*s.noLineEnd {
		b = append(b, '\n')
	}
	if _, err := e.out.Write(b); err != nil {
		return fmt.Errorf("print a message: %w", err)
	}
	return nil
}
