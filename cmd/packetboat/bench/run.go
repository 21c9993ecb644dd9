package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/client"
)

// Options say what is published, and how.
type Options struct {
	// Dial is how the broker is reached, and as whom: what is behind its client
	// identifier, -1 or -subscriber, is put there.
	Dial    client.Options
	Clients int
	QoS     byte
	Size    int // bytes of a payload, at least MinSize
	Window  int // in flight for each client; a broker may allow less
	Rate    int // messages a second of all; 0: as fast as they are acknowledged
	Topic   Topic
	For     time.Duration
	Drain   time.Duration // how long what is in flight may take then

	// Subscriber says what arrivals are counted by: Durable, Live, None.
	Subscriber string

	// Settled, unless nil, is called when nothing more comes, while all are still
	// connected.
	Settled func()
	// Progress, unless nil, is called each second, by one goroutine.
	Progress func(Progress)
}

// What Options.Subscriber is.
const (
	Durable = "durable" // a session that the broker keeps on its disk
	Live    = "live"    // a subscriber for which nothing is kept
	None    = "none"
)

// Progress is how far a run is.
type Progress struct {
	Elapsed                     time.Duration
	Sent, Acknowledged, Arrived uint64
	Acks                        *Histogram
}

// Result is what was measured.
type Result struct {
	Elapsed       time.Duration // from the first message to the last acknowledgement; at QoS 0 to the last message
	Sent          uint64
	Acknowledged  uint64
	Unanswered    uint64            // nothing came for them in time
	Refused       map[string]uint64 // by reason
	Window        int               // that was used
	Acks          *Histogram        // from when a message was due until it was acknowledged
	Counted       bool              // there was a subscriber: what follows is known
	Arrived       uint64
	Missing       uint64 // acknowledged (QoS 0: sent), and did not arrive
	Twice         uint64
	Disordered    uint64
	Strange       uint64            // arrivals that are of others
	Deliveries    *Histogram        // from when a message was due until it arrived
	Broken        map[string]uint64 // connections that have ended early, by reason
	Interrupted   bool              // by ctx
	SessionIsLeft bool              // the subscriber's session could not be ended
}

// run is one of them.
type run struct {
	opt   Options
	id    uint32
	clock clock

	publishers []*publisher
	receiver   *receiver // nil: none
	readers    sync.WaitGroup

	sent, acked      atomic.Uint64
	lastAck          atomic.Int64
	acks, deliveries Histogram
	mu               sync.Mutex // refused and broken
	refused          map[string]uint64
	broken           map[string]uint64
	leaving          atomic.Bool // connections end, as they should
}

// Run connects, publishes for as long as it is told or until ctx ends, and waits
// for what is in flight. An error is one before the first message.
func Run(ctx context.Context, o Options) (*Result, error) {
	r := &run{opt: o, id: rand.Uint32(), refused: map[string]uint64{}, broken: map[string]uint64{}, clock: clock{time.Now()}}
	defer r.close()
	if err := r.connect(ctx); err != nil {
		if r.receiver != nil {
			r.leave()
		}
		return nil, err
	}
	window := r.prepare()
	stop := r.keepAlive()
	defer stop()
	r.publish(ctx)
	interrupted := ctx.Err() != nil
	if interrupted {
		r.opt.Drain = min(r.opt.Drain, hurry)
	}
	r.settle(context.WithoutCancel(ctx))
	if r.opt.Settled != nil {
		r.opt.Settled()
	}
	stop()
	left := r.leave()
	r.close()
	res := r.result()
	res.Window, res.Interrupted, res.SessionIsLeft = window, interrupted, left
	return res, nil
}

// hurry is how long what is in flight may take when ctx has ended.
const hurry = 3 * time.Second

// atOnce is how many connections are made at a time.
const atOnce = 16

// connect makes the connections, the subscriber's first.
func (r *run) connect(ctx context.Context) error {
	if r.opt.Subscriber != None {
		if err := r.listen(ctx); err != nil {
			return err
		}
	}
	r.publishers = make([]*publisher, r.opt.Clients)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wait sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for i := range r.publishers {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wait.Go(func() {
			defer func() { <-room }()
			c, err := reach(ctx, r.as(fmt.Sprintf("-%d", i+1)))
			if err != nil {
				cancel(fmt.Errorf("connect client %d of %d: %w", i+1, r.opt.Clients, err))
				return
			}
			r.publishers[i] = &publisher{run: r, conn: c, client: i + 1, idle: make(chan struct{})}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Brokers that bound the connections of a second close what is beyond.
const (
	againAfter  = 200 * time.Millisecond
	againWithin = 15 * time.Second
)

// reach connects; to a broker that closes the connection at once it comes again for
// some time.
func reach(ctx context.Context, o client.Options) (*client.Packets, error) {
	timer := time.NewTimer(againWithin)
	defer timer.Stop()
	for {
		c, err := client.DialPackets(ctx, o)
		if err == nil || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			return c, err
		}
		again := time.NewTimer(againAfter)
		select {
		case <-again.C:
			continue
		case <-ctx.Done():
			err = ctx.Err()
		case <-timer.C:
			err = fmt.Errorf("%w (it closes connections at once, as a gateway does beyond max_connections and limits.connects_per_second)", err)
		}
		again.Stop()
		return nil, err
	}
}

// as is how a client connects.
func (r *run) as(suffix string) client.Options {
	o := r.opt.Dial
	o.Connect.ClientID += suffix
	o.Connect.CleanStart = true
	return o
}

// listen connects the subscriber.
func (r *run) listen(ctx context.Context) error {
	o := r.as("-subscriber")
	if r.opt.Subscriber == Durable {
		if o.Connect.Version == packet.V5 {
			o.Connect.SessionExpiry = uint32((r.opt.For+r.opt.Drain)/time.Second) + 60 // should nobody end it
		} else {
			o.Connect.CleanStart = false
		}
	}
	c, err := reach(ctx, o)
	if err != nil {
		return err
	}
	r.receiver = &receiver{run: r, conn: c, subscribed: make(chan error, 1), of: make([]arrivals, r.opt.Clients), half: map[uint16]bool{}}
	if err := r.receiver.subscribe(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	r.readers.Go(func() {
		err := r.receiver.read()
		r.fault(err)
		ended <- err
	})
	late := time.NewTimer(subscribeWithin)
	defer late.Stop()
	select {
	case <-r.receiver.subscribed:
		return nil
	case err := <-ended:
		return err
	case <-late.C:
		return fmt.Errorf("no answer to SUBSCRIBE in %v", subscribeWithin)
	case <-ctx.Done():
		return ctx.Err()
	}
}

const subscribeWithin = 15 * time.Second

// prepare gives the publishers their windows and times, and has acknowledgements
// read.
func (r *run) prepare() (window int) {
	window = r.opt.Window
	r.clock = clock{time.Now()}
	for i, p := range r.publishers {
		if most := int(p.conn.Answer.ReceiveMaximum); most > 0 {
			window = min(window, most)
		}
		if r.opt.Rate > 0 {
			p.due.every = float64(time.Second) * float64(r.opt.Clients) / float64(r.opt.Rate)
			p.due.first = p.due.every * float64(i) / float64(r.opt.Clients)
		}
	}
	for _, p := range r.publishers {
		p.payload = make([]byte, r.opt.Size)
		for i := range p.payload {
			p.payload[i] = '0' + byte(i%10)
		}
		p.window, p.topic = window, r.opt.Topic.Of(p.client, 0)
		p.slots = make([]slot, window)
		for id := window; id > 0; id-- {
			p.free = append(p.free, uint16(id))
		}
		r.readers.Go(p.read)
	}
	return window
}

// keepAlive pings on all connections, until stop is called: a subscriber at QoS 0 says
// nothing else, and a publisher may have little to say.
func (r *run) keepAlive() (stop func()) {
	var conns []*client.Packets
	if r.receiver != nil {
		conns = append(conns, r.receiver.conn)
	}
	for _, p := range r.publishers {
		conns = append(conns, p.conn)
	}
	every := time.Duration(0)
	for _, c := range conns {
		keep := time.Duration(r.opt.Dial.Connect.KeepAlive) * time.Second
		if c.Answer.HasServerKeepAlive {
			keep = time.Duration(c.Answer.ServerKeepAlive) * time.Second
		}
		if keep > 0 && (every == 0 || keep < 2*every) {
			every = keep / 2
		}
	}
	if every == 0 {
		return func() {}
	}
	done := make(chan struct{})
	r.readers.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		ping := packet.AppendPing(nil, packet.PINGREQ)
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			for _, c := range conns {
				_, _ = c.Write(ping) // who reads says when that fails
			}
		}
	})
	return sync.OnceFunc(func() { close(done) })
}

// fault notes why a connection has ended.
func (r *run) fault(err error) {
	if err == nil || r.leaving.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken[err.Error()]++
}

func (r *run) refuse(code byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused[packet.Reason(code)]++
}

// publish lets all publish until the time is over, ctx is, or nobody is connected any
// more.
func (r *run) publish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.opt.For)
	defer cancel()
	var senders sync.WaitGroup
	for _, p := range r.publishers {
		senders.Go(func() { p.begin(ctx) })
	}
	senders.Go(func() {
		for _, p := range r.publishers { // idle before they are stopped: their connections are gone
			select {
			case <-p.idle:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	})
	r.untilDone(ctx, nil)
	// One may wait for the broker to take more, and holds its lock meanwhile.
	late := time.Now().Add(max(r.opt.Drain, time.Second))
	if r.opt.QoS == 0 {
		late = time.Now().Add(time.Second)
	}
	for _, p := range r.publishers {
		_ = p.conn.SetWriteDeadline(late)
	}
	for _, p := range r.publishers {
		p.stop()
	}
	senders.Wait()
	if r.opt.QoS == 0 {
		r.lastAck.Store(r.clock.now())
	}
}

// settle waits until what is in flight is acknowledged, and what is acknowledged has
// arrived, as long as anything moves.
func (r *run) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.opt.Drain)
	defer cancel()
	for _, p := range r.publishers {
		r.untilDone(ctx, p.idle)
	}
	if r.receiver == nil {
		return
	}
	still, before := 0, uint64(0)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		want := r.acked.Load()
		if r.opt.QoS == 0 {
			want = r.sent.Load()
		}
		now := r.receiver.arrived.Load()
		if still++; now > before {
			still = 0
		}
		before = now
		if now >= want || still > stillFor {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// stillFor is how many looks, of a twentieth of a second, nothing may arrive before
// what is missing is given up.
const stillFor = 60

// untilDone waits for ctx or what is given, and tells of the progress meanwhile.
func (r *run) untilDone(ctx context.Context, done <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
			return
		case <-tick.C:
			r.tell()
		}
	}
}

func (r *run) tell() {
	if r.opt.Progress == nil {
		return
	}
	p := Progress{Elapsed: time.Duration(r.clock.now()), Sent: r.sent.Load(), Acknowledged: r.acked.Load(), Acks: &r.acks}
	if r.receiver != nil {
		p.Arrived = r.receiver.arrived.Load()
	}
	r.opt.Progress(p)
}

// leave ends the sessions; the subscriber's may be one that the broker keeps.
func (r *run) leave() (left bool) {
	r.leaving.Store(true)
	version := r.opt.Dial.Connect.Version
	for _, p := range r.publishers {
		if p == nil { // it was not to be
			continue
		}
		p.mu.Lock()
		_ = p.conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = p.conn.Write(packet.AppendDisconnect(nil, version, &packet.Disconnect{})) // what matters was counted
		p.mu.Unlock()
	}
	if r.opt.Subscriber != Durable {
		return false
	}
	r.receiver.conn.Close()
	o := r.as("-subscriber") // with a clean start, and an expiry of 0
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := client.DialPackets(ctx, o)
	if err != nil {
		return true
	}
	_, _ = c.Write(packet.AppendDisconnect(nil, version, &packet.Disconnect{}))
	return c.Close() != nil
}

// close ends all connections and waits for who reads them.
func (r *run) close() {
	for _, p := range r.publishers {
		if p != nil {
			_ = p.conn.Close()
		}
	}
	if r.receiver != nil {
		_ = r.receiver.conn.Close()
	}
	r.readers.Wait()
}

// result adds up, when all connections are closed.
func (r *run) result() *Result {
	res := &Result{
		Elapsed: time.Duration(r.lastAck.Load()), Sent: r.sent.Load(), Acknowledged: r.acked.Load(),
		Refused: r.refused, Acks: &r.acks, Deliveries: &r.deliveries, Broken: r.broken, Counted: r.receiver != nil,
	}
	early := uint64(0) // arrived, and not acknowledged
	for _, p := range r.publishers {
		for _, s := range p.slots {
			if !s.busy {
				continue
			}
			res.Unanswered++
			if r.receiver != nil && r.receiver.of[p.client-1].has(s.n) {
				early++
			}
		}
	}
	if r.receiver == nil {
		return res
	}
	res.Strange = r.receiver.strange
	for i := range r.receiver.of {
		a := &r.receiver.of[i]
		res.Arrived += a.count
		res.Twice += a.twice
		res.Disordered += a.disordered
	}
	expected := res.Acknowledged + early
	if r.opt.QoS == 0 {
		expected = res.Sent
	}
	res.Missing = expected - min(expected, res.Arrived)
	return res
}
