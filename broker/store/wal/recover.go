package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sort"
	"strings"
	"time"
)

func leUint32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// Damage describes bytes of the log that Open could not read.
type Damage struct {
	Pos      Pos
	Bytes    int64
	Messages uint64 // how many were in it, where a later frame proves it
	Torn     bool   // at the very end: cannot be told from a commit nobody was answered for
	File     string
}

// Open recovers the log in dir: it checks every frame from position from on
// (0: from the oldest), hands each record to apply with its position, and gets
// ready to append behind the last one. The record passed to apply is valid
// during the call. Where a segment begins, apply gets its position and nil,
// then the records of its table frame with position 0.
//
// count is the number of counted records before from, if from is not 0.
//
// Damaged bytes are copied to quarantine-POS files, reported through
// Options.OnDamage and skipped; Open fails only on input/output errors of the
// directory, a newer format, or an error of apply.
func Open(dir string, from Pos, count uint64, opt Options, apply func(frame, p Pos, rec []byte) error) (*Log, error) {
	if opt.FS == nil {
		opt.FS = Dir(dir)
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.SegmentSize == 0 {
		opt.SegmentSize = defaultSegment
	}
	l := &Log{opened: time.Now(), opt: opt, fs: opt.FS, log: opt.Log, wake: make(chan struct{}, 1), handles: map[string]*handle{}}
	if err := l.list(); err != nil {
		return nil, err
	}
	s := &scan{l: l, apply: apply, pos: max(from, FirstPos), count: count, known: from != 0}
	if from == 0 && len(l.segs) > 0 {
		s.pos = l.segs[0].pos
		s.known = s.pos == FirstPos // nothing was before it
	}
	for i := range l.segs {
		if opt.Until != 0 && s.pos >= opt.Until && !(opt.UntilTable && l.segs[i].pos == opt.Until) {
			break
		}
		if err := s.segment(i); err != nil {
			return nil, err
		}
	}
	l.closeFilesLocked()
	l.count = s.count
	l.open = &frameBuf{pos: s.pos, before: s.count, buf: make([]byte, frameHeader, firstCap)}
	l.durable.Store(uint64(s.pos))
	return l, nil
}

// list finds the segments; of those at one position the highest revision counts.
func (l *Log) list() error {
	files, err := l.fs.List()
	if err != nil {
		return fmt.Errorf("list data directory: %w", err)
	}
	for _, f := range files {
		if p, rev, ok := parseSegmentName(f.Name); ok {
			l.segs = append(l.segs, segment{pos: p, rev: rev, size: f.Size, name: f.Name})
		} else if strings.HasPrefix(f.Name, "quarantine-") {
			l.aside += f.Size
		} else if strings.HasPrefix(f.Name, poolPrefix) || f.Name == poolTemp {
			l.adoptSpare(f)
		}
	}
	sort.Slice(l.segs, func(i, j int) bool {
		a, b := l.segs[i], l.segs[j]
		return a.pos < b.pos || a.pos == b.pos && a.rev < b.rev
	})
	kept := l.segs[:0]
	for i, s := range l.segs {
		if i+1 < len(l.segs) && l.segs[i+1].pos == s.pos {
			if err := l.fs.Remove(s.name); err != nil {
				l.log.Warn("could not remove a superseded segment", "file", s.name, "err", err)
			}
			continue
		}
		kept = append(kept, s)
	}
	l.segs = kept
	return nil
}

// scan is the state of a recovery.
type scan struct {
	l     *Log
	apply func(frame, p Pos, rec []byte) error
	pos   Pos    // of the next frame
	count uint64 // messages before it
	known bool   // count is known
	buf   []byte
}

// segment recovers the i-th segment: reads its head, then its frames.
func (s *scan) segment(i int) error {
	seg := &s.l.segs[i]
	last := i == len(s.l.segs)-1
	var end Pos
	if !last {
		end = s.l.segs[i+1].pos
	}
	f, err := s.l.fs.Open(seg.name, false)
	if err != nil {
		return fmt.Errorf("open segment %s: %w", seg.name, err)
	}
	defer f.Close()
	table, err := s.head(f, seg)
	if err != nil {
		return err
	}
	if size := seg.first + int64(end-seg.pos); !last && seg.first > 0 && seg.size > size {
		s.l.cuts = append(s.l.cuts, cut{seg.name, size})
	}
	if !last && end <= s.pos {
		return nil // only the spans of the snapshot point into it
	}
	if seg.pos > s.pos {
		s.hole(seg.pos)
	}
	if err := s.apply(seg.pos, 0, nil); err != nil {
		return err
	}
	if seg.pos >= s.pos { // else what is known is newer than the table
		if err := s.records(seg.pos, 0, table); err != nil {
			return err
		}
	}
	return s.frames(f, seg, end, last)
}

// head reads a segment's header and table. A damaged head is not fatal: frames
// are found by the position that each carries.
func (s *scan) head(f File, seg *segment) ([]byte, error) {
	h := make([]byte, segmentHeader)
	if _, err := f.ReadAt(h, 0); err != nil && !errors.Is(err, io.EOF) {
		s.l.log.Error("could not read a segment's head", "file", seg.name, "err", err)
	}
	info, err := parseHead(h, segmentMagic, seg.pos)
	var newer *NewerError
	if errors.As(err, &newer) {
		return nil, err
	}
	if err == nil && info.first >= segmentHeader+frameHeader && info.first < maxFrame {
		b := make([]byte, info.first-segmentHeader)
		if n, _ := f.ReadAt(b, segmentHeader); n == len(b) {
			if fi, ok := parseFrame(b, true); ok && fi.pos == seg.pos && fi.size == len(b) {
				seg.first, seg.late = info.first, info.late
				if info.late {
					return nil, nil
				}
				return b[frameHeader:], nil
			}
		}
		seg.first = info.first
	}
	all := readAll(f, 0)
	if o, fi, ok := findFrame(all, 0, seg.pos, seg.pos+Pos(len(all))); ok {
		// Before the head there is nothing: then it is a frame of another file.
		if first := int64(o) - int64(fi.pos-seg.pos); first >= segmentHeader+frameHeader {
			seg.first = first
		}
	}
	return nil, nil
}

// hole notes positions that no file holds. Without a snapshot to start from
// they are those of segments that were freed long ago.
func (s *scan) hole(to Pos) {
	if s.known {
		s.damage(Damage{Pos: s.pos, Bytes: int64(to - s.pos), File: "(missing)"})
	}
	s.pos = to
}

func (s *scan) frames(f File, seg *segment, end Pos, last bool) error {
	for last || s.pos < end {
		if s.l.opt.Until != 0 && s.pos >= s.l.opt.Until {
			return nil
		}
		off := seg.first + int64(s.pos-seg.pos)
		b, info, err := s.read(f, seg, off)
		if err == nil {
			if err := s.frame(b, info); err != nil {
				return err
			}
			continue
		}
		if !errors.Is(err, errFrame) && !errors.Is(err, errHead) && !errors.Is(err, io.ErrUnexpectedEOF) {
			s.l.log.Error("could not read a frame of the queue", "file", seg.name, "position", fmt.Sprintf("%x", uint64(s.pos)), "err", err)
		}
		limit := end
		if last {
			limit = s.pos + Pos(max(0, seg.size-off))
		}
		rest := readAll(f, max(off, 0))
		if o, fi, ok := findFrame(rest, 1, s.pos+1, limit); seg.first > 0 && ok && fi.pos == s.pos+Pos(o) {
			s.quarantine(rest[:o])
			s.damage(Damage{Pos: s.pos, Bytes: int64(o), File: seg.name})
			s.pos = fi.pos
			continue
		}
		if !last {
			s.quarantine(rest[:min(uint64(len(rest)), uint64(end-s.pos))])
			s.damage(Damage{Pos: s.pos, Bytes: int64(end - s.pos), File: seg.name})
			s.pos = end
			return nil
		}
		if o := begunFrame(rest, s.pos); seg.first > 0 && o > 0 {
			s.quarantine(rest[:o])
			s.damage(Damage{Pos: s.pos, Bytes: int64(o), File: seg.name})
			s.pos += Pos(o)
			continue
		}
		s.cutTail(f, seg, off, rest)
		return nil
	}
	return nil
}

func (s *scan) read(f File, seg *segment, off int64) ([]byte, frameInfo, error) {
	if seg.first == 0 {
		return nil, frameInfo{}, errHead
	}
	b, info, err := readFrameAt(f, off, s.buf)
	if cap(b) > cap(s.buf) {
		s.buf = b[:0]
	}
	if err == nil && info.pos != s.pos {
		err = errFrame // of another position
	}
	return b, info, err
}

// cutTail ends the log at the present position.
func (s *scan) cutTail(f File, seg *segment, off int64, rest []byte) {
	if seg.first == 0 && s.pos <= seg.pos && (allZero(rest) || ofFormerLife(f, seg.pos)) {
		return // a segment that was just being created
	}
	n := brokenFrame(rest, s.pos)
	if n > 0 || seg.first == 0 {
		if n == 0 {
			n = int64(len(rest))
		}
		s.quarantine(rest[:n])
		s.damage(Damage{Pos: s.pos, Bytes: n, Torn: true, File: seg.name})
	}
	if seg.first > 0 && seg.size > off {
		s.l.cuts = append(s.l.cuts, cut{seg.name, off})
	}
}

// ofFormerLife reports whether a file still has the head of the segment that it
// was before position p.
func ofFormerLife(f File, p Pos) bool {
	h := make([]byte, segmentHeader)
	if n, _ := f.ReadAt(h, 0); n < len(h) {
		return false
	}
	was := Pos(binary.LittleEndian.Uint64(h[16:]))
	_, err := parseHead(h, segmentMagic, was)
	return err == nil && was < p
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func (s *scan) damage(d Damage) {
	if s.l.opt.OnDamage != nil {
		s.l.opt.OnDamage(d)
		return
	}
	d.Tell(s.l.log)
}

// Tell writes the line for the operator, with more attributes behind its own.
func (d *Damage) Tell(log *slog.Logger, more ...any) {
	args := append([]any{"file", d.File, "position", fmt.Sprintf("%x", uint64(d.Pos)), "bytes", d.Bytes}, more...)
	if d.Torn {
		log.Warn("the queue ends in an unfinished commit, as after a power cut; it was cut off, nobody had been told that it was stored", args...)
	} else {
		log.Error("the queue has damaged bytes; they are passed over and kept in a quarantine file", args...)
	}
}

// frame takes in a valid frame at s.pos.
func (s *scan) frame(b []byte, info frameInfo) error {
	if s.known && info.before > s.count && s.l.opt.OnDamage != nil {
		s.l.opt.OnDamage(Damage{Pos: s.pos, Messages: info.before - s.count})
	}
	s.count, s.known = info.before, true
	if err := s.records(info.pos, info.pos+frameHeader, b[frameHeader:]); err != nil {
		return err
	}
	s.pos += Pos(info.size)
	return nil
}

func (s *scan) records(frame, p Pos, recs []byte) error {
	for len(recs) > 0 {
		rec, rest, err := NextRecord(recs)
		if err != nil {
			return fmt.Errorf("record at %x: %w", uint64(p), err)
		}
		if err := s.apply(frame, p, rec); err != nil {
			return err
		}
		if p != 0 {
			p += Pos(len(recs) - len(rest))
			if s.l.opt.Counted != nil && s.l.opt.Counted(rec) {
				s.count++
			}
		}
		recs = rest
	}
	return nil
}

const maxQuarantine = 16 // files, in all at most as long as a segment

// quarantine keeps damaged bytes for whoever wants to look at them.
func (s *scan) quarantine(b []byte) {
	if len(b) == 0 || allZero(b) {
		return
	}
	b = b[:min(len(b), 1<<20)]
	files, err := s.l.fs.List()
	n, have := 0, int64(0)
	for _, f := range files {
		if strings.HasPrefix(f.Name, "quarantine-") {
			n++
			have += f.Size
		}
	}
	if err != nil || n >= maxQuarantine || have+int64(len(b)) > s.l.opt.SegmentSize {
		s.l.log.Warn("damaged bytes were not kept: quarantine is full", "bytes", len(b))
		return
	}
	name := fmt.Sprintf("quarantine-%016x", uint64(s.pos))
	f, err := s.l.fs.Open(name, true)
	if err != nil {
		return // kept by an earlier start
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		s.l.log.Warn("damaged bytes could not be kept", "file", name, "err", err)
		return
	}
	s.l.aside += int64(len(b))
}
