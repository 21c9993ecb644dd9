package adapters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"packetboat/broker/store"
)

// The outbox may hold so much of its consumer's commands in memory. When it is
// full the consumer's next commands stay in the queue on disk until one that
// is held was written or has expired.
const (
	maxHeld      = 256
	maxHeldBytes = 1 << 20
)

// maxWrites is how often a command may fail half-way, each time taking its
// link with it, before it is given up.
const maxWrites = 5

// outbox holds the commands that were taken from the durable consumer and are
// not done, and knows the links.
//
//	          admit                     written by all its links, one took it
//	queue ───────────► waiting ─► given ────────────────────────────────────► Done
//	                     │  ▲       │
//	                     │  └───────┤ no link took it (they went; less than maxWrites)
//	                     ▼          ▼
//	                 expired: GiveUp(Expired)      not encodable, maxWrites: GiveUp(Refused)
//
// A command is given to the links that are open when it comes, or, when none
// is, to the first that opens. Within a link and among those that wait, order
// is that of the queue.
type outbox struct {
	s      *Stream
	opt    CommandOptions
	src    Commands
	detach func()
	level  int           // of the command topic that names the peer; -1: none
	room   chan struct{} // one slot: something was finished
	wake   chan struct{} // one slot: waiting got an earlier deadline

	mu      sync.Mutex
	held    int
	bytes   int
	waiting []*command // given to no link, by seq
	boxes   []*mailbox // of open links, in the order they opened
}

// command is one of the outbox; its lock guards what changes.
type command struct {
	seq      uint64
	topic    string
	remote   string // "" is all
	data     []byte // encoded
	received store.Stamp
	limit    time.Duration // of its age; negative: none

	replyTo     string // topic of the answer; "" = none is waited for
	correlation []byte

	given  int  // links that have not reported
	sent   bool // a link took it
	tried  bool // a link that it was given to failed in its write
	writes int  // rounds of links of which none took it, and one failed so
}

// mailbox is a link's part of the outbox.
type mailbox struct {
	remote string
	wake   chan struct{} // one slot
	queue  []*command    // by seq; the outbox's lock
}

func newOutbox(s *Stream, opt CommandOptions) (*outbox, error) {
	if opt.Timeout == 0 {
		opt.Timeout = 2 * time.Second
	}
	filter, level, err := commandFilter(opt.Topic)
	if err != nil {
		return nil, &KeyError{"command.topic", err}
	}
	if level >= 0 && opt.TTL == 0 {
		return nil, &KeyError{"command.ttl", errors.New("must be more than 0 where the topic has {remote}: commands to a peer that never comes would wait forever, and others behind them")}
	}
	o := &outbox{s: s, opt: opt, level: level, room: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	if o.src, o.detach, err = opt.Attach(filter); err != nil {
		return nil, &KeyError{"command.topic", err}
	}
	return o, nil
}

// run takes commands from the queue and expires those that wait, until ctx
// ends. What is not done then is in the queue still, for the next start.
func (o *outbox) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { o.expire(ctx) })
	defer wg.Wait()
	for o.waitRoom(ctx) {
		d, err := o.src.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			o.s.opt.Log.Error("commands end: their queue failed", "error", err)
			return
		}
		o.admit(&d)
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// waitRoom waits until there is room for another command.
func (o *outbox) waitRoom(ctx context.Context) bool {
	for {
		o.mu.Lock()
		free := o.held < maxHeld && o.bytes < maxHeldBytes
		o.mu.Unlock()
		if free {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-o.room:
		}
	}
}

// admit takes a delivery in: it is given to the links that it is for, or waits.
func (o *outbox) admit(d *store.Delivery) {
	if d.Released { // ended already, and nothing is left of it
		o.src.Done(d.Seq)
		return
	}
	cmd := &command{seq: d.Seq, topic: d.Topic, remote: levelOf(d.Topic, o.level), received: d.Received, limit: -1}
	if o.opt.TTL > 0 {
		cmd.limit = o.opt.TTL
	}
	if e := time.Duration(d.Expiry) * time.Second; d.HasExpiry && (cmd.limit < 0 || e < cmd.limit) {
		cmd.limit = e
	}
	cmd.replyTo, cmd.correlation = o.answerTo(d)
	o.tell(cmd, stateQueued, "", nil)
	data, err := o.opt.Encode.Append(nil, d.Topic, d.Payload)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held++
	o.bytes += len(data)
	cmd.data = data
	o.s.c.waiting.Add(1)
	if err != nil {
		o.giveUpLocked(cmd, store.Refused, err)
		return
	}
	o.giveLocked(cmd)
}

// giveLocked gives cmd to the open links that it is for; without any, or when
// it is too old, it waits or ends.
func (o *outbox) giveLocked(cmd *command) {
	if o.tooOld(cmd) {
		o.giveUpLocked(cmd, store.Expired, nil)
		return
	}
	for _, box := range o.boxes {
		if cmd.remote == "" || cmd.remote == box.remote {
			cmd.given++
			box.queue = insert(box.queue, cmd)
			notify(box.wake)
		}
	}
	if cmd.given == 0 {
		o.waiting = insert(o.waiting, cmd)
		notify(o.wake)
	}
}

// insert keeps queues in the consumer's order.
func insert(q []*command, cmd *command) []*command {
	i, _ := slices.BinarySearchFunc(q, cmd.seq, func(c *command, seq uint64) int {
		if c.seq < seq {
			return -1
		}
		return 1
	})
	return slices.Insert(q, i, cmd)
}

// tooOld reports whether a command's age has passed its limit, or cannot be
// known. The age is a lower bound, exact within one boot of the machine. Over
// a boot without a clock that could be trusted at both ends nobody knows how
// long the machine was off, and a valve must not open a week late.
func (o *outbox) tooOld(cmd *command) bool {
	if cmd.limit < 0 {
		return false
	}
	disk := o.s.opt.Disk
	if disk.Age(cmd.received) >= cmd.limit {
		return true
	}
	return !cmd.received.IsZero() && !disk.AgeKnown(cmd.received)
}

// expire ends waiting commands when their time comes.
func (o *outbox) expire(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		o.mu.Lock()
		next := time.Hour
		var left []*command
		for _, cmd := range o.waiting {
			if o.tooOld(cmd) {
				o.giveUpLocked(cmd, store.Expired, nil)
				continue
			}
			if cmd.limit >= 0 {
				next = min(next, cmd.limit-o.s.opt.Disk.Age(cmd.received))
			}
			left = append(left, cmd)
		}
		o.waiting = left
		o.mu.Unlock()
		timer.Reset(max(next, time.Millisecond))
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		case <-timer.C:
		}
	}
}

// giveUpLocked ends a command that was not written.
func (o *outbox) giveUpLocked(cmd *command, why store.Reason, cause error) {
	// Its record need not be waited for: a command that a crash brings back
	// is given up again, for the same reason.
	o.src.GiveUp(cmd.seq, why, "")
	o.forgetLocked(cmd)
	count, msg, state := &o.s.c.cmdFailed, "command given up", stateFailed
	if why == store.Expired {
		count, msg, state = &o.s.c.cmdExpired, "command expired, not written", stateExpired
	}
	o.tell(cmd, state, cmd.remote, cause)
	count.Add(1)
	if more, ok := o.s.commands.allow(); ok {
		o.s.opt.Log.Warn(msg, "topic", cmd.topic, "seq", cmd.seq, "error", cause, "suppressed", more)
	}
}

// forgetLocked makes room: the command is done or given up.
func (o *outbox) forgetLocked(cmd *command) {
	o.held--
	o.bytes -= len(cmd.data)
	o.s.c.waiting.Add(-1)
	notify(o.room)
}

// join adds a link, and gives it what waits for one like it.
func (o *outbox) join(remote string) *mailbox {
	box := &mailbox{remote: appendedLevel(remote), wake: make(chan struct{}, 1)}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.boxes = append(o.boxes, box)
	waiting := o.waiting
	o.waiting = nil
	for _, cmd := range waiting {
		o.giveLocked(cmd) // those for others wait again
	}
	return box
}

// leave removes a link; what it had not begun is taken back.
func (o *outbox) leave(box *mailbox) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leaveLocked(box)
}

func (o *outbox) leaveLocked(box *mailbox) {
	o.boxes = slices.DeleteFunc(o.boxes, func(b *mailbox) bool { return b == box })
	queue := box.queue
	box.queue = nil
	for _, cmd := range queue {
		o.reportLocked(cmd)
	}
}

// next returns the link's next command; nil when ctx has ended.
func (o *outbox) next(ctx context.Context, box *mailbox) *command {
	for ctx.Err() == nil {
		o.mu.Lock()
		for len(box.queue) > 0 {
			cmd := box.queue[0]
			box.queue = slices.Delete(box.queue, 0, 1)
			if !o.tooOld(cmd) {
				o.mu.Unlock()
				return cmd
			}
			o.reportLocked(cmd)
		}
		o.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-box.wake:
		}
	}
	return nil
}

// sent reports that a link took a command.
func (o *outbox) sent(cmd *command) {
	o.mu.Lock()
	defer o.mu.Unlock()
	cmd.sent = true
	o.reportLocked(cmd)
}

// failed reports that writing to a link failed, perhaps half-way; the link is
// given nothing more.
func (o *outbox) failed(box *mailbox, cmd *command, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	cmd.tried = true
	if more, ok := o.s.commands.allow(); ok {
		o.s.opt.Log.Warn("command not written", "topic", cmd.topic, "seq", cmd.seq, "remote", box.remote, "error", err, "suppressed", more)
	}
	o.leaveLocked(box)
	o.reportLocked(cmd)
}

// reportLocked notes that a link has finished with a command, one way or the
// other. The last one decides: done, or on to other links.
func (o *outbox) reportLocked(cmd *command) {
	if cmd.given--; cmd.given > 0 {
		return
	}
	if cmd.tried {
		cmd.writes, cmd.tried = cmd.writes+1, false
	}
	switch {
	case cmd.sent:
		o.s.c.cmdSent.Add(1)
		o.forgetLocked(cmd)
		o.src.Done(cmd.seq)
	case cmd.writes >= maxWrites:
		o.giveUpLocked(cmd, store.Refused, fmt.Errorf("its write failed %d times", cmd.writes))
	default:
		o.giveLocked(cmd)
	}
}

// appendedLevel is how a peer's name stands in a topic.
func appendedLevel(remote string) string {
	if remote == "" {
		return ""
	}
	return string(appendLevel(nil, remote))
}

// writeCommands writes a link's commands, one after the other.
func (c *conn) writeCommands(ctx context.Context, fail context.CancelCauseFunc) {
	o := c.s.outbox
	for cmd := o.next(ctx, c.mailbox); cmd != nil; cmd = o.next(ctx, c.mailbox) {
		if err := c.execute(ctx, cmd); err != nil {
			o.failed(c.mailbox, cmd, err)
			fail(fmt.Errorf("write command: %w", err))
			return
		}
	}
}
