package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/client"
)

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
