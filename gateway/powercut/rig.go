package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"packetboat/cmd/packetboat/sim"
)

// rig is a run of some cycles:
//
//	boot ─► verify: all that was acknowledged arrives ─► publish ─► cut ─┐
//	 ▲                                                                   │
//	 └─────────────── what the policy left on the disk ◄─────────────────┘
//
// and at the end one more boot, to verify what the last cut left.
type rig struct {
	*options
	dir     string
	disk    *disk
	out     io.Writer
	rand    *rand.Rand
	started time.Time

	tally   sim.Tally
	numbers *sim.Source
	fences  *sim.Source
	// publisher lives on while the guest dies: what was not acknowledged it
	// sends again after the next boot.
	publisher *sim.Publisher
	foreign   uint64 // messages that arrived and are nobody's

	cuts int
	lost uint64
	wake time.Duration // from the disk's mount to the gateway's service, last time
	work diskCounts    // while messages were published
}

func newRig(o *options, dir string, d *disk, out io.Writer) *rig {
	r := &rig{
		options: o, dir: dir, disk: d, out: out, started: time.Now(),
		rand: rand.New(rand.NewPCG(o.seed, 0)),
	}
	r.numbers = r.tally.Add(sim.Source{Name: "numbers"})
	r.fences = r.tally.Add(sim.Source{Name: "fences"})
	r.publisher = &sim.Publisher{
		Addr: gatewayAddress, Topic: topicPrefix + "numbers", QoS: 1, Source: r.numbers, Window: o.window,
	}
	return r
}

const (
	gatewayAddress = guestIP + ":1883"
	topicPrefix    = "powercut/"

	// patience bounds every wait for a message.
	patience = 60 * time.Second
)

func (r *rig) run(ctx context.Context) error {
	fmt.Fprintf(r.out, "powercut: %d cycles, policy %s, seed %d%s\n", r.cycles, r.policy, r.seed,
		map[bool]string{true: ", on a disk that lies about flushes"}[r.lie])
	var err error
	for range r.cycles {
		if err = r.cycle(ctx); err != nil {
			break
		}
	}
	if err == nil {
		err = r.last(ctx)
	}
	return r.close(err)
}

// cycle boots, verifies what the cut before has left, publishes, and cuts.
func (r *rig) cycle(ctx context.Context) error {
	m, err := r.start(ctx)
	if err != nil {
		return err
	}
	if err = r.verify(ctx); err == nil {
		before := r.disk.asked()
		err = r.publish(ctx, m)
		r.work = r.work.plus(r.disk.asked().minus(before))
	} else {
		err = errors.Join(err, m.cut())
	}
	if err != nil {
		return err
	}
	if err := r.fail("%d acknowledged", r.numbers.Counts().Acked); err != nil {
		return err
	}
	if r.rand.Float64() >= r.again {
		return nil
	}
	return r.cutStart(ctx)
}

// last verifies what the last cut has left.
func (r *rig) last(ctx context.Context) error {
	m, err := r.start(ctx)
	if err != nil {
		return err
	}
	return errors.Join(r.verify(ctx), m.cut())
}

// start boots until the gateway serves.
func (r *rig) start(ctx context.Context) (*machine, error) {
	m, err := boot(r.dir, r.disk, r.verbose)
	if err != nil {
		return nil, err
	}
	err = m.await(ctx, "the disk is not mounted", m.mounted)
	mounted := time.Now()
	if err == nil {
		err = m.await(ctx, "the gateway does not start", m.ready)
	}
	if err != nil {
		return nil, errors.Join(err, m.cut())
	}
	r.wake = time.Since(mounted)
	return m, nil
}

// cutStart cuts the power while the gateway recovers from the cut before.
func (r *rig) cutStart(ctx context.Context) error {
	m, err := boot(r.dir, r.disk, r.verbose)
	if err != nil {
		return err
	}
	err = m.await(ctx, "the disk is not mounted", m.mounted)
	if err == nil {
		err = pause(ctx, time.Duration(r.rand.Int64N(int64(r.wake)+1)))
	}
	if err = errors.Join(err, m.cut()); err != nil {
		return err
	}
	return r.fail("while the gateway starts")
}

// fail is the disk's part of a cut.
func (r *rig) fail(format string, args ...any) error {
	r.cuts++
	p := r.policy.pick(r.rand)
	unflushed, survived := r.disk.cut(p, r.rand)
	fmt.Fprintf(r.out, "cut %d, %s: %d of %d unflushed sectors survive (%s)\n",
		r.cuts, fmt.Sprintf(format, args...), survived, unflushed, p)
	var err error
	if p == random {
		// After the others the kernel's own replay of the journal must do.
		err = repair(r.dir, r.disk)
	}
	if err == nil && r.fsck {
		err = check(r.dir, r.disk)
	}
	if err != nil && r.lie {
		// No wonder. What is left of the messages is still of interest.
		fmt.Fprintln(r.out, "the file system is damaged")
		return nil
	}
	return err
}

// publish publishes until a random moment after the first acknowledgement, and
// cuts the power then.
func (r *rig) publish(ctx context.Context, m *machine) error {
	publishing, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.publisher.Run(publishing) }()
	acked := func() uint64 { return r.numbers.Counts().Acked }

	before := acked()
	err := r.poll(ctx, "no message is acknowledged", func() bool { return acked() > before })
	if err == nil {
		err = pause(ctx, r.cutMin+time.Duration(r.rand.Int64N(int64(r.cutMax-r.cutMin)+1)))
	}
	err = errors.Join(err, m.cut())
	// What the gateway had acknowledged and is still in our socket counts: it
	// is in, when no more comes for a while.
	last, since := acked(), time.Now()
	err = errors.Join(err, r.poll(ctx, "acknowledgements of the dead", func() bool {
		if now := acked(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 50*time.Millisecond
	}))
	stop()
	<-ended // cancelled: what is in flight stays with the publisher
	return err
}

// verify lets the persistent session receive what waits for it. A fence,
// published when it is connected, comes behind all that: a queue delivers in
// the order in which it was stored.
func (r *rig) verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	fence := string(r.fences.Payload(r.fences.Counts().Written + 1))
	subscribed, arrived, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	s := &sim.Subscriber{
		Addr: gatewayAddress, ClientID: "session", Filter: topicPrefix + "#", QoS: 1,
		Subscribed: func() { once(subscribed) },
		Message: func(_ string, payload []byte) {
			r.arrived(payload)
			if string(payload) == fence {
				once(arrived)
			}
		},
	}
	go func() { ended <- s.Run(ctx) }()
	var err error
	select {
	case <-subscribed:
		p := &sim.Publisher{Addr: gatewayAddress, Topic: topicPrefix + "fences", QoS: 1, Source: r.fences, Count: 1}
		err = p.Run(ctx)
	case <-ctx.Done():
	}
	if err == nil {
		select {
		case <-arrived:
		case <-ctx.Done():
			err = fmt.Errorf("the session does not get what waits for it: %w", ctx.Err())
		}
	}
	cancel()
	<-ended
	if err != nil {
		return err
	}
	return r.judge()
}

func (r *rig) arrived(payload []byte) {
	if !r.tally.Arrived(payload) {
		r.foreign++
	}
}

// judge looks at the account after all has arrived. Losses do not end the run;
// how many there are in all says more.
func (r *rig) judge() error {
	c := r.numbers.Counts()
	if c.Missing > r.lost {
		fmt.Fprintf(r.out, "LOST: %d acknowledged and not delivered\n", c.Missing-r.lost)
		r.lost = c.Missing
	}
	if n := r.tally.Strange() + r.foreign; n > 0 {
		return fmt.Errorf("%d messages arrived that nobody had published", n)
	}
	if c.Disordered > 0 {
		return fmt.Errorf("%d messages arrived out of order", c.Disordered)
	}
	return nil
}

// close prints the figures, and says how the run went.
func (r *rig) close(err error) error {
	c := r.numbers.Counts()
	if r.lie && err != nil && c.Missing > 0 && !errors.Is(err, context.Canceled) {
		// It may leave so little that no gateway starts from it, or that the
		// messages of old come back: that is what a lying disk does.
		fmt.Fprintln(r.out, "the run ends early:", err)
		r.lost, err = c.Missing, nil
	}
	per := func(n uint64) float64 { return float64(n) / float64(max(c.Acked, 1)) }
	fmt.Fprintf(r.out, "%d cuts in %.0f s: acked %d, delivered %d (and %d again), lost %d\n",
		r.cuts, time.Since(r.started).Seconds(), c.Acked, c.Arrived, c.Duplicates, r.lost)
	fmt.Fprintf(r.out, "the disk, per acked message: %.3f writes, %.3f flushes, %.0f bytes\n",
		per(r.work.writes), per(r.work.flushes), per(r.work.bytes))
	switch {
	case err != nil:
		return err
	case c.Acked > 0 && r.work.flushes == 0:
		return errors.New("the disk saw no flush: this rig would prove nothing")
	case r.lie && r.lost == 0:
		return errors.New("nothing was lost on a disk that lies: this rig would prove nothing")
	case r.lie:
		fmt.Fprintln(r.out, "lost, as it must be on a disk that lies")
	case r.lost > 0:
		return fmt.Errorf("lost %d acknowledged messages: numbers %s", r.lost, r.names())
	}
	return nil
}

// names lists lost numbers, the first of them.
func (r *rig) names() string {
	return ranges(r.numbers.MissingNumbers(1<<20), 20)
}

// ranges writes ascending numbers as "3-7, 9", at most most of such parts.
func ranges(numbers []uint64, most int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		if len(parts) == most {
			return strings.Join(parts, ", ") + ", …"
		}
		first := i
		for i++; i < len(numbers) && numbers[i] == numbers[i-1]+1; i++ {
		}
		part := strconv.FormatUint(numbers[first], 10)
		if i-first > 1 {
			part += "-" + strconv.FormatUint(numbers[i-1], 10)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// poll waits for what no event tells.
func (r *rig) poll(ctx context.Context, what string, ok func() bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return fmt.Errorf("after %v, still so: %s", patience, what)
		}
	}
	return nil
}

// pause lets a while pass.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
