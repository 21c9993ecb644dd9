package adapters

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/broker/topic"
)

// What becomes of a command, as its states topic tells.
//
//	queued ─► sent ─► acked      a frame came within the timeout
//	   │        └───► timeout    none did, also not after the retries
//	   ├──► expired               too old, never written
//	   └──► failed                not encodable, or its write failed again and again
const (
	stateQueued  = "queued"
	stateSent    = "sent"
	stateAcked   = "acked"
	stateTimeout = "timeout"
	stateExpired = "expired"
	stateFailed  = "failed"
)

// commandState is the message on the states topic. The command's correlation data
// go along as the property of MQTT 5.
type commandState struct {
	State  string `json:"state"`
	Topic  string `json:"topic"` // of the command
	Seq    uint64 `json:"seq"`   // in the adapter's queue
	Remote string `json:"remote,omitempty"`
	Error  string `json:"error,omitempty"`
}

// answerTo is where the answer to a command goes: to its response topic, if it has
// one [MQTT-3.3.2-14], else to the configured one; "" for nowhere.
func (o *outbox) answerTo(d *store.Delivery) (to string, correlation []byte) {
	to = o.opt.Reply
	_ = packet.EachProp(d.Props, func(id byte, value, _ []byte) bool { // the broker has checked them
		switch id {
		case packet.PropResponseTopic:
			if topic.ValidName(string(value)) {
				to = string(value)
			}
		case packet.PropCorrelationData:
			correlation = bytes.Clone(value)
		}
		return true
	})
	return to, correlation
}

// tell publishes what has become of a command. It is told once, and lost when the
// broker takes nothing: states are news, the queue's ledger is the account.
func (o *outbox) tell(cmd *command, state, remote string, cause error) {
	if o.opt.States == "" {
		return
	}
	m := commandState{State: state, Topic: cmd.topic, Seq: cmd.seq, Remote: remote}
	if cause != nil {
		m.Error = cause.Error()
	}
	payload, err := json.Marshal(m)
	if err != nil { // strings and numbers always can
		panic(fmt.Sprintf("encode a command's state: %v", err))
	}
	props := packet.AppendByteProp(nil, packet.PropPayloadFormat, 1)
	props = packet.AppendStringProp(props, packet.PropContentType, "application/json")
	_, err = o.s.opt.Broker.Publish(&store.Message{
		Topic: o.opt.States, Payload: payload, QoS: 1, Origin: o.s.origin, Props: appendCorrelation(props, cmd.correlation),
	})
	if err != nil {
		if more, ok := o.s.commands.allow(); ok {
			o.s.opt.Log.Warn("a command's state is not told", "state", state, "seq", cmd.seq, "error", err, "suppressed", more)
		}
	}
}

func appendCorrelation(props, data []byte) []byte {
	if data == nil {
		return props
	}
	return packet.AppendStringProp(props, packet.PropCorrelationData, data)
}

// reply publishes the answer to a command; while the broker takes nothing, it
// waits.
func (c *conn) reply(ctx context.Context, cmd *command, answer []byte) {
	s := c.s
	var props []byte
	if utf8.Valid(answer) {
		props = append(props, textProps...)
	}
	m := store.Message{Topic: cmd.replyTo, Payload: answer, QoS: 1, Origin: s.origin, Props: appendCorrelation(props, cmd.correlation)}
	_, err := s.opt.Broker.Publish(&m)
	for delay := pauseMin; errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrFailed); delay = min(2*delay, pauseMax) {
		if sleep(ctx, delay); ctx.Err() != nil {
			break
		}
		_, err = s.opt.Broker.Publish(&m)
	}
	if err == nil {
		s.c.replies.Add(1)
		return
	}
	s.c.dropped.Add(1)
	if more, ok := s.commands.allow(); ok {
		s.opt.Log.Warn("the answer to a command is not published", "topic", m.Topic, "seq", cmd.seq, "error", err, "suppressed", more)
	}
}

// execute writes a command, and waits for its answer if that goes somewhere. Its
// error is that of a write before the device had all of it.
func (c *conn) execute(ctx context.Context, cmd *command) error {
	o := c.s.outbox
	if !c.wire.take(ctx) {
		return ctx.Err()
	}
	defer c.wire.give()
	if cmd.replyTo == "" {
		if err := c.write(cmd.data, o.opt.Timeout); err != nil {
			return err
		}
		o.tell(cmd, stateSent, c.at.Remote, nil)
		o.sent(cmd)
		return nil
	}
	// Done when it is written: a crash must not write it again. With retries that is
	// what the user wants all the same.
	for attempt := range o.opt.Retries + 1 {
		answer, err := c.ask(ctx, cmd.data, o.opt.Timeout, o.opt.Timeout, len(c.s.opt.Ack) == 0, func() {
			if attempt == 0 {
				o.tell(cmd, stateSent, c.at.Remote, nil)
				o.sent(cmd)
			}
		})
		switch {
		case err != nil && attempt == 0:
			return err
		case err != nil || ctx.Err() != nil && answer == nil:
			return nil // the link is going
		case answer != nil:
			c.reply(ctx, cmd, answer)
			o.tell(cmd, stateAcked, c.at.Remote, nil)
			return nil
		}
	}
	c.s.c.cmdUnanswered.Add(1)
	o.tell(cmd, stateTimeout, c.at.Remote, fmt.Errorf("no answer within %v, %d attempts", o.opt.Timeout, o.opt.Retries+1))
	return nil
}
