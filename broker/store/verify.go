package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"

	"packetboat/broker/store/wal"
)

// Verification: the ledgers against the log as it stands on the disk. Two things
// are compared, neither of which trusts the counters:
//
//  1. every message that a ledger says is queued has to be in the log;
//  2. the counts that come out when the log is applied again to the snapshot
//     before the last have to be those that the store has.

// Verification is what reading every byte of the log again has shown.
type Verification struct {
	Segments int
	Frames   uint64
	Messages uint64 // message and rescue records that are intact
	Bytes    int64
	Damage   []Damage
	Ledgers  []LedgerCheck

	// Derived: the counts were compared with those that the log gives. Where the
	// log before the snapshot there is is gone, nothing gives them.
	Derived bool
}

// LedgerCheck compares a consumer's ledger with the log.
type LedgerCheck struct {
	Consumer string
	Lag      Lag
	Found    uint64     // messages it waits for that the log has
	Missing  []SeqRange // ... and those that it has not
	Counts   *Lag       // what the log gives, if that is something else; ages and bytes are not compared
}

// SeqRange is the seqs from First to Last.
type SeqRange struct{ First, Last uint64 }

// Agrees reports whether the log has exactly what the ledger says is queued,
// and gives the same counts.
func (c *LedgerCheck) Agrees() bool {
	return len(c.Missing) == 0 && c.Found == c.Lag.Messages && c.Counts == nil && c.Lag.balances()
}

// OK reports whether nothing is damaged and all ledgers agree. Bytes at the end
// that cannot be read count: most often they are a commit that nobody was told
// of, but what was damaged there looks the same.
func (v *Verification) OK() bool {
	for i := range v.Ledgers {
		if !v.Ledgers[i].Agrees() {
			return false
		}
	}
	return len(v.Damage) == 0
}

// Verify reads the whole log and compares what is there with the ledgers, also
// while the store is in use. progress, if not nil, is told how much is done.
func (s *Store) Verify(ctx context.Context, progress func(done, total int64)) (*Verification, error) {
	a := s.beginAudit()
	if !s.readOnly() {
		if err := s.wal.Wait(ctx, a.until-1); err != nil {
			return nil, fmt.Errorf("wait for the log: %w", err)
		}
	}
	return a.run(ctx, progress)
}

// audit is a verification under way: the ledgers at a position of the log.
type audit struct {
	s       *Store
	until   wal.Pos
	segment wal.Pos // the newest one: the ledgers know what its table tells
	ledgers map[uint32]*ledgerCopy
	last    lastMessage
	v       Verification
}

// ledgerCopy is the state of a consumer at the position of an audit.
type ledgerCopy struct {
	c     *Consumer // as it was: only its seqs and counts mean something
	lag   Lag
	found *seqSet
}

// beginAudit copies the ledgers as they are at the end of the log, after all
// progress was staged: then the log gives the same.
func (s *Store) beginAudit() *audit {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.readOnly() {
		s.progressLocked(true)
		s.wal.Seal()
	}
	a := &audit{s: s, until: s.wal.OpenFrame(), segment: s.segment, ledgers: map[uint32]*ledgerCopy{}}
	for num, c := range s.consumers {
		at := *c
		at.skips = append([]skipped(nil), c.skips...)
		at.spans, at.ring, at.rd = nil, nil, reader{}
		a.ledgers[num] = &ledgerCopy{c: &at, lag: c.lagLocked(), found: &seqSet{from: c.floor}}
	}
	return a
}

func (a *audit) run(ctx context.Context, progress func(done, total int64)) (*Verification, error) {
	a.until = min(a.until, a.s.wal.Durable())
	var total, done int64
	for _, seg := range a.s.wal.Segments() {
		total += seg.Size
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	err := a.s.wal.Audit(a.until, wal.AuditSink{
		Frame: func(p wal.Pos, recs []byte) error {
			a.v.Frames++
			a.v.Bytes += int64(len(recs))
			return errors.Join(ctx.Err(), a.frame(p, recs))
		},
		Damage: func(d wal.Damage) { a.v.Damage = append(a.v.Damage, a.last.damage(d, a.s)) },
		Segment: func(size int64) {
			a.v.Segments++
			done += size
			progress(min(done, total), total)
		},
	})
	if err != nil {
		return nil, err
	}
	a.earlierDamage()
	derived, err := a.derive()
	if err != nil {
		return nil, err
	}
	a.compare(derived)
	return &a.v, nil
}

func (a *audit) frame(p wal.Pos, recs []byte) error {
	at := p + frameHead
	for len(recs) > 0 {
		rec, rest, err := wal.NextRecord(recs)
		if err != nil {
			return fmt.Errorf("frame at %x: %w", uint64(p), err)
		}
		a.see(at, rec)
		at += wal.Pos(len(recs) - len(rest))
		recs = rest
	}
	return nil
}

// see notes for whom of its consumers a record still waits.
func (a *audit) see(p wal.Pos, rec []byte) {
	if len(rec) == 0 || !isMessage(rec[0]) && !isRescue(rec[0]) {
		return
	}
	var m messageRecord
	if parseMessage(rec, &m) != nil {
		return
	}
	a.v.Messages++
	a.last.note(p, &m)
	var t targetRecord
	for m.next(&t) {
		if l := a.ledgers[t.num]; l != nil && t.seq < l.c.next && !l.c.isDoneLocked(t.seq) {
			l.found.add(t.seq)
		}
	}
}

// earlierDamage adds what was found at the start and cannot be seen any more in
// files that are there: a torn tail, a file that is missing.
func (a *audit) earlierDamage() {
	first := wal.Pos(0)
	if segs := a.s.wal.Segments(); len(segs) > 0 {
		first = segs[0].Start
	}
	known := map[wal.Pos]bool{}
	for _, d := range a.v.Damage {
		known[d.Pos] = true
	}
	for _, d := range a.s.Stats().Damage {
		if d.Pos >= first && !known[d.Pos] && (a.s.readOnly() || !d.Torn) {
			a.v.Damage = append(a.v.Damage, d)
		}
	}
	sort.SliceStable(a.v.Damage, func(i, j int) bool { return a.v.Damage[i].Pos < a.v.Damage[j].Pos })
}

// derive applies the log again, from the snapshot before the last or, when
// nothing was ever freed, from its beginning. Nil when there is neither.
func (a *audit) derive() (*Store, error) {
	for range 3 { // a log in use may move on meanwhile
		snaps, err := wal.Snapshots(a.s.fs)
		if err != nil {
			return nil, err
		}
		segs := a.s.wal.Segments()
		var from []wal.Pos
		switch {
		case len(snaps) > 1 && snaps[1] < a.until:
			from = snaps[1:]
		case len(segs) == 0 || segs[0].Start != wal.FirstPos:
			return nil, nil
		}
		opt := Options{FS: readOnlyFS{a.s.fs}, SegmentSize: a.s.opt.SegmentSize, Clock: a.s.opt.Clock}
		d, err := open("", opt, &reading{until: a.until, table: a.segment == a.until, snapshots: from, ledgersOnly: true})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, fmt.Errorf("read the log again: %w", err)
		}
		if moved, err := a.movedOn(from); moved || err != nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		if (d.snap.at == 0) == (from == nil) { // else that snapshot is damaged
			return d, nil
		}
		return nil, nil
	}
	return nil, nil
}

// movedOn reports whether segments may have been freed meanwhile that stand behind the
// snapshot from, or, without one, at the beginning. A snapshot goes before they do.
func (a *audit) movedOn(from []wal.Pos) (bool, error) {
	if len(from) == 0 {
		segs := a.s.wal.Segments()
		return len(segs) > 0 && segs[0].Start != wal.FirstPos, nil
	}
	snaps, err := wal.Snapshots(a.s.fs)
	return !slices.Contains(snaps, from[0]), err
}

func (a *audit) compare(derived *Store) {
	a.v.Derived = derived != nil
	for _, l := range a.ledgers {
		if l.c.name == "" {
			continue
		}
		ck := LedgerCheck{Consumer: l.c.name, Lag: l.lag}
		a.countFound(l, &ck)
		if derived != nil {
			var counts Lag
			if c := derived.consumers[l.c.num]; c != nil {
				counts = c.lagLocked()
			}
			if !counts.same(&l.lag) {
				ck.Counts = &counts
			}
		}
		a.v.Ledgers = append(a.v.Ledgers, ck)
	}
	sort.Slice(a.v.Ledgers, func(i, j int) bool { return a.v.Ledgers[i].Consumer < a.v.Ledgers[j].Consumer })
}

// countFound counts which of the messages that wait the log has. One that is not
// there may have been finished, dropped or rescued into a later segment since.
func (a *audit) countFound(l *ledgerCopy, ck *LedgerCheck) {
	c := l.c
	for seq := c.floor; seq < c.next; seq++ {
		if r, ok := c.skipAt(seq); ok {
			seq = r.end - 1
			continue
		}
		if c.isDoneLocked(seq) {
			continue
		}
		if c.isReleasedLocked(seq) || l.found.has(seq) || a.goneSince(c.num, seq) { // of a released one only PUBREL is left
			ck.Found++
			continue
		}
		if n := len(ck.Missing); n > 0 && ck.Missing[n-1].Last+1 == seq {
			ck.Missing[n-1].Last = seq
		} else {
			ck.Missing = append(ck.Missing, SeqRange{seq, seq})
		}
	}
}

func (a *audit) goneSince(num uint32, seq uint64) bool {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	c := a.s.consumers[num]
	return c == nil || c.isDoneLocked(seq) || c.isReleasedLocked(seq) || c.placeLocked(seq) >= a.until
}

// seqSet is a bitmap of seqs from a floor on.
type seqSet struct {
	from uint64
	bits []uint64
}

func (s *seqSet) add(seq uint64) {
	if seq < s.from {
		return
	}
	i := seq - s.from
	for uint64(len(s.bits)) <= i/64 {
		s.bits = append(s.bits, 0)
	}
	s.bits[i/64] |= 1 << (i % 64)
}

func (s *seqSet) has(seq uint64) bool {
	i := seq - s.from
	return i/64 < uint64(len(s.bits)) && s.bits[i/64]>>(i%64)&1 != 0
}
