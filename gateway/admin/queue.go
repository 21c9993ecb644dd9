package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"packetboat/broker/store"
	"packetboat/gateway/quantity"
)

// Errors that the API tells apart by status.
var (
	ErrNoQueue = errors.New("there is no such queue")
	ErrInUse   = errors.New("the queue is in use")
	ErrKind    = errors.New("a queue stays what it is: bridge/…, session/… or adapter/…")
)

// upstreamKey is the kind of key under which a bridge keeps what it knows of its
// session at the cloud (bridge.SessionKey).
const upstreamKey = "upstream"

// Local is the operations on a store of this process: of a gateway, or of a
// directory that a command has opened.
type Local struct {
	Store *store.Store

	// InUse reports whether a bridge or adapter of this gateway works with the
	// queues called owner ("bridge/NAME", "adapter/NAME"). Nil: nobody does.
	InUse func(owner string) bool
}

// Queues returns all ledgers, those that never had a message included.
func (l *Local) Queues(context.Context) (*Queues, error) {
	out := &Queues{Queues: []Queue{}, Gaps: []Gap{}}
	for _, name := range l.Store.Consumers() {
		if c := l.Store.Lookup(name); c != nil {
			out.Queues = append(out.Queues, QueueOf(name, c.Lag()))
		}
	}
	gaps := l.Store.Gaps()
	for i := range gaps {
		out.Gaps = append(out.Gaps, gapOf(l.Store, &gaps[i]))
	}
	return out, nil
}

// Messages calls f for each message that waits in a queue and is on the disk, oldest first; last, if
// not 0, for the newest so many only. It changes nothing. f may keep the message.
func (l *Local) Messages(ctx context.Context, queue string, last uint64, f func(m *Message) error) error {
	c := l.Store.Lookup(queue)
	if c == nil {
		return l.noQueue(queue)
	}
	v := c.View()
	if last > 0 {
		v.SkipTo(c.NewestFrom(last))
	}
	var d store.Delivery
	for {
		ok, err := v.Next(&d)
		if err != nil {
			return fmt.Errorf("read queue %s: %w", queue, err)
		}
		if !ok {
			break
		}
		m := messageOf(&d, isDead(queue))
		if err := errors.Join(ctx.Err(), f(&m)); err != nil {
			return err
		}
	}
	if n := v.Missing(); n > 0 {
		return fmt.Errorf("of %s, %s", queue, quantity.Count(n, "message is damaged and not shown", "messages are damaged and not shown"))
	}
	return nil
}

// Verify reads the whole log and compares it with the ledgers. progress, if not
// nil, is told how many bytes are done.
func (l *Local) Verify(ctx context.Context, progress func(done, total int64)) (*Verification, error) {
	v, err := l.Store.Verify(ctx, progress)
	if err != nil {
		return nil, err
	}
	return verificationOf(l.Store, v), nil
}

// Rename gives the queue called from, or all queues of an owner called from, to
// another name; what waits, its order and its ledger stay. It returns the new
// names. Nobody may work with either.
func (l *Local) Rename(ctx context.Context, from, to string) ([]string, error) {
	for _, name := range []string{from, to} {
		if owner := ownerOf(name); l.InUse != nil && (l.InUse(owner) || strings.HasPrefix(name, "session/")) {
			return nil, fmt.Errorf("%w: %s is part of the gateway that runs; stop it for this (systemctl stop packetboat), rename, and start it again", ErrInUse, owner)
		}
	}
	if kind(from) != kind(to) {
		return nil, fmt.Errorf("rename %s to %s: %w", from, to, ErrKind)
	}
	pairs, err := l.pairs(from, to)
	if err != nil {
		return nil, err
	}
	if err := l.Store.Failed(); err != nil {
		return nil, fmt.Errorf("rename %s: the disk takes no writes: %w", from, err)
	}
	var names []string
	var last store.Receipt
	for _, p := range pairs {
		r, err := l.Store.Rename(p[0], p[1])
		if err != nil {
			return names, err
		}
		last = last.After(r)
		names = append(names, p[1])
	}
	// A session at the cloud belongs to the old name's client id; the next
	// connection finds out by its record, which goes along.
	oldName, isBridge := strings.CutPrefix(from, "bridge/")
	newName, toBridge := strings.CutPrefix(to, "bridge/")
	if isBridge && toBridge {
		for _, key := range []string{upstreamKey, "gaps", "retained"} {
			last = last.After(l.moveKey(key, oldName, newName))
		}
		// With the session go the commands that came in it and are not released.
		last = last.After(l.Store.RenameOrigin(from, to))
	}
	return names, l.waitWorking(ctx, last)
}

// pairs finds what is to be renamed, and that nothing is in the way of any.
func (l *Local) pairs(from, to string) (pairs [][2]string, err error) {
	for _, name := range l.Store.Consumers() {
		rest, ok := strings.CutPrefix(name, from)
		if !ok || rest != "" && rest[0] != '/' {
			continue
		}
		if c := l.Store.Lookup(to + rest); c != nil && c.Lag().Accepted > 0 {
			return nil, fmt.Errorf("%w: %s has had messages of its own", store.ErrExists, to+rest)
		}
		pairs = append(pairs, [2]string{name, to + rest})
	}
	if len(pairs) == 0 {
		return nil, l.noQueue(from)
	}
	return pairs, nil
}

// moveKey gives what is kept for one bridge to another.
func (l *Local) moveKey(kind, from, to string) store.Receipt {
	v, ok := l.Store.Get(store.Key(kind, from))
	if !ok {
		return store.Receipt{}
	}
	l.Store.Set(store.Key(kind, to), v)
	return l.Store.Delete(store.Key(kind, from))
}

// Purge ends everything that waits in a queue and returns how many messages that
// were, once it is on the disk.
func (l *Local) Purge(ctx context.Context, queue string) (uint64, error) {
	c := l.Store.Lookup(queue)
	if c == nil {
		return 0, l.noQueue(queue)
	}
	if err := l.Store.Failed(); err != nil {
		return 0, fmt.Errorf("purge %s: the disk takes no writes: %w", queue, err)
	}
	n, r := c.Purge()
	if err := l.Store.Wait(ctx, r); err != nil {
		return 0, fmt.Errorf("purge %s: wait for the disk: %w", queue, err)
	}
	return n, nil
}

// noQueue says which queues there are instead of name.
func (l *Local) noQueue(name string) error {
	names := l.Store.Consumers()
	if len(names) == 0 {
		return fmt.Errorf("%w: %s, nor any other", ErrNoQueue, name)
	}
	return fmt.Errorf("%w: %s; there are %s", ErrNoQueue, name, strings.Join(names, ", "))
}

// isDead reports whether a queue is of dead letters.
func isDead(queue string) bool { return kind(queue) == "bridge" && strings.HasSuffix(queue, "/dead") }

func kind(queue string) string {
	k, _, _ := strings.Cut(queue, "/")
	return k
}

// ownerOf is the bridge, adapter or session that a queue belongs to.
func ownerOf(queue string) string {
	if name, ok := strings.CutPrefix(queue, "bridge/"); ok {
		name, _, _ = strings.Cut(name, "/")
		return "bridge/" + name
	}
	return queue
}
