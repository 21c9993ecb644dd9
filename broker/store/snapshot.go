package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"packetboat/broker/store/wal"
)

// snapshotState is what the housekeeping knows of snapshots.
type snapshotState struct {
	wake chan struct{}
	busy sync.Mutex // held while one is written
	due  bool       // after damage: else each start would find it again
	at   wal.Pos    // of the newest
	size int64      // of the newest
	kept []wal.Pos  // newest first, at most two
}

// snapshotDueLocked: the log has grown by max(segment, 4 × the last snapshot).
func (s *Store) snapshotDueLocked() bool {
	grown := int64(s.wal.End() - max(s.snap.at, wal.FirstPos))
	return s.snap.due || grown > max(s.opt.SegmentSize, 4*s.snap.size)
}

func (s *Store) snapshotIfDue(ctx context.Context) error {
	s.mu.Lock()
	due := s.snapshotDueLocked()
	s.mu.Unlock()
	if !due || s.wal.Failed() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, snapshotWait)
	defer cancel()
	return s.Snapshot(ctx)
}

// snapshotWait is how long the housekeeping waits for the log: the disk may
// hang, and it is the housekeeping that notices.
const snapshotWait = 10 * time.Second

// Snapshot writes the present state as a compact log and lets go of the
// snapshot before the last. Run does it when it is due.
func (s *Store) Snapshot(ctx context.Context) error {
	s.snap.busy.Lock()
	defer s.snap.busy.Unlock()
	st := s.freeze()
	// A state that is ahead of the log would show messages that never were.
	if err := s.wal.Wait(ctx, st.pos-1); err != nil {
		return fmt.Errorf("wait for the log: %w", err)
	}
	return s.writeSnapshot(st)
}

func (s *Store) writeSnapshot(st *frozen) error {
	size, err := wal.WriteSnapshot(s.fs, st.pos, st.count, st.write)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.snap.at, s.snap.size, s.snap.due = st.pos, size, false
	old := s.snap.kept
	if len(old) > 0 && old[0] == st.pos { // written again
		old = old[1:]
	}
	s.snap.kept = append([]wal.Pos{st.pos}, old[:min(len(old), 1)]...)
	s.mu.Unlock()
	snaps, err := wal.Snapshots(s.fs)
	if err != nil {
		return err
	}
	for _, p := range snaps {
		if !slices.Contains(s.snap.kept, p) {
			if err := wal.RemoveSnapshot(s.fs, p); err != nil {
				return fmt.Errorf("remove old snapshot: %w", err)
			}
		}
	}
	return nil
}

// frozen is the state at a position: small things encoded, large ones by
// reference to what is immutable.
type frozen struct {
	pos      wal.Pos
	count    uint64
	small    []byte // records with a uvarint length in front
	kv       []keyValue
	retained []retainedFrom
}

type retainedFrom struct {
	m      *Message
	origin uint32 // 0 = nobody's, or not known
}

type keyValue struct {
	key   string
	value []byte
}

func (s *Store) freeze() *frozen {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkLedgersLocked()
	s.progressLocked(true) // what the snapshot says, the log says, too: see audit
	s.wal.Seal()
	f := &frozen{pos: s.wal.OpenFrame(), count: s.wal.Count()}
	var rec []byte
	add := func(r []byte) {
		f.small = appendBytes(f.small, r)
		rec = r
	}
	for i, b := range s.clocks.boots {
		add(appendClock(rec[:0], clockRecord{uint32(i + 1), b.id, b.lastUp, b.wallAt + int64(b.lastUp), b.synced}, max(b.since, 1)))
	}
	for _, p := range s.wal.Segments() {
		add(appendSegmentRecord(rec[:0], p.Start))
	}
	// Numbers are never used again, also those of what is gone.
	add(appendRemove(rec[:0], s.lastNum))
	add(appendForget(rec[:0], s.lastOrigin, 0))
	for _, c := range s.consumers {
		add(appendConsumer(rec[:0], c))
		add(appendState(rec[:0], c))
		for i := range c.spans {
			add(appendSpan(rec[:0], c.num, &c.spans[i]))
		}
		for _, r := range c.skips {
			add(appendSkip(rec[:0], c.num, r))
		}
	}
	for _, o := range s.origins {
		add(appendOrigin(rec[:0], o.num, o.name))
		for id := range o.received {
			add(appendReceived(rec[:0], o.num, id))
		}
	}
	for i := range s.gaps {
		g := &s.gaps[i]
		num, gone := uint32(0), g.Consumer
		if c := s.byName[g.Consumer]; c != nil {
			num, gone = c.num, ""
		}
		telling := uint64(0)
		if g.telling {
			telling = 1
		}
		add(appendBytes(appendUvarints(appendGap(rec[:0], num, g), uint64(g.pos), telling), gone))
	}
	for k, v := range s.kv {
		f.kv = append(f.kv, keyValue{k, v})
	}
	for _, m := range s.retained {
		from := retainedFrom{m: m}
		if o := s.origins[m.Origin]; o != nil {
			from.origin = o.num
		}
		f.retained = append(f.retained, from)
	}
	return f
}

func (f *frozen) write(add func(rec []byte) error) error {
	for b := f.small; len(b) > 0; {
		rec, rest, err := wal.NextRecord(b)
		if err != nil {
			return err
		}
		if err := add(rec); err != nil {
			return err
		}
		b = rest
	}
	var rec []byte
	for _, kv := range f.kv {
		rec = appendSet(rec[:0], kv.key, kv.value)
		if err := add(rec); err != nil {
			return err
		}
	}
	for _, r := range f.retained {
		rec = appendRetained(rec[:0], r.m, r.origin)
		if err := add(rec); err != nil {
			return err
		}
	}
	return nil
}

// appendRetained writes m as a rescue record without a target, which
// carries its boot: a retained message in a snapshot.
func appendRetained(dst []byte, m *Message, origin uint32) []byte {
	dst = append(dst, recRescue, messageFlags(m, origin))
	dst = appendUvarints(dst, uint64(m.Received.Boot), 0, m.Received.Up)
	return appendBody(dst, m, origin)
}

// appendState: consumer, next, floor, flags (1: has had QoS 2), accepted,
// queued, queued bytes, newest QoS 0, lost by reason, finished and released bits.
func appendState(dst []byte, c *Consumer) []byte {
	flags := uint64(0)
	if c.qos2 {
		flags = 1
	}
	dst = appendUvarints(append(dst, recState), uint64(c.num), c.next, c.floor, flags, c.accepted, c.queued, c.queuedBytes,
		c.lastQoS0, uint64(len(c.lost)))
	dst = appendUvarints(dst, c.lost[:]...)
	dst = c.done.appendFrom(dst, c.floor)
	return c.released.appendFrom(dst, c.floor)
}

// applySnapshot takes in one record of a snapshot.
func (r *recovery) applySnapshot(rec []byte) error {
	s := r.s
	if len(rec) == 0 {
		return errRecord
	}
	c := cursor{b: rec[1:]}
	switch rec[0] {
	case recState:
		return r.state(&c)
	case recSpan:
		if con := s.consumers[uint32(c.uvarint())]; con != nil {
			sp := span{pos: wal.Pos(c.uvarint()), first: c.uvarint(), count: uint32(c.uvarint()), bytes: c.uvarint(), at: c.stamp()}
			sp.rescued = c.uvarint()&1 != 0
			if sp.count == 0 {
				return errRecord
			}
			con.spans = append(con.spans, sp)
		}
	case recReceived:
		if o := s.originNum[uint32(c.uvarint())]; o != nil {
			o.received[uint16(c.uvarint())] = Receipt{}
		}
	case recSegment:
		c.uvarint()
	case recSkip:
		if con := s.consumers[uint32(c.uvarint())]; con != nil {
			con.addSkipLocked(skipped{c.uvarint(), c.uvarint(), c.byte() != 0})
		}
	case recGap:
		num, g := parseGap(&c)
		if len(c.b) > 0 { // a snapshot of before gaps were told ends here
			g.pos, g.telling, g.Consumer = wal.Pos(c.uvarint()), c.uvarint()&1 != 0, string(c.bytes())
		}
		if con := s.consumers[num]; con != nil {
			g.Consumer = con.name
		}
		s.gaps = append(s.gaps, g) // merged as far as they are to be
	case recRescue:
		return r.retained(rec)
	default:
		return r.apply(1, 1, rec)
	}
	return c.err
}

func (r *recovery) state(c *cursor) error {
	con := r.s.consumers[uint32(c.uvarint())]
	if con == nil {
		return fmt.Errorf("state of an unknown consumer: %w", errRecord)
	}
	con.next, con.floor = c.uvarint(), c.uvarint()
	con.qos2 = c.uvarint()&1 != 0
	con.accepted, con.queued, con.queuedBytes, con.lastQoS0 = c.uvarint(), c.uvarint(), c.uvarint(), c.uvarint()
	n := c.uvarint()
	for i := uint64(0); i < n && c.err == nil; i++ {
		if v := c.uvarint(); i < uint64(len(con.lost)) {
			con.lost[i] = v
		}
	}
	con.done.load(c.bytes(), con.floor)
	con.released.load(c.bytes(), con.floor)
	return c.err
}

func (r *recovery) retained(rec []byte) error {
	if r.ledgersOnly() {
		return nil
	}
	var m messageRecord
	if err := parseMessage(rec, &m); err != nil {
		return err
	}
	r.s.retainLocked(&Message{Topic: string(m.topic), Payload: m.payload, QoS: m.flags & flagQoS, Retain: true, Props: m.props,
		Origin: r.s.originName(m.origin), Expiry: m.expiry, HasExpiry: m.flags&flagExpiry != 0}, Stamp{m.boot, m.up})
	return nil
}
