package modbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"packetboat/adapters"
	"packetboat/broker/store"
)

// One life of the line. Its steps, again and again:
//
//	tell      presence, as far as it follows from time
//	execute   a command, if one waits for a unit that may be asked; and poll it
//	poll      the unit whose turn it is, and publish
//	rest      until the next turn, a command, or the line's end

// unanswered requests in a row mean that a connection leads nowhere.
const maxUnanswered = 3

// errDeaf is such a connection's end.
var errDeaf = errors.New("no request is answered any more")

// serve polls over an open line until it is gone (its error) or ctx has ended
// (nil), and closes it.
func (a *Adapter) serve(ctx context.Context, link adapters.Link) error {
	c := newClient(link, a.wire, a.timing, a.cfg.Timeout, &a.line)
	c.recent = &a.recent
	a.opens.Add(1)
	a.ready.Store(true)
	a.opened, a.answered = time.Now(), time.Time{}
	var reader sync.WaitGroup
	reader.Go(c.read)

	err := a.work(ctx, c)
	closeErr := link.Close()
	reader.Wait()
	a.ready.Store(false)
	a.showOffline()
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(err, closeErr)
}

func (a *Adapter) work(ctx context.Context, c *client) error {
	for ctx.Err() == nil {
		if a.wire.framed() && c.unanswered >= maxUnanswered {
			return errDeaf
		}
		next := a.tell(time.Now())
		cmd, at := a.command()
		if cmd != nil {
			if err := a.execute(ctx, c, cmd); err != nil {
				return err
			}
			at = time.Now() // others may wait; a poll that is due has its turn between
		}
		turn, rest := a.schedule.next(time.Now())
		if turn != nil {
			if err := a.poll(ctx, c, a.unitOf(turn)); err != nil {
				return err
			}
			continue
		}
		for _, t := range []time.Time{next, at} {
			if !t.IsZero() {
				rest = min(rest, time.Until(t))
			}
		}
		if err := a.rest(ctx, c, rest); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (a *Adapter) unitOf(s *slot) *unit {
	for _, u := range a.units {
		if &u.slot == s {
			return u
		}
	}
	panic("a slot without a unit")
}

// command takes a command that can be executed now, or says when the next can.
func (a *Adapter) command() (*command, time.Time) {
	if a.inbox == nil {
		return nil, time.Time{}
	}
	return a.inbox.take(time.Now(), func(u *unit) time.Time {
		if u.failures == 0 {
			return time.Time{}
		}
		return a.schedule.allowed(&u.slot)
	})
}

// rest waits for d, a command, or the end of the line or ctx.
func (a *Adapter) rest(ctx context.Context, c *client, d time.Duration) error {
	var commands chan struct{}
	if a.inbox != nil {
		commands = a.inbox.wake
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-commands:
	case <-c.gone:
		return c.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// silence reports whether an error means that the unit has not answered, or
// not well: the line goes on.
func silence(err error) bool {
	var bad garbled
	var refused Exception // of a gateway on the unit's behalf
	return errors.Is(err, errNoAnswer) || errors.As(err, &bad) || errors.As(err, &refused)
}

// poll reads a unit's values and publishes them. Its error ends the line.
func (a *Adapter) poll(ctx context.Context, c *client, u *unit) error {
	began := time.Now()
	err := u.read(ctx, c, a.log)
	switch {
	case err == nil:
		a.answer(u, began)
		a.publish(u)
	case silence(err):
		a.noAnswer(u, began, err)
	default:
		return err
	}
	return nil
}

// note shows a unit's counters to others.
func (a *Adapter) note(u *unit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.units {
		if a.units[i] == u {
			u.stats.Missed, u.stats.Failing, u.stats.Refused = u.missed, u.failures > 0, u.refuses()
			a.stats[i] = u.stats
		}
	}
}

// tellAfter failures in a row a unit is said not to answer.
const tellAfter = 3

func (a *Adapter) answer(u *unit, began time.Time) {
	now := time.Now()
	if u.failures >= tellAfter {
		a.log.Info("unit answers again", "unit", u.name, "id", u.id, "failures", u.failures)
	}
	u.answered, a.answered = now, now
	u.stats.LastAnswer = now
	u.stats.Polls++
	a.schedule.answered(&u.slot, began, now)
	a.note(u)
}

func (a *Adapter) noAnswer(u *unit, began time.Time, err error) {
	u.stats.Failed++
	a.schedule.failed(&u.slot, began, time.Now())
	a.note(u)
	if u.failures == tellAfter {
		a.log.Warn("unit does not answer; it is asked at growing intervals, so that others keep their periods",
			"unit", u.name, "id", u.id, "error", err, "timeout", a.cfg.Timeout)
	}
}

// publish publishes what was read. A reading is of its moment: what the broker
// does not take is dropped and counted, the next one is soon there.
func (a *Adapter) publish(u *unit) {
	if a.cfg.OnChange && !u.changed(a.cfg.DeadBand) {
		return
	}
	_, err := a.host.Broker.Publish(&store.Message{
		Topic:   u.topic,
		Payload: u.payload(nil),
		QoS:     byte(a.cfg.QoS),
		Retain:  a.cfg.Retain,
		Origin:  a.origin(),
		Props:   textProps,
	})
	if err != nil {
		a.dropped.Add(1)
		if !a.refusing {
			a.log.Warn("readings are dropped: the broker does not take them", "topic", u.topic, "error", err)
		}
		a.refusing = true
		return
	}
	if a.refusing {
		a.log.Info("the broker takes readings again", "dropped", a.dropped.Load())
	}
	a.refusing = false
	a.published.Add(1)
	u.last = append(u.last[:0], u.values...)
}

// textProps says that a payload is text: payload format indicator 1 [MQTT5
// 3.3.2.3.2].
var textProps = []byte{0x01, 0x01}

func (a *Adapter) origin() string { return "adapter/" + a.cfg.Name }

// execute writes a command, and polls its unit so that everybody sees what has
// become of it. Its error ends the line.
func (a *Adapter) execute(ctx context.Context, c *client, cmd *command) error {
	began := time.Now()
	for len(cmd.requests) > 0 {
		err := a.write(ctx, c, cmd)
		var refused Exception
		switch {
		case err == nil:
			cmd.requests = cmd.requests[1:]
			continue
		case errors.As(err, &refused) && refused != gatewayNoPath && refused != gatewayTargetSilent:
			a.inbox.refused(cmd, fmt.Errorf("unit %s: %w", cmd.unit.name, refused))
		case silence(err):
			a.noAnswer(cmd.unit, began, err)
			a.inbox.back(cmd)
			return nil
		default:
			a.inbox.broke(cmd, err)
			return err
		}
		break
	}
	if len(cmd.requests) == 0 {
		a.inbox.done(cmd)
	}
	return a.poll(ctx, c, cmd.unit)
}

// write writes the first of a command's requests.
func (a *Adapter) write(ctx context.Context, c *client, cmd *command) error {
	_, err := c.ask(ctx, cmd.unit.id, cmd.requests[0])
	if errors.Is(err, illegalFunction) {
		if r := other(cmd.requests[0]); r != nil {
			_, err = c.ask(ctx, cmd.unit.id, r)
		}
	}
	if errors.Is(err, acknowledge) { // taken, and will last
		return nil
	}
	return err
}

// tell brings presence up to date and gives the next time that it may change by
// itself; zero: never.
func (a *Adapter) tell(now time.Time) (next time.Time) {
	show := func(topic string, answered time.Time, state string) {
		if topic == "" {
			return
		}
		if d := a.cfg.SilentAfter; d > 0 {
			if answered.Before(a.opened) {
				answered = a.opened
			}
			switch at := answered.Add(d); {
			case !at.After(now):
				state = silent
			case next.IsZero() || at.Before(next):
				next = at
			}
		}
		a.presence.set(topic, state)
	}
	show(a.status, a.answered, online)
	for _, u := range a.units {
		state := online
		if u.answered.IsZero() || a.cfg.SilentAfter == 0 && u.failures >= tellAfter {
			state = offline
		}
		show(u.status, u.answered, state)
	}
	return next
}

// showOffline is for a line that is closed.
func (a *Adapter) showOffline() {
	a.presence.set(a.status, offline)
	for _, u := range a.units {
		u.answered = time.Time{}
		a.presence.set(u.status, offline)
	}
}
