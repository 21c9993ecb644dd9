package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/topic"
	"packetboat/cmd/packetboat/client"
)

const pubHelp = `One message: -m TEXT, -f FILE (- is standard input), or -n for an empty one; or with -l
each line of standard input. At QoS 1 and 2 it waits until the broker has each, and
says which were refused and why: exit code 1. A gateway that has acknowledged a
message has it on disk, if anybody is to get it later.

  packetboat pub -t sensors/test -m 21.5 -q 1
  mbpoll … | packetboat pub -t sensors/raw -l -q 1

` + reachHelp

// pubFlags are the flags of packetboat pub.
type pubFlags struct {
	*reachFlags
	topic, message, file  *string
	lines, empty, retain  *bool
	qos                   *int
	expiry                *time.Duration
	contentType, response *string
	json                  *bool
}

func pubCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	p := pubFlags{
		reachFlags:  addReachFlags(f, "give up when the broker has not acknowledged by then"),
		topic:       f.String("t", "", "`TOPIC`"),
		message:     f.String("m", "", "`TEXT` of the message"),
		file:        f.String("f", "", "`FILE` that is the message"),
		lines:       f.Bool("l", false, "each line of standard input is a message"),
		empty:       f.Bool("n", false, "an empty message; with -r it removes the retained one"),
		qos:         f.Int("q", 0, "`QOS`: 0, which is not acknowledged and the default, 1 or 2"),
		retain:      f.Bool("r", false, "retained: for those who subscribe later"),
		expiry:      f.Duration("expiry", 0, "`TIME` after which nobody wants it (MQTT 5)"),
		contentType: f.String("content-type", "", "`TYPE` of the content (MQTT 5)"),
		response:    f.String("response", "", "`TOPIC` for an answer (MQTT 5)"),
		json:        f.Bool("json", false, "say as JSON what came of it"),
	}
	if code, ok := e.parse(f, args); !ok {
		return code
	}
	if err := p.check(f); err != nil {
		fmt.Fprintf(e.err, "packetboat pub: %v (packetboat help pub)\n", err)
		return exitUsage
	}
	err := p.run(ctx, e, f)
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(e.err, "packetboat pub: %v\n", usage.err)
		return exitUsage
	}
	if err != nil {
		return e.fail(err)
	}
	return exitFine
}

// check finds what does not go together.
func (p *pubFlags) check(f *flag.FlagSet) error {
	var what []string
	f.Visit(func(g *flag.Flag) {
		if len(g.Name) == 1 && strings.Contains("mfln", g.Name) && g.Value.String() != "false" {
			what = append(what, "-"+g.Name)
		}
	})
	switch {
	case *p.topic == "":
		return errors.New("say where to with -t TOPIC")
	case strings.ContainsAny(*p.topic, "+#"):
		return fmt.Errorf("-t %s: a message has one topic, without + and #", *p.topic)
	case !topic.ValidName(*p.topic):
		return fmt.Errorf("-t %q is no topic", *p.topic)
	case len(what) == 0:
		return errors.New("say what: -m TEXT, -f FILE, -l for lines of standard input, or -n for an empty message")
	case len(what) > 1:
		return fmt.Errorf("%s are two messages; give one", strings.Join(what, " and "))
	case *p.qos < 0 || *p.qos > 2:
		return errors.New("-q must be 0, 1 or 2")
	case *p.passwordFile == "-" && *p.file == "-":
		return errors.New("-password-file - and -f - both want standard input; the password may be in $PACKETBOAT_PASSWORD")
	case *p.expiry < 0 || *p.expiry/time.Second > 1<<32-2:
		return errors.New("-expiry must be a time from 1s to 136 years")
	case (*p.expiry > 0 || *p.contentType != "" || *p.response != "") && strings.Contains(*p.version, "3"):
		return errors.New("-expiry, -content-type and -response are of MQTT 5")
	}
	return nil
}

func (p *pubFlags) run(ctx context.Context, e *env, f *flag.FlagSet) error {
	message, err := p.payload()
	if err != nil {
		return err
	}
	c, err := p.dial(ctx, e, f, nil)
	if err != nil {
		return err
	}
	s := &sending{c: c, window: c.Window(), qos: byte(*p.qos), topic: *p.topic, flying: map[uint16]int{}}
	err = p.allowed(&c.Answer)
	if err == nil {
		if *p.lines {
			err = s.lines(ctx, p, e)
		} else {
			err = s.one(ctx, p, message)
		}
	}
	_ = c.Close() // all that matters was acknowledged
	return errors.Join(err, s.report(p, e))
}

// payload is the message, unless it is to be lines.
func (p *pubFlags) payload() ([]byte, error) {
	switch *p.file {
	case "":
		return []byte(*p.message), nil
	case "-":
		return io.ReadAll(io.LimitReader(os.Stdin, packet.MaxSize))
	}
	return os.ReadFile(*p.file)
}

// allowed says what the broker said beforehand that it does not take.
func (p *pubFlags) allowed(a *packet.Connack) error {
	switch {
	case a.HasMaximumQoS && *p.qos > int(a.MaximumQoS):
		return fmt.Errorf("the broker takes at most QoS %d: -q %[1]d", a.MaximumQoS)
	case *p.retain && a.RetainUnavailable:
		return errors.New("the broker keeps no retained messages: leave -r out")
	}
	return nil
}

// publish makes the packet of a message.
func (p *pubFlags) publish(payload []byte) *packet.Publish {
	m := &packet.Publish{Topic: *p.topic, QoS: byte(*p.qos), Retain: *p.retain, Payload: payload}
	if *p.expiry > 0 {
		m.HasExpiry, m.Expiry = true, uint32(max(*p.expiry/time.Second, 1))
	}
	if *p.contentType != "" {
		m.Props = packet.AppendStringProp(m.Props, packet.PropContentType, *p.contentType)
	}
	if *p.response != "" {
		m.Props = packet.AppendStringProp(m.Props, packet.PropResponseTopic, *p.response)
	}
	return m
}

// sending is what a run of pub has sent. It is for one goroutine.
type sending struct {
	c      *client.Conn
	topic  string
	qos    byte
	window int // messages in flight
	next   uint16

	flying  map[uint16]int // by identifier: the number of the message, from 1
	sent    int
	acked   int
	nobody  int // acknowledged, and nobody subscribes
	refused []refusal
}

// refusal is a message that the broker did not take.
type refusal struct {
	Message int    `json:"message"` // its number, from 1
	Code    byte   `json:"code"`
	Reason  string `json:"reason"`
}

// send sends the next message.
func (s *sending) send(m *packet.Publish) error {
	if most := s.c.Answer.MaxPacketSize; most > 0 && packet.PublishSize(packet.V5, m) > int(most) {
		return fmt.Errorf("message %d has %d bytes; the broker takes packets of %d", s.sent+1, len(m.Payload), most)
	}
	if m.QoS > 0 {
		for s.next++; s.next == 0 || s.flying[s.next] > 0; s.next++ {
		}
		m.ID = s.next
	}
	s.sent++
	if m.QoS > 0 {
		s.flying[m.ID] = s.sent
	}
	return s.c.Publish(m)
}

// one sends a message and waits for its acknowledgement.
func (s *sending) one(ctx context.Context, p *pubFlags, payload []byte) error {
	if err := s.send(p.publish(payload)); err != nil {
		return s.lost(err)
	}
	return s.drain(ctx, time.Duration(p.wait))
}

// lines sends what comes on standard input, until that ends.
func (s *sending) lines(ctx context.Context, p *pubFlags, e *env) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := make(chan []byte)
	ended := make(chan error, 1)
	go func() { // ends with standard input, or the process: nothing else ends a read from a terminal
		defer close(in)
		scan := lines(os.Stdin)
		for scan.Scan() {
			select {
			case in <- append([]byte(nil), scan.Bytes()...):
			case <-ctx.Done():
				ended <- nil
				return
			}
		}
		ended <- scan.Err()
	}()
	for {
		from := in
		if len(s.flying) >= s.window {
			from = nil
		}
		select {
		case line, more := <-from:
			if !more {
				return errors.Join(wrap("read standard input", <-ended), s.drain(ctx, time.Duration(p.wait)))
			}
			if err := s.send(p.publish(line)); err != nil {
				return s.lost(err)
			}
		case event, open := <-s.c.Events:
			if !open {
				return s.lost(nil)
			}
			s.take(event)
		case <-ctx.Done():
			return s.drain(context.WithoutCancel(ctx), 3*time.Second) // what is in flight
		}
	}
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// drain waits until nothing is in flight; most 0: as long as the broker lives.
func (s *sending) drain(ctx context.Context, most time.Duration) error {
	var late <-chan time.Time
	if most > 0 {
		timer := time.NewTimer(most)
		defer timer.Stop()
		late = timer.C
	}
	for len(s.flying) > 0 {
		select {
		case event, open := <-s.c.Events:
			if !open {
				return s.lost(nil)
			}
			s.take(event)
		case <-late:
			return fmt.Errorf("%s in %v; the broker may have them, or not", s.missing(), most)
		case <-ctx.Done():
			return fmt.Errorf("stopped: %s; the broker may have them, or not", s.missing())
		}
	}
	return nil
}

func (s *sending) missing() string {
	if s.sent == 1 {
		return "no acknowledgement came"
	}
	return fmt.Sprintf("%d of %d acknowledgements did not come", len(s.flying), s.sent)
}

// lost is the error of a connection that has ended too early. What the broker had
// answered before counts.
func (s *sending) lost(err error) error {
	if err == nil {
		err = s.c.Err()
	} else {
		for event := range s.c.Events {
			s.take(event)
		}
		if why := s.c.Err(); why != nil {
			err = why
		}
	}
	if len(s.flying) > 0 {
		return fmt.Errorf("%w; %s, the broker may have them, or not", err, s.missing())
	}
	return err
}

// take notes an acknowledgement.
func (s *sending) take(event any) {
	a, ok := event.(client.Ack)
	if !ok {
		return
	}
	n, ok := s.flying[a.ID]
	if !ok {
		return
	}
	delete(s.flying, a.ID)
	if a.Code >= 0x80 {
		s.refused = append(s.refused, refusal{n, a.Code, (&client.Refused{What: "it", Code: a.Code, Text: a.Text}).Error()})
		return
	}
	s.acked++
	if a.Code == packet.NoMatchingSubscribers {
		s.nobody++
	}
}

// maxRefusals is how many are printed.
const maxRefusals = 20

// report says what came of it. An error: not all were taken.
func (s *sending) report(p *pubFlags, e *env) error {
	if *p.json {
		out := struct {
			Topic        string    `json:"topic"`
			QoS          byte      `json:"qos"`
			Sent         int       `json:"sent"`
			Acknowledged int       `json:"acknowledged"`
			Nobody       int       `json:"no_subscribers"`
			Refused      []refusal `json:"refused"`
		}{s.topic, s.qos, s.sent, s.acked, s.nobody, append([]refusal{}, s.refused...)}
		return errors.Join(json.NewEncoder(e.out).Encode(out), s.refusals(false))
	}
	if s.nobody == s.sent && s.sent > 0 {
		fmt.Fprintf(e.err, "packetboat pub: %s\n", p.unheard())
	}
	return s.refusals(true)
}

// unheard says what became of messages to which nobody subscribes. To retain one, or
// to end that with an empty one, is a success.
func (p *pubFlags) unheard() string {
	switch {
	case !*p.retain:
		return "acknowledged, and nobody subscribes to " + *p.topic
	case *p.empty:
		return "acknowledged: no message is retained at " + *p.topic + " any more; nobody subscribes to it now"
	case *p.lines:
		return "acknowledged: the last one is retained at " + *p.topic + " for who subscribes later; nobody does now"
	}
	return "acknowledged, and retained at " + *p.topic + " for who subscribes later; nobody does now"
}

// refusals is the error of messages that were not taken.
func (s *sending) refusals(each bool) error {
	if len(s.refused) == 0 {
		return nil
	}
	remedy := ""
	if s.refused[0].Code == packet.NotAuthorized {
		remedy = " (the broker must allow this user to publish to " + s.topic + "; packetboat route TOPIC -user NAME says what a gateway allows)"
	}
	if s.sent == 1 {
		return errors.New(s.refused[0].Reason + remedy)
	}
	text := fmt.Sprintf("%d of %d messages were refused%s", len(s.refused), s.sent, remedy)
	for i, r := range s.refused {
		if !each || i == maxRefusals {
			break
		}
		text += fmt.Sprintf("\n  message %d: %s", r.Message, r.Reason)
	}
	return errors.New(text)
}
