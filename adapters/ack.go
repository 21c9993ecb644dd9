package adapters

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"packetboat/broker/store"
)

const (
	// maxAcks frames may wait for the disk; then the link is not read until
	// the next commit.
	maxAcks = 1024

	// ackBatch acknowledgements go out in one write at most.
	ackBatch = 64

	// ackTimeout is for a peer that does not take its acks.
	ackTimeout = 10 * time.Second
)

// ack notes that a frame's ack is due when r is durable. It blocks while
// maxAcks are waiting.
func (c *conn) ack(ctx context.Context, r store.Receipt) error {
	if c.acks == nil {
		return nil
	}
	select {
	case c.acks <- r:
		return nil
	default:
	}
	select {
	case c.acks <- r:
		return nil
	case <-ctx.Done():
		// Stored, but never acknowledged: the device may send it again.
		return ctx.Err()
	}
}

// writeAcks writes one ack for each receipt, in order, once it is durable;
// those that one commit made durable go out together. When reading has ended
// it has a little while left for the frames that are being stored.
func (c *conn) writeAcks(reading context.Context, fail context.CancelCauseFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(reading))
	defer cancel()
	stop := context.AfterFunc(reading, func() { time.AfterFunc(grace, cancel) })
	defer stop()

	batch := bytes.Repeat(c.s.opt.Ack, ackBatch)
	r, ok := <-c.acks
	for ok {
		if err := c.s.opt.Disk.Wait(ctx, r); err != nil {
			fail(fmt.Errorf("wait for the disk: %w", err))
			return
		}
		n := 1
		var have bool
		for r, ok, have = c.nextAck(); have && n < ackBatch && c.s.opt.Disk.IsDurable(r); r, ok, have = c.nextAck() {
			n++
		}
		if err := c.write(batch[:n*len(c.s.opt.Ack)], ackTimeout); err != nil {
			fail(fmt.Errorf("write ack: %w", err))
			return
		}
		c.s.c.acked.Add(uint64(n))
		if !have && ok {
			r, ok = <-c.acks
		}
	}
}

// nextAck takes a receipt without waiting. open is false when there will be
// none any more.
func (c *conn) nextAck() (r store.Receipt, open, have bool) {
	select {
	case r, open = <-c.acks:
		return r, open, open
	default:
		return r, true, false
	}
}
