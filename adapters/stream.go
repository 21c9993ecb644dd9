package adapters

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"packetboat/adapters/decode"
	"packetboat/adapters/frame"
	"packetboat/broker/store"
	"packetboat/config"
)

// Options of a Stream. Templates have {gateway} and {name} bound.
type Options struct {
	Name       string
	Framing    frame.Framing         // nil: lines, trimmed
	NewDecoder func() decode.Decoder // for each link one; nil: text

	Topic  config.Template
	Status config.Template // zero: none. With {remote}, each peer has its own
	// SilentAfter so long without a frame the presence is silent; 0 is never.
	SilentAfter time.Duration

	QoS    byte
	Retain bool
	MaxAge time.Duration // message expiry; 0 is none

	Shape    *decode.Shape // nil: none
	OnChange bool          // publish only what differs from the topic's last value
	DeadBand float64       // with OnChange: numbers differ when by more than this
	Rate     int           // messages a second; 0 is no limit

	// Ack is written to the device for each frame, once it is on disk. As an
	// ack bears no number, a frame that cannot be taken ends the link.
	Ack         []byte
	IdleTimeout time.Duration // a link is closed when no byte came for so long; 0 is never
	ReadBuffer  int           // bytes a link reads at once; 0 is 4 KiB

	Command *CommandOptions // nil: none
	Poll    *PollOptions    // nil: none

	Broker Publisher
	Disk   Disk
	Log    *slog.Logger // nil: none

	// Jitter is how long to wait before a link is opened again; nil: 0.5 to
	// 1.5 s, so that devices behind one failing hub do not come back as one.
	Jitter func() time.Duration
}

// CommandOptions are the way to the device.
type CommandOptions struct {
	// Attach attaches the durable consumer of a filter; detach ends it. It is
	// called once, by NewStream.
	Attach func(filter string) (src Commands, detach func(), err error)

	// Topic is where commands are published. With {remote} as a level of its
	// own a command is for the links to this peer, else for all links that are
	// open when its turn comes. It is done when one of them took it; while
	// there is none, it waits for the first.
	Topic  config.Template
	Encode decode.Command
	TTL    time.Duration // older commands are expired, never written; 0 is never. Needed with {remote}

	// Timeout is how long a write may take. A device that takes longer is
	// stuck: its link is closed, and the command tried again on the next.
	Timeout time.Duration // 0 is 2 s; also for the answer

	// Reply is the topic of answers, for commands that do not name one of their own
	// (MQTT 5 response topic); "" is none. Where there is one, the next frame within
	// Timeout is the command's answer, and no reading; until then nothing else is
	// written to that link.
	Reply   string
	Retries int    // writes once more when no answer came
	States  string // topic that tells what becomes of each command; "" is none
}

// Stream is an adapter without its links: serial and TCP give it these, one
// after the other (Reopen) or many at once (Serve).
type Stream struct {
	opt      Options
	origin   string
	presence *presence
	outbox   *outbox // nil: no commands
	c        counters
	changes  *changes // nil: everything is published
	rate     rate
	causes   causes
	recent   Recent

	badFrames, refusals, pauses, links, commands, polling limiter
}

// NewStream makes a Stream and attaches its commands. Its error is a
// *KeyError.
func NewStream(opt Options) (*Stream, error) {
	if opt.Framing == nil {
		opt.Framing = frame.Line{Trim: true}
	}
	if opt.NewDecoder == nil {
		opt.NewDecoder = func() decode.Decoder { return decode.Text{} }
	}
	if opt.ReadBuffer == 0 {
		opt.ReadBuffer = 4 << 10
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	opt.Log = opt.Log.With("adapter", opt.Name)
	if opt.Jitter == nil {
		opt.Jitter = func() time.Duration { return 500*time.Millisecond + rand.N(time.Second) }
	}
	if err := opt.Framing.Check(); err != nil {
		return nil, &KeyError{"frame", err}
	}
	if err := checkTopic(opt.Topic); err != nil {
		return nil, &KeyError{"topic", err}
	}
	if !opt.Status.IsZero() {
		if err := checkTopic(opt.Status); err != nil {
			return nil, &KeyError{"status", err}
		}
	}
	if opt.Poll != nil {
		if err := opt.Poll.check(); err != nil {
			return nil, err
		}
	}
	s := &Stream{opt: opt, origin: "adapter/" + opt.Name, rate: rate{most: opt.Rate}}
	if opt.OnChange {
		s.changes = newChanges(opt.DeadBand)
	}
	s.presence = newPresence(opt.Status, opt.SilentAfter, PublishState(opt.Broker, s.origin, opt.Log))
	if opt.Command != nil {
		var err error
		if s.outbox, err = newOutbox(s, *opt.Command); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Name is the adapter's name.
func (s *Stream) Name() string { return s.opt.Name }

// Recent keeps the last frames of all links.
func (s *Stream) Recent() *Recent { return &s.recent }

// Log is the adapter's logger, for its links.
func (s *Stream) Log() *slog.Logger { return s.opt.Log }

// Run runs links, which calls Serve or Reopen and returns when ctx ends, and
// around it what all links share. It returns when all of that has ended.
func (s *Stream) Run(ctx context.Context, links func(ctx context.Context) error) error {
	var wg sync.WaitGroup
	around, stop := context.WithCancel(context.WithoutCancel(ctx))
	wg.Go(func() { s.presence.run(around) })
	if s.outbox != nil {
		wg.Go(func() { s.outbox.run(ctx) })
	}
	err := links(ctx)
	stop() // after the last link has closed, so that offline is said
	wg.Wait()
	return err
}

// Close detaches the commands; see Adapter.
func (s *Stream) Close() {
	if s.outbox != nil {
		s.outbox.detach()
	}
}

// Reopen keeps one link open until ctx ends: it opens, serves until the link
// is gone, waits a little and opens again. open finds the device by its
// identity each time; its error is logged when it changes, not each time.
func (s *Stream) Reopen(ctx context.Context, open func(ctx context.Context) (Link, Place, error)) error {
	var (
		log      = s.opt.Log
		lastErr  string
		lastTime time.Time
	)
	for ctx.Err() == nil {
		link, at, err := open(ctx)
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = link.Close() // nothing was written to it
			}
			return nil
		case err != nil:
			s.c.trouble.Set(err)
			if text := err.Error(); lastErr == "" || text != lastErr && time.Since(lastTime) >= time.Minute {
				log.Error("cannot open; will keep trying", "error", err)
				lastErr, lastTime = text, time.Now()
			}
		default:
			lastErr = ""
			s.c.trouble.Set(nil)
			if more, ok := s.links.allow(); ok {
				log.Info("open", "port", at.Port, "suppressed", more)
			}
			err = s.Serve(ctx, link, at)
			if ctx.Err() != nil {
				return nil
			}
			s.c.trouble.Gone(err)
			if more, ok := s.links.allow(); ok {
				log.Warn("gone; will reopen", "port", at.Port, "error", err, "suppressed", more)
			}
		}
		s.Pause(ctx)
	}
	return nil
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// How a link's Serve ends.
var (
	errIdle     = errors.New("idle for too long")
	errNotTaken = errors.New("a frame could not be taken, and an ack would stand for it")
)

// grace is how long a link that has ended waits for the disk, so that
// what it brought is still acknowledged.
const grace = 3 * time.Second

// conn is one life of a link. Its reader is the goroutine of Serve; acker and
// commander write.
type conn struct {
	s    *Stream
	link Link
	at   Place

	// The reader's.
	framing frame.Decoder
	decoder decode.Decoder
	value   decode.Value
	shaper  *decode.Shaper // nil: no expressions
	pending *published     // nil: nothing to settle
	digest  digest         // of the value that is pending
	topic   string         // when it is the same for all frames
	message store.Message
	counted frame.Counters
	chunk   []byte // that was read last, valid until the next
	paused  bool   // since the last read

	presence *presenceState // nil: none

	acks    chan store.Receipt
	mailbox *mailbox

	wire *wire      // nil: nothing is asked
	wmu  sync.Mutex // one writer at a time
}

// Serve serves a link until it is gone (its error), a frame ended it, or ctx
// has ended (nil), and closes it.
func (s *Stream) Serve(ctx context.Context, link Link, at Place) error {
	c := &conn{s: s, link: link, at: at, framing: s.opt.Framing.NewDecoder(), decoder: s.opt.NewDecoder(), shaper: s.newShaper()}
	if fixedTopic(s.opt.Topic) {
		c.topic = expandTopic(s.opt.Topic, at, time.Time{})
	}
	s.c.opened.Add(1)
	s.c.open.Add(1)
	c.presence = s.presence.add(at, 1)

	reading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(reading, func() { _ = link.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var acker, commander sync.WaitGroup
	if len(s.opt.Ack) > 0 {
		c.acks = make(chan store.Receipt, maxAcks)
		acker.Go(func() { c.writeAcks(reading, cancel) })
	}
	if s.outbox != nil || s.opt.Poll != nil {
		c.wire = newWire()
	}
	if s.outbox != nil {
		c.mailbox = s.outbox.join(at.Remote)
		commander.Go(func() { c.writeCommands(reading, cancel) })
	}
	if s.opt.Poll != nil {
		commander.Go(func() { c.poll(reading, cancel) })
	}

	err := c.read(reading)
	if ctx.Err() == nil && reading.Err() != nil {
		err = context.Cause(reading)
	}
	cancel(err)
	if c.acks != nil {
		close(c.acks)
		acker.Wait() // at most grace
	}
	if ctx.Err() != nil {
		commander.Wait() // a command half written ends within its deadline
	}
	closeErr := link.Close()
	commander.Wait()
	if c.mailbox != nil {
		s.outbox.leave(c.mailbox)
	}
	s.presence.add(at, -1)
	s.c.open.Add(-1)
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(err, closeErr)
}

// read reads chunks until the link's end, and hands each through the pipeline
// before it reads the next.
func (c *conn) read(ctx context.Context) error {
	defer func() {
		c.framing.Reset()
		c.count()
	}()
	var (
		buf      = make([]byte, c.s.opt.ReadBuffer)
		quiet    = silence{frame: c.framing.Idle(), link: c.s.opt.IdleTimeout, last: time.Now()}
		overruns = c.overruns()
	)
	for {
		if c.paused {
			c.paused = false
			overruns = c.afterPause(overruns)
		}
		if quiet.watches() {
			if err := c.link.SetReadDeadline(quiet.deadline()); err != nil {
				return err
			}
		}
		if ctx.Err() != nil { // after the deadline was set: a later end sets its own
			return ctx.Err()
		}
		n, err := c.link.Read(buf)
		if n > 0 {
			if lost := c.overruns(); lost > overruns {
				c.lostInput(lost - overruns)
				overruns = lost
			}
			c.chunk = buf[:n]
			c.framing.Push(c.chunk)
			if err := c.take(ctx, c.framing.Next); err != nil {
				return err
			}
			quiet.heard()
		}
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			ended, gone := quiet.over()
			if gone {
				return errIdle
			}
			if ended {
				if err := c.take(ctx, c.framing.Flush); err != nil {
					return err
				}
			}
		}
	}
}

// take publishes the frames that next gives. Its error ends the link.
func (c *conn) take(ctx context.Context, next func() ([]byte, bool)) error {
	for {
		f, ok := next()
		if !ok {
			break
		}
		if err := c.publish(ctx, f); err != nil {
			c.s.c.dropped.Add(c.rest(next))
			return err
		}
	}
	if bad := c.count(); bad > 0 && c.acks != nil {
		return errNotTaken
	}
	return nil
}

// rest counts the complete frames that nobody will take any more.
func (c *conn) rest(next func() ([]byte, bool)) (n uint64) {
	for {
		if _, ok := next(); !ok {
			return n
		}
		n++
	}
}

// count adds what the framing counted to the adapter's counters, and tells of
// bad frames. It returns how many there were.
func (c *conn) count() (bad uint64) {
	now := c.framing.Counters()
	d := now.Minus(c.counted)
	c.counted = now
	c.s.c.addFrames(d)
	if bad = d.Bad(); bad == 0 {
		return 0
	}
	c.s.recent.Wrong(time.Now(), c.at.name(), c.chunk, whyBad(d))
	if more, ok := c.s.badFrames.allow(); ok {
		c.s.opt.Log.Warn("bad frames", "remote", c.at.Remote, "too_long", d.TooLong, "unfinished", d.Unfinished,
			"checksum", d.Checksum, "garbage", d.Garbage, "bytes", d.Discarded, "suppressed", more)
	}
	return bad
}

// overruns asks the link for what it lost.
func (c *conn) overruns() uint64 {
	if o, ok := c.link.(Overruns); ok {
		return o.Overruns()
	}
	return 0
}

func (c *conn) lostInput(n uint64) {
	c.s.c.overruns.Add(n)
	if more, ok := c.s.badFrames.allow(); ok {
		c.s.opt.Log.Warn("input lost: bytes came faster than they were read", "overruns", n, "suppressed", more)
	}
}

// afterPause looks whether bytes were lost while the link was not read. Then
// somewhere in what is buffered two pieces meet that do not belong together,
// and it is dropped up to here.
func (c *conn) afterPause(overruns uint64) uint64 {
	lost := c.overruns()
	if lost > overruns {
		c.lostInput(lost - overruns)
		if err := c.link.(Overruns).DiscardInput(); err != nil {
			c.s.opt.Log.Debug("discard input", "error", err)
		}
		c.framing.Reset()
		c.count()
	}
	return lost
}

// write writes p by a deadline.
func (c *conn) write(p []byte, timeout time.Duration) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if err := c.link.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	n, err := c.link.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// Pause waits as long as between two tries to open a link, or until ctx ends.
func (s *Stream) Pause(ctx context.Context) { sleep(ctx, s.opt.Jitter()) }
