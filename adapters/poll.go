package adapters

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"packetboat/config"
)

// PollOptions ask the device for its readings.
type PollOptions struct {
	Every   time.Duration
	Request []byte
	Timeout time.Duration // of one attempt
	Retries int           // when no frame came
}

func (p *PollOptions) check() error {
	switch {
	case len(p.Request) == 0:
		return &KeyError{"poll.send", errors.New("is missing: give the text that the device answers to, or send_hex")}
	case p.Timeout >= p.Every:
		return &KeyError{"poll.timeout", fmt.Errorf("%v: must be less than every (%v)", p.Timeout, p.Every)}
	}
	return nil
}

// pollRequest is what a [serial.poll] or [tcp.poll] section has written.
func pollRequest(p *config.Poll) ([]byte, error) {
	if p.Send != "" && p.SendHex != "" {
		return nil, &KeyError{"poll.send_hex", errors.New("is set beside send; give one of them")}
	}
	if p.SendHex == "" {
		return []byte(p.Send), nil
	}
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "", "\t", "").Replace(p.SendHex))
	if err != nil {
		return nil, &KeyError{"poll.send_hex", fmt.Errorf("%q is not bytes in hexadecimal digits, such as \"01 03 00 0A\"", p.SendHex)}
	}
	return b, nil
}

// poll asks at once and then every so often until ctx ends. Its times are those of
// a clock that began when the link was opened, so that a slow answer delays none of
// them; one that is missed is left out. The frame that answers goes the way of all
// frames.
func (c *conn) poll(ctx context.Context, fail context.CancelCauseFunc) {
	p := c.s.opt.Poll
	next := time.Now()
	for c.wire.take(ctx) {
		err := c.pollOnce(ctx, p)
		c.wire.give()
		if err != nil {
			fail(fmt.Errorf("write poll: %w", err))
			return
		}
		now := time.Now()
		for !next.After(now) {
			next = next.Add(p.Every)
		}
		sleep(ctx, next.Sub(now))
	}
}

func (c *conn) pollOnce(ctx context.Context, p *PollOptions) error {
	s := c.s
	s.c.polls.Add(1)
	for range p.Retries + 1 {
		answer, err := c.ask(ctx, p.Request, p.Timeout, p.Timeout, false, func() {})
		if err != nil || answer != nil || ctx.Err() != nil {
			return err
		}
	}
	s.c.unanswered.Add(1)
	if more, ok := s.polling.allow(); ok {
		s.opt.Log.Warn("the device does not answer", "remote", c.at.Remote, "attempts", p.Retries+1, "suppressed", more)
	}
	return nil
}
