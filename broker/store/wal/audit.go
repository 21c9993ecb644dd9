package wal

import (
	"errors"
	"fmt"
	"io/fs"
)

// An AuditSink takes what Audit finds. An error of Frame ends the audit.
type AuditSink struct {
	Frame   func(p Pos, recs []byte) error // valid during the call
	Damage  func(d Damage)
	Segment func(size int64) // one was read, of a file of so many bytes
}

// Audit reads every frame before until from the files, oldest first, whatever
// of it is still in memory: the log as it stands on the disk. It may run while the
// log is in use; a segment that is freed meanwhile is passed over.
func (l *Log) Audit(until Pos, sink AuditSink) error {
	l.mu.Lock()
	segs := append([]segment(nil), l.segs...)
	l.mu.Unlock()
	a := auditor{l: l, AuditSink: sink, known: len(segs) > 0 && segs[0].pos == FirstPos}
	defer a.tell()
	for i, seg := range segs {
		end, last := until, true
		if i+1 < len(segs) && segs[i+1].pos < until {
			end, last = segs[i+1].pos, false
		}
		if seg.pos >= until {
			break
		}
		err := a.segment(seg, end, last)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		if err != nil {
			return err
		}
		sink.Segment(seg.size)
	}
	return nil
}

// auditor is the state of an Audit.
type auditor struct {
	AuditSink
	l     *Log
	buf   []byte
	count uint64 // messages before the next frame, if known
	known bool
	found *Damage // whose number of messages the next frame tells
}

// tell passes on the damage that was found.
func (a *auditor) tell() {
	if a.found != nil {
		a.Damage(*a.found)
		a.found = nil
	}
}

func (a *auditor) segment(seg segment, end Pos, last bool) error {
	f, err := a.l.fs.Open(seg.name, false)
	if err != nil {
		return fmt.Errorf("open segment %s: %w", seg.name, err)
	}
	defer f.Close()
	if n := brokenHead(f, seg); n > 0 && a.l.has(seg) {
		a.tell()
		a.Damage(Damage{Pos: seg.pos, Bytes: n, File: seg.name})
	}
	for p := seg.pos; p < end; {
		off := seg.first + int64(p-seg.pos)
		var b []byte
		var info frameInfo
		if err = errHead; seg.first > 0 {
			b, info, err = readFrameAt(f, off, a.buf)
			a.buf = b[:0]
		}
		if err == nil && info.pos == p {
			if err := a.frame(info, b[frameHeader:]); err != nil {
				return err
			}
			p += Pos(info.size)
			continue
		}
		if !a.l.has(seg) {
			return nil // freed meanwhile, and its file in use again
		}
		next := end
		if seg.first > 0 {
			next = nextFrame(f, off, p, end)
		}
		if n := lostBytes(f, seg, p, next, end, last); n > 0 {
			a.tell()
			a.found = &Damage{Pos: p, Bytes: n, File: seg.name}
		}
		p = next
	}
	return nil
}

// brokenHead is how many bytes of a segment's header and table frame cannot be
// relied on: none, or all. No message is in them.
func brokenHead(f File, seg segment) int64 {
	if seg.first < segmentHeader+frameHeader || seg.first > maxFrame {
		return segmentHeader
	}
	h := make([]byte, seg.first)
	n, _ := f.ReadAt(h, 0)
	if n < len(h) {
		return seg.first
	}
	head, err := parseHead(h, segmentMagic, seg.pos)
	table, ok := parseFrame(h[segmentHeader:], true)
	if err != nil || head.first != seg.first || !ok || table.pos != seg.pos {
		return seg.first
	}
	return 0
}

// has reports whether seg is still a segment of the log.
func (l *Log) has(seg segment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.findSegmentLocked(seg.pos)
	return i >= 0 && l.segs[i].name == seg.name
}

func (a *auditor) frame(info frameInfo, recs []byte) error {
	if a.found != nil && a.known && info.before > a.count {
		a.found.Messages = info.before - a.count
	}
	a.tell()
	a.count, a.known = info.before, true
	for rest := recs; len(rest) > 0 && a.l.opt.Counted != nil; {
		rec, more, err := NextRecord(rest)
		if err != nil {
			break // Frame says it
		}
		if a.l.opt.Counted(rec) {
			a.count++
		}
		rest = more
	}
	return a.Frame(info.pos, recs)
}

// lostBytes is how many bytes of frames stood between p, where none can be read,
// and next. A segment is cut behind its last frame; where the segment behind it
// was freed, nobody knows where that was but by the length of the file.
func lostBytes(f File, seg segment, p, next, end Pos, last bool) int64 {
	whole := int64(next - p)
	if next < end || last || seg.first == 0 {
		return whole
	}
	size, err := f.Size()
	if err != nil {
		return whole
	}
	have := max(0, size-seg.first-int64(p-seg.pos))
	if have >= whole {
		return whole
	}
	rest := readAll(f, seg.first+int64(p-seg.pos))
	if allZero(rest) || len(rest) >= frameHeader && framePos(rest) < seg.pos {
		return 0 // reserved blocks, or of a former life of the file
	}
	return have
}
