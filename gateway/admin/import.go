package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"packetboat/broker/store"
)

// Errors of an import that the API tells apart by status.
var (
	// ErrDeadQueue: dead letters are no queue to import into.
	ErrDeadQueue = errors.New("nothing is sent from there; import into the lane that shall send them: bridge/NAME/0 to bridge/NAME/3")
	// ErrDoesNotFit: what is to be imported is larger than the room for it.
	ErrDoesNotFit = errors.New("it does not fit")
)

// LineError is about a line of an import.
type LineError struct {
	Line int // of the batch, from 1 on
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap is for errors.Is.
func (e *LineError) Unwrap() error { return e.Err }

// Batch is a part of an import: what shares a commit.
type Batch struct {
	Queue string
	ID    string   // of the import: the same in all of its batches
	Lines [][]byte // of an export
	End   bool     // the last one: the queue is free for another import

	// All of the import, if they are known: it is refused when it does not fit.
	// They are looked at with each batch that has them, so the first should.
	Messages, Bytes int64
}

// Imported is what became of the lines of a batch.
type Imported struct {
	Lines   int    `json:"lines"`                   // that were worked on
	Queued  uint64 `json:"queued"`                  // messages, on the disk
	Expired uint64 `json:"expired,omitempty"`       // that have expired already, and are not queued
	Ageless uint64 `json:"age_not_known,omitempty"` // of those queued, whose expiry counts from now on
	Note    string `json:"note,omitempty"`          // what the export says of itself
}

// Add adds what became of a later batch.
func (i *Imported) Add(o Imported) {
	i.Lines += o.Lines
	i.Queued += o.Queued
	i.Expired += o.Expired
	i.Ageless += o.Ageless
	if o.Note != "" {
		i.Note = o.Note
	}
}

// Import appends the messages of a batch behind what waits in a queue, in their
// order, and returns when they are on the disk. They keep when they were received;
// nothing that waits goes for them. On an error so many as it says are in, too:
// those of the lines before the one that a LineError names. After an error of the
// disk, or when ctx has ended, the others may be in as well.
func (l *Local) Import(ctx context.Context, b *Batch) (did Imported, err error) {
	c := l.Store.Lookup(b.Queue)
	switch {
	case c == nil:
		return did, fmt.Errorf("import into %s: %w; a gateway makes the queues of a bridge or an adapter when it first starts with it, that of a session when the client first connects",
			b.Queue, l.noQueue(b.Queue))
	case isDead(b.Queue):
		return did, fmt.Errorf("import into %s: %w", b.Queue, ErrDeadQueue)
	}
	if err := c.Fits(b.Messages, b.Bytes); err != nil {
		return did, fmt.Errorf("import into %s: %w: %w; raise that, let the queue drain first, or import a smaller file", b.Queue, ErrDoesNotFit, err)
	}
	if err := l.Store.Failed(); err != nil {
		return did, fmt.Errorf("import into %s: %w: %w", b.Queue, store.ErrFailed, err)
	}
	staged, last, fail := l.stage(ctx, c, b)
	if err := l.waitWorking(ctx, last); err != nil {
		return Imported{}, fmt.Errorf("import into %s: wait for the disk: %w", b.Queue, err)
	}
	return staged, fail
}

// waitWorking waits for the disk as long as it takes writes.
func (l *Local) waitWorking(ctx context.Context, r store.Receipt) error {
	for {
		within, cancel := context.WithTimeout(ctx, time.Second)
		err := l.Store.Wait(within, r)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if err := l.Store.Failed(); err != nil {
			return fmt.Errorf("%w: %w", store.ErrFailed, err)
		}
	}
}

// stage stages the messages of a batch, up to an error.
func (l *Local) stage(ctx context.Context, c *store.Consumer, b *Batch) (did Imported, last store.Receipt, err error) {
	for i, line := range b.Lines {
		if err := ctx.Err(); err != nil {
			return did, last, err
		}
		e, err := ParseExported(line)
		if err != nil {
			return did, last, &LineError{i + 1, err}
		}
		if e.Message != nil {
			r, err := l.importOne(c, e, &did)
			if err != nil {
				return did, last, &LineError{i + 1, err}
			}
			last = last.After(r)
		}
		if e.Note != "" {
			did.Note = e.Note
		}
		did.Lines++
	}
	return did, last, nil
}

// importOne stages a message, unless it has expired.
func (l *Local) importOne(c *store.Consumer, e *Exported, did *Imported) (store.Receipt, error) {
	m, to := e.stored()
	age, known := l.Store.Since(m.Earlier)
	switch {
	case known && m.HasExpiry && age >= time.Duration(m.Expiry)*time.Second:
		did.Expired++
		return store.Receipt{}, nil
	case !known && kind(c.Name()) == "adapter":
		return store.Receipt{}, errors.New("its age is not known, since the clock of the gateway that received it was not set, or that of this one is not: a device must not get a command that may be old")
	}
	l.Store.WaitForRoom()
	to.Consumer = c
	r, err := l.Store.Append(m, to)
	if errors.Is(err, store.ErrFull) {
		err = fmt.Errorf("%w; what waits is not pushed out for it: go on when it has drained, or raise that", err)
	}
	if err != nil {
		return r, err
	}
	did.Queued++
	if !known && m.HasExpiry {
		did.Ageless++
	}
	return r, nil
}
