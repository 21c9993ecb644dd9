package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"packetboat/adapters/frame"
)

// Device sends readings in frames of a kind, and answers what it is sent: a sensor
// for trials, on whatever link.
type Device struct {
	Framing frame.Framing
	Reading func(n uint64) []byte // the n-th, from 1
	Every   time.Duration         // between two; 0: only when it is asked
	Count   uint64                // 0: for ever
	Garbage float64               // share of frames that are damaged, 0 to 1

	// Answer is what it answers to a frame; nil, or an empty answer, is nothing. One
	// that is only asked answers with a reading when it is nil.
	Answer func(request []byte) []byte

	// Said is called with each frame that comes; may be nil.
	Said func(request []byte)

	mu sync.Mutex // of writing, and n
	n  uint64
}

// Run sends and answers until Count, ctx ends, or the link does, which is its error.
// What reads from the link must end when ctx does; see [Terminal].
func (d *Device) Run(ctx context.Context, link io.ReadWriter) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(d.listen(ctx, link)) })
	err := d.send(ctx, link)
	if c, ok := link.(interface{ SetReadDeadline(time.Time) error }); ok {
		cancel(nil)
		_ = c.SetReadDeadline(time.Unix(1, 0)) // a link that is closed reads no more
		wg.Wait()
	}
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

// Sent is how many readings were sent.
func (d *Device) Sent() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n
}

func (d *Device) send(ctx context.Context, link io.Writer) error {
	if d.Every == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(d.Every)
	defer tick.Stop()
	for d.Count == 0 || d.Sent() < d.Count {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := d.reading(link); err != nil {
			return err
		}
	}
	return nil
}

func (d *Device) reading(link io.Writer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	b, err := d.Framing.Append(nil, d.Reading(d.n))
	if err != nil {
		return fmt.Errorf("frame reading %d: %w", d.n, err)
	}
	if rand.Float64() < d.Garbage {
		b = damage(b)
	}
	return d.write(link, b)
}

// damage loses, changes or adds a byte.
func damage(b []byte) []byte {
	at := rand.IntN(len(b))
	switch rand.IntN(3) {
	case 0:
		return slices.Delete(b, at, at+1)
	case 1:
		b[at] ^= byte(1 + rand.IntN(255))
		return b
	}
	return slices.Insert(b, at, byte(rand.Uint32()))
}

// write is given up on a terminal that nobody reads, as a device does that waits
// for nothing.
func (d *Device) write(link io.Writer, b []byte) error {
	if c, ok := link.(interface{ SetWriteDeadline(time.Time) error }); ok {
		if err := c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			return err
		}
	}
	_, err := link.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// listen takes the frames that come. A terminal that nobody has open gives EIO.
func (d *Device) listen(ctx context.Context, link io.ReadWriter) error {
	decoder := d.Framing.NewDecoder()
	buf := make([]byte, 4<<10)
	for ctx.Err() == nil {
		n, err := link.Read(buf)
		decoder.Push(buf[:n])
		for {
			f, ok := decoder.Next()
			if !ok {
				break
			}
			if err := d.asked(link, f); err != nil {
				return err
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, syscall.EIO):
			pause(ctx, 50*time.Millisecond)
		case err != nil:
			return err
		}
	}
	return nil
}

func (d *Device) asked(link io.Writer, request []byte) error {
	if d.Said != nil {
		d.Said(request)
	}
	if d.Answer == nil && d.Every == 0 {
		return d.reading(link)
	}
	if d.Answer == nil {
		return nil
	}
	answer := d.Answer(request)
	if len(answer) == 0 {
		return nil
	}
	b, err := d.Framing.Append(nil, answer)
	if err != nil {
		return fmt.Errorf("frame an answer: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.write(link, b)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
