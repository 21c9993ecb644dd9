package modbus

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/adapters"
	"packetboat/broker/store"
)

const (
	// commandTTL is how old a command may get: what a heating was told a minute
	// ago, nobody expects to happen now.
	commandTTL = time.Minute

	// maxCommands are held in memory; more stay in the queue on disk until
	// one was finished.
	maxCommands = 64

	// maxTries is how often the line or connection may go while a command is
	// written; then the command is to blame.
	maxTries = 5
)

// command is a message to a unit. Who has taken it from the inbox owns it.
type command struct {
	seq      uint64
	topic    string
	unit     *unit
	requests [][]byte // what is left to write
	received store.Stamp
	limit    time.Duration // of its age
	tries    int
}

// inbox holds the commands that were taken from the durable consumer and are
// not done:
//
//	        admit           take              done
//	queue ────────► waiting ────► the poller ──────► Done
//	  │                │  ▲           │  │
//	  │ not a command  │  └───────────┘  │ refused by the unit, maxTries
//	  ▼                ▼    back         ▼
//	GiveUp(Refused)  GiveUp(Expired)   GiveUp(Refused)
type inbox struct {
	src    adapters.Commands
	detach func()
	disk   adapters.Disk
	log    *slog.Logger
	units  map[string]*unit // by the topic of their commands; not changed

	room    chan struct{} // one slot: something was finished
	wake    chan struct{} // one slot: something waits that did not
	expires chan struct{} // one slot: the same, for expire
	limit   adapters.Limiter

	sent, expired, failed atomic.Uint64

	mu      sync.Mutex
	held    int
	waiting []*command // by seq
}

func newInbox(host adapters.Host, log *slog.Logger, units map[string]*unit) *inbox {
	return &inbox{disk: host.Disk, log: log, units: units,
		room: make(chan struct{}, 1), wake: make(chan struct{}, 1), expires: make(chan struct{}, 1)}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run takes commands from the queue and expires those that wait, until ctx
// ends. What is not done then is in the queue still.
func (in *inbox) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { in.expire(ctx) })
	defer wg.Wait()
	for in.waitRoom(ctx) {
		d, err := in.src.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			in.log.Error("commands end: their queue failed", "error", err)
			return
		}
		in.admit(&d)
	}
}

func (in *inbox) waitRoom(ctx context.Context) bool {
	for {
		in.mu.Lock()
		free := in.held < maxCommands
		in.mu.Unlock()
		if free {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-in.room:
		}
	}
}

// admit takes a delivery in.
func (in *inbox) admit(d *store.Delivery) {
	if d.Released { // ended already, and nothing is left of it
		in.src.Done(d.Seq)
		return
	}
	cmd := &command{seq: d.Seq, topic: d.Topic, unit: in.units[d.Topic], received: d.Received, limit: commandTTL}
	if d.HasExpiry {
		cmd.limit = min(cmd.limit, time.Duration(d.Expiry)*time.Second)
	}
	err := errors.New("no unit has values to write under this topic")
	if cmd.unit != nil {
		cmd.requests, err = requests(cmd.unit.points, d.Payload)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.held++
	if err != nil {
		in.giveUpLocked(cmd, store.Refused, err)
		return
	}
	in.waitLocked(cmd)
}

// waitLocked puts a command where its seq has it.
func (in *inbox) waitLocked(cmd *command) {
	i, _ := slices.BinarySearchFunc(in.waiting, cmd.seq, func(c *command, seq uint64) int {
		if c.seq < seq {
			return -1
		}
		return 1
	})
	in.waiting = slices.Insert(in.waiting, i, cmd)
	notify(in.wake)
	notify(in.expires)
}

// take gives the first command whose unit may be asked now; else nil and when
// the first of the others may be.
func (in *inbox) take(now time.Time, from func(*unit) time.Time) (cmd *command, next time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := 0; i < len(in.waiting); {
		cmd := in.waiting[i]
		if in.tooOld(cmd) {
			in.waiting = slices.Delete(in.waiting, i, i+1)
			in.giveUpLocked(cmd, store.Expired, nil)
			continue
		}
		at := from(cmd.unit)
		if !at.After(now) {
			in.waiting = slices.Delete(in.waiting, i, i+1)
			return cmd, time.Time{}
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
		i++
	}
	return nil, next
}

// tooOld reports whether a command's age has passed its limit, or cannot be
// known: a valve must not open a week late.
func (in *inbox) tooOld(cmd *command) bool {
	return in.disk.Age(cmd.received) >= cmd.limit ||
		!cmd.received.IsZero() && !in.disk.AgeKnown(cmd.received)
}

// done notes that the unit has confirmed all of it.
func (in *inbox) done(cmd *command) {
	in.mu.Lock()
	in.forgetLocked()
	in.mu.Unlock()
	in.sent.Add(1)
	in.src.Done(cmd.seq)
}

// back has a command wait again, whose unit has not answered.
func (in *inbox) back(cmd *command) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.waitLocked(cmd)
}

// broke notes that the link went while a command was written.
func (in *inbox) broke(cmd *command, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if cmd.tries++; cmd.tries >= maxTries {
		in.giveUpLocked(cmd, store.Refused, err)
		return
	}
	in.waitLocked(cmd)
}

// refused ends a command that the unit will not take.
func (in *inbox) refused(cmd *command, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.giveUpLocked(cmd, store.Refused, err)
}

// giveUpLocked ends a command that was not written, or not all of it.
func (in *inbox) giveUpLocked(cmd *command, why store.Reason, cause error) {
	// Its record need not be waited for: a command that a crash brings back
	// is given up again, for the same reason.
	in.src.GiveUp(cmd.seq, why, "")
	in.forgetLocked()
	count, msg := &in.failed, "command given up"
	if why == store.Expired {
		count, msg = &in.expired, "command expired, not written"
	}
	count.Add(1)
	if more, ok := in.limit.Allow(); ok {
		in.log.Warn(msg, "topic", cmd.topic, "seq", cmd.seq, "error", cause, "suppressed", more)
	}
}

func (in *inbox) forgetLocked() {
	in.held--
	notify(in.room)
}

// expire ends commands that wait when their time comes.
func (in *inbox) expire(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(in.expireNow())
		select {
		case <-ctx.Done():
			return
		case <-in.expires:
		case <-timer.C:
		}
	}
}

// expireNow ends those whose time has come, and says when the next one's does.
func (in *inbox) expireNow() time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	next := time.Hour
	in.waiting = slices.DeleteFunc(in.waiting, func(cmd *command) bool {
		if in.tooOld(cmd) {
			in.giveUpLocked(cmd, store.Expired, nil)
			return true
		}
		next = min(next, cmd.limit-in.disk.Age(cmd.received))
		return false
	})
	return max(next, time.Millisecond)
}

// waits is how many wait.
func (in *inbox) waits() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.held
}
