package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// ErrNotDead is of a queue that has no dead letters.
var ErrNotDead = errors.New("only dead letters can be replayed: bridge/NAME/dead")

// replayBatch is how many messages share a commit.
const replayBatch = 256

// replaying: one replay at a time, or both would take the same messages.
var replaying sync.Mutex

// Replay has the dead letters of a bridge go to the cloud once more, each in the lane that gave
// it up, behind what waits there: for when the rule, the limit or the permission
// is right now. It returns how many are queued again, durably; on an error so many
// are, too, and the others are where they were. After a crash in the middle, or when the
// disk fails then, some may go twice. They go at QoS 1 at most, and what says when the gateway received
// them goes along as a user property.
func (l *Local) Replay(ctx context.Context, queue string) (n uint64, err error) {
	dead := l.Store.Lookup(queue)
	switch {
	case dead == nil:
		return 0, l.noQueue(queue)
	case !isDead(queue):
		return 0, fmt.Errorf("replay %s: %w", queue, ErrNotDead)
	case !replaying.TryLock():
		return 0, fmt.Errorf("replay %s: %w by another replay", queue, ErrInUse)
	}
	defer replaying.Unlock()
	v := dead.View()
	// What dies again meanwhile waits for the next replay.
	end := dead.NewestFrom(1) + 1
	for {
		done, more, err := l.replaySome(ctx, v, dead, end)
		n += done
		if err == nil && more {
			err = ctx.Err()
		}
		if err != nil {
			return n, fmt.Errorf("replay %s: %w", queue, err)
		}
		if !more {
			return n, nil
		}
	}
}

// replaySome replays up to a batch below end, and waits for the disk. more: there
// may be others.
func (l *Local) replaySome(ctx context.Context, v *store.View, dead *store.Consumer, end uint64) (n uint64, more bool, err error) {
	var (
		last store.Receipt
		seqs []uint64
		d    store.Delivery
		fail error
	)
	for more = true; more && fail == nil && len(seqs) < replayBatch; {
		if more, fail = v.Next(&d); !more || fail != nil || d.Seq >= end {
			more = more && d.Seq < end
			break
		}
		var r store.Receipt
		if r, fail = l.replayOne(&d); fail == nil {
			last = last.After(r)
			seqs = append(seqs, d.Seq)
		}
	}
	// They are on their way, whether somebody still wants to know or not: a dead letter
	// that stayed one would go once more with the next replay.
	if err := l.waitWorking(context.WithoutCancel(ctx), last); err != nil {
		return 0, false, fmt.Errorf("wait for the disk: %w", err)
	}
	for _, seq := range seqs { // they are in the other queue for sure
		dead.Done(seq)
	}
	// Or a crash within the next half a minute would have them dead again.
	if err := l.waitWorking(context.WithoutCancel(ctx), dead.Remember()); err != nil {
		return uint64(len(seqs)), false, fmt.Errorf("wait for the disk: %w", err)
	}
	return uint64(len(seqs)), more, fail
}

// replayOne publishes a dead letter to the queue that gave it up.
func (l *Local) replayOne(d *store.Delivery) (store.Receipt, error) {
	props, why := splitDead(d.Props)
	if why == nil {
		return store.Receipt{}, fmt.Errorf("message %d does not say which queue gave it up", d.Seq)
	}
	lane := l.Store.Lookup(why.Queue)
	if lane == nil {
		return store.Receipt{}, fmt.Errorf("message %d: %w: %s gave it up", d.Seq, ErrNoQueue, why.Queue)
	}
	if why.Received != "" && !bytes.Contains(props, []byte(store.DeadReceived)) { // else it was replayed before
		props = packet.AppendUserProp(props, store.DeadReceived, why.Received)
	}
	m := &store.Message{Topic: d.Topic, Payload: d.Payload, QoS: d.QoS, Props: props}
	r, err := l.Store.Publish(m, []store.Target{{Consumer: lane, QoS: d.QoS, KeepRetain: d.Retain}})
	if err != nil {
		return r, fmt.Errorf("message %d: %w", d.Seq, err)
	}
	return r, nil
}
