package store

import (
	"errors"
	"fmt"
	"slices"

	"packetboat/broker/store/wal"
)

// recovery applies snapshot and log to an empty store.
type recovery struct {
	s        *Store
	reading  *reading
	last     lastMessage
	damaged  []wal.Damage
	snapshot bool
	holes    []hole
	assumed  []hole              // seqs before the log: finished, unless a rescue record has them
	listed   map[uint32]struct{} // consumers in the table that is being read
}

// reading is for a Store that only tells what the log gives.
type reading struct {
	until       wal.Pos   // of the log
	table       bool      // ... and the table of the segment that begins there
	snapshots   []wal.Pos // to begin with one of these; none: from the log's beginning
	ledgersOnly bool      // keys and retained messages are of no interest
}

// recover brings the store to the state of the log's end.
func (s *Store) recover(dir string, reading *reading) error {
	r := &recovery{s: s, reading: reading}
	until, table := wal.Pos(0), false
	if reading != nil {
		until, table = reading.until, reading.table
	}
	from, count, err := r.loadSnapshot()
	if err != nil {
		return err
	}
	s.wal, err = wal.Open(dir, from, count, wal.Options{
		FS: s.fs, Lock: &s.mu, SegmentSize: s.opt.SegmentSize, CommitInterval: s.opt.CommitInterval, Log: s.log,
		Counted:      func(rec []byte) bool { return len(rec) > 0 && isMessage(rec[0]) },
		BeforeSeal:   func() { s.progressLocked(s.ending) },
		BeginSegment: s.beginSegmentLocked,
		OnCommit:     s.onCommit,
		OnDamage:     r.damage,
		Until:        until,
		UntilTable:   table,
		OnState:      s.onState,
		ReadStaged:   s.without("read_only_durable"),
	}, r.apply)
	if err != nil {
		return err
	}
	s.snap.wake = make(chan struct{}, 1)
	s.snap.at = from
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.clocks.begin(s.wal.End()); !known || !s.readOnly() {
		s.recordClockLocked()
	}
	s.tellDamage()
	r.assume()
	r.lose()
	r.dismiss()
	r.afterDamage()
	if reading == nil {
		s.checkLedgersLocked()
	}
	s.snap.due = len(r.damaged) > 0
	for _, c := range s.consumers {
		c.rewindLocked()
		c.durFloor = c.floor
		c.sentHigh = min(c.next, c.floor+windowSize)
		c.trimSpansLocked()
	}
	return nil
}

// loadSnapshot reads the newest snapshot that is sound.
func (r *recovery) loadSnapshot() (wal.Pos, uint64, error) {
	snaps, err := wal.Snapshots(r.s.fs)
	if err != nil {
		return 0, 0, err
	}
	if r.reading != nil {
		snaps = r.reading.snapshots
	}
	for i, p := range snaps {
		count, size, err := wal.ReadSnapshot(r.s.fs, p, func(rec []byte) error { return r.applySnapshot(rec) })
		if err == nil {
			r.snapshot = true
			r.s.snap.size = size
			r.s.snap.kept = snaps[i:min(len(snaps), i+2)]
			return p, count, nil
		}
		var newer *wal.NewerError
		if errors.As(err, &newer) {
			return 0, 0, err
		}
		r.s.log.Error("a snapshot of the queue is damaged; using an older one", "position", fmt.Sprintf("%x", uint64(p)), "err", err)
		r.s.reset()
	}
	return 0, 0, nil
}

func (s *Store) reset() {
	clear(s.consumers)
	clear(s.byName)
	clear(s.origins)
	clear(s.originNum)
	clear(s.kv)
	clear(s.retained)
	s.clocks.boots, s.gaps, s.gapSeal, s.lastNum, s.lastOrigin = nil, nil, 0, 0, 0
}

// apply takes in one record of the log.
func (r *recovery) apply(frame, p wal.Pos, rec []byte) error {
	s := r.s
	if rec == nil {
		s.segment = frame
		clear(r.listed)
		return nil
	}
	if len(rec) == 0 {
		return fmt.Errorf("record at %x: %w", uint64(p), errRecord)
	}
	c := cursor{b: rec[1:]}
	switch rec[0] {
	case recMessage, recImported, recRescue, recImportedRescue:
		return r.message(frame, p, rec)
	case recProgress:
		r.progress(&c)
	case recForget:
		num := uint32(c.uvarint())
		s.lastOrigin = max(s.lastOrigin, num)
		if o := s.originNum[num]; o != nil {
			s.forgetLocked(o, uint16(c.uvarint()))
		}
	case recSet:
		if r.ledgersOnly() {
			return nil
		}
		key := string(c.bytes())
		s.kv[key] = slices.Clone(c.b)
		s.sealGapsLocked(key, c.b)
	case recDelete:
		delete(s.kv, string(c.b))
	case recConsumer:
		num, ids := uint32(c.uvarint()), IDs{uint16(c.uvarint()), uint16(c.uvarint())}
		if c.err == nil {
			r.named(num, string(c.b), ids)
		}
	case recRemove:
		num := uint32(c.uvarint())
		s.lastNum = max(s.lastNum, num)
		if con := s.consumers[num]; con != nil {
			s.removeLocked(con)
		}
	case recClock:
		cr := clockRecord{boot: uint32(c.uvarint())}
		copy(cr.id[:], c.take(16))
		cr.up, cr.wall = c.uvarint(), c.varint()
		cr.synced = c.byte() != 0
		since := wal.Pos(c.uvarint())
		if since == 0 {
			since = p
		}
		if p == 0 {
			r.endTable()
		}
		if c.err == nil {
			s.clocks.apply(cr, since)
		}
	case recGap:
		r.gap(p, &c)
	case recOrigin:
		num := uint32(c.uvarint())
		switch o := s.originNum[num]; {
		case c.err != nil:
		case o != nil:
			s.renameOriginLocked(o, string(c.b))
		default:
			s.newOriginLocked(num, string(c.b))
		}
	case recTable:
		r.tableEntry(&c)
	case recSkip:
		if con := s.consumers[uint32(c.uvarint())]; con != nil {
			first, end := c.uvarint(), c.uvarint()
			if c.err == nil && first > con.next {
				r.missing(con, first)
			}
			con.skipLocked(first, end, c.byte() != 0)
		}
	case recRestart:
		if con := s.consumers[uint32(c.uvarint())]; con != nil {
			con.restartLocked()
		}
	case recSegment, recSpan, recReceived, recState:
		return fmt.Errorf("record of type %d at %x belongs into a snapshot: %w", rec[0], uint64(p), errRecord)
	default:
		return &wal.NewerError{Version: wal.FormatVersion + 1}
	}
	if c.err != nil {
		return fmt.Errorf("record of type %d at %x: %w", rec[0], uint64(p), c.err)
	}
	return nil
}

func (r *recovery) message(frame, p wal.Pos, rec []byte) error {
	s := r.s
	var m messageRecord
	if err := parseMessage(rec, &m); err != nil {
		return fmt.Errorf("at %x: %w", uint64(p), err)
	}
	boot := m.boot
	if boot == 0 {
		boot = s.clocks.current()
	}
	at := Stamp{boot, m.up}
	s.clocks.note(at)
	r.last.note(p, &m)
	var t targetRecord
	for m.next(&t) {
		c := s.consumers[t.num]
		if c == nil && t.num > s.lastNum && len(r.damaged) > 0 {
			c = r.stranger(t.num)
		}
		if c == nil {
			continue // removed
		}
		if isRescue(rec[0]) {
			c.moveLocked(t.seq, frame, len(rec), at)
			continue
		}
		if t.seq < c.next {
			continue
		}
		if t.seq > c.next {
			r.missing(c, t.seq)
		}
		c.acceptLocked(p, frame, len(rec), t.opts&flagQoS, at)
	}
	if isMessage(rec[0]) && m.flags&flagRetain != 0 && !r.ledgersOnly() {
		msg := Message{Topic: string(m.topic), Payload: m.payload, QoS: m.flags & flagQoS, Retain: true, Props: m.props,
			Origin: s.originName(m.origin), Expiry: m.expiry, HasExpiry: m.flags&flagExpiry != 0}
		s.retainLocked(&msg, at)
	}
	if o := s.originNum[m.origin]; o != nil && m.packetID != 0 && !s.without("dedupe_with_message") {
		o.received[m.packetID] = Receipt{}
	}
	return nil
}

func (r *recovery) progress(c *cursor) {
	con := r.s.consumers[uint32(c.uvarint())]
	floor, done, released := c.uvarint(), c.bytes(), c.bytes()
	if con == nil || c.err != nil || floor < con.floor {
		return
	}
	// What it tells of messages that are not in the log was in damaged bytes.
	if floor > con.next {
		r.passed(con, floor)
	}
	if end := floor + max(bitsEnd(done), bitsEnd(released)); end > con.next {
		r.missing(con, end)
	}
	con.loadProgress(floor, done, released)
}

// loadProgress finishes what a progress record says is finished.
func (c *Consumer) loadProgress(floor uint64, done, released []byte) {
	c.finishBelowLocked(floor)
	var d, r bitRing
	d.load(done, floor)
	r.load(released, floor)
	for seq := floor; seq < min(c.next, floor+windowSize); seq++ {
		if d.get(seq) {
			c.finishLocked(seq)
		} else if r.get(seq) && seq >= c.floor {
			c.released.set(seq)
		}
	}
}

func (r *recovery) gap(p wal.Pos, c *cursor) {
	num, g := parseGap(c)
	if c.err != nil {
		return
	}
	con := r.s.consumers[num]
	if con == nil && num > r.s.lastNum && len(r.damaged) > 0 {
		con = r.stranger(num)
	}
	if con != nil {
		g.Consumer = con.name
		if con.name == "" {
			g.Consumer = strangerName(num)
		}
		if g.FirstSeq > con.next {
			r.missing(con, g.FirstSeq)
		}
		con.applyGapLocked(&g)
	}
	r.s.noteGapLocked(g, p)
}

// tableEntry takes in a consumer from a segment's table. It is news when records
// before the segment cannot be read any more, and the floor may be ahead of the
// latest progress record.
func (r *recovery) tableEntry(c *cursor) {
	num, ids := uint32(c.uvarint()), IDs{uint16(c.uvarint()), uint16(c.uvarint())}
	next, floor := c.uvarint(), c.uvarint()
	if c.err != nil {
		return
	}
	s := r.s
	if r.listed == nil {
		r.listed = make(map[uint32]struct{})
	}
	r.listed[num] = struct{}{}
	con := s.consumers[num]
	r.named(num, string(c.b), ids)
	if con == nil {
		con = s.consumers[num]
		con.next, con.floor = next, floor
		con.accepted, con.queued = next, next-floor
		con.qos2 = true // nobody knows
		r.assumed = append(r.assumed, hole{c: con, first: floor, end: next})
		return
	}
	if floor > con.next { // finished before its bytes went
		r.passed(con, floor)
	}
	con.finishBelowLocked(floor)
	if next > con.next {
		r.missing(con, next)
	}
}

// endTable takes the clock record for the end of a segment's table: a consumer
// that it does not list was removed, by a record in damaged bytes.
func (r *recovery) endTable() {
	if len(r.damaged) == 0 {
		return
	}
	for num, c := range r.s.consumers {
		if _, ok := r.listed[num]; !ok {
			r.s.removeLocked(c)
		}
	}
}

func (r *recovery) ledgersOnly() bool { return r.reading != nil && r.reading.ledgersOnly }

func (s *Store) beginSegmentLocked(p wal.Pos, late bool, add func(rec []byte)) {
	s.segment, s.fresh = p, nil
	var buf []byte
	for _, c := range s.consumers {
		buf = appendTable(buf[:0], c)
		add(buf)
	}
	if s.clocks.current() > 0 {
		add(appendClock(buf[:0], s.clocks.read(), s.clocks.boots[s.clocks.current()-1].since))
	}
}

func (s *Store) onState(err error) {
	if err != nil {
		s.log.Error("the disk queue cannot write; durable messages are refused until it can", "err", err)
		return
	}
	s.log.Info("the disk queue writes again")
}

// checkForeign refuses a directory with files that are not ours, before
// anything is written into it.
func checkForeign(fs wal.FS) error {
	files, err := fs.List()
	if err != nil {
		return fmt.Errorf("list data directory: %w", err)
	}
	for _, f := range files {
		if !wal.Owns(f.Name) {
			return fmt.Errorf("%w: it holds %s; give the gateway an empty directory of its own (gateway.data_dir)", wal.ErrForeign, f.Name)
		}
	}
	return nil
}
