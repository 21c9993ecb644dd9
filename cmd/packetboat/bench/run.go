package bench

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
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
