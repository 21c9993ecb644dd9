package store

import (
	"encoding/binary"
	"errors"
	"io"
	"sort"

	"packetboat/broker/store/wal"
)

// rescueLocked appends the unfinished messages [first, end) of the span sp again,
// each for this consumer alone and under its old seq, because their segment has
// to go. What is damaged is given up; after an error of the file system all that
// was not rescued is still where it was.
func (c *Consumer) rescueLocked(sp span, first, end uint64) error {
	wanted := map[uint64]bool{}
	for seq := first; seq < end; seq++ {
		// A released one too: it goes again when the peer forgets the session.
		if r, skip := c.skipAt(seq); !c.isDoneLocked(seq) && !(skip && r.abandoned) {
			wanted[seq] = true
		}
	}
	var buf []byte
	for p := sp.pos; len(wanted) > 0; {
		recs, next, err := c.s.wal.Read(p, buf)
		if cap(recs) > cap(buf) {
			buf = recs
		}
		var bad *wal.DamagedError
		if errors.As(err, &bad) && bad.Next > p {
			p = bad.Next
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		c.rescueFrameLocked(recs, p+frameHead, sp.rescued, wanted)
		p = next
	}
	for seq := first; seq < end; seq++ {
		if wanted[seq] {
			c.giveUpLocked(sentMessage{seq: seq, at: c.receivedLocked(seq)}, Damaged, true)
		}
	}
	return nil
}

func (c *Consumer) rescueFrameLocked(recs []byte, at wal.Pos, rescued bool, wanted map[uint64]bool) {
	for len(recs) > 0 {
		rec, rest, err := wal.NextRecord(recs)
		if err != nil {
			return
		}
		if seq, ok := c.seqIn(rec, rescued); ok && wanted[seq] {
			delete(wanted, seq)
			c.appendRescueLocked(rec, at, seq)
		}
		at += wal.Pos(len(recs) - len(rest))
		recs = rest
	}
}

// appendRescueLocked stages the record at p again, for c alone.
func (c *Consumer) appendRescueLocked(rec []byte, p wal.Pos, seq uint64) {
	var m messageRecord
	if parseMessage(rec, &m) != nil {
		return
	}
	var t targetRecord
	for m.next(&t) && (t.num != c.num || t.seq != seq) {
	}
	at := Stamp{m.boot, m.up}
	if at.Boot == 0 {
		at.Boot = c.s.clocks.at(p)
	}
	out := []byte{recRescue, m.flags &^ flagOrigin}
	if !m.earlier.IsZero() {
		out = appendWall([]byte{recImportedRescue, m.flags &^ flagOrigin}, m.earlier)
	}
	out = binary.AppendUvarint(out, uint64(at.Boot))
	out = appendUvarints(out, 1, uint64(c.num), seq)
	out = append(out, t.opts)
	if t.opts&targetSubIDs != 0 {
		n := 0
		for cur := (cursor{b: t.subIDs}); len(cur.b) > 0; n++ {
			cur.uvarint()
		}
		out = append(binary.AppendUvarint(out, uint64(n)), t.subIDs...)
	}
	out = binary.AppendUvarint(out, at.Up)
	if m.flags&flagExpiry != 0 {
		out = binary.AppendUvarint(out, uint64(m.expiry))
	}
	if m.flags&flagProps != 0 {
		out = appendBytes(out, m.props)
	}
	out = append(appendBytes(out, m.topic), m.payload...)
	r := c.s.appendLocked(out)
	c.s.unpinned = max(c.s.unpinned, wal.Pos(r.pos))
	c.moveLocked(seq, c.s.wal.OpenFrame(), len(out), at)
	c.lastPos = max(c.lastPos, wal.Pos(r.pos))
	c.s.wakeLocked(c, wal.Pos(r.pos))
	if c.ring != nil {
		c.ring[seq%ringSize] = ringEntry{seq, wal.Pos(r.pos)}
	}
}

// moveLocked takes note that the message of seq stands in the frame at frame
// now: it was rescued from a segment that had to go.
func (c *Consumer) moveLocked(seq uint64, frame wal.Pos, size int, at Stamp) {
	i := sort.Search(len(c.spans), func(i int) bool { return c.spans[i].first > seq }) - 1
	if i >= 0 && seq < c.spans[i].end() {
		i = c.cutSpanLocked(i, seq)
	} else {
		i++
	}
	// The spans before i end at or before seq, those from i on begin behind it.
	if i > 0 {
		prev := &c.spans[i-1]
		if prev.rescued && prev.end() == seq && prev.pos >= c.s.segment && frame-prev.pos <= spanGap {
			prev.count++
			prev.bytes += uint64(size)
			return
		}
	}
	c.insertSpanLocked(i, span{pos: frame, first: seq, count: 1, bytes: uint64(size), at: at, rescued: true})
}

// cutSpanLocked takes seq out of span i and returns where its own span goes.
func (c *Consumer) cutSpanLocked(i int, seq uint64) int {
	old := c.spans[i]
	mean := old.bytes / uint64(old.count)
	before, after := old, old
	before.count = uint32(seq - old.first)
	before.bytes = mean * uint64(before.count)
	after.first, after.count = seq+1, uint32(old.end()-seq-1)
	after.bytes = mean * uint64(after.count)
	c.spans = append(c.spans[:i], c.spans[i+1:]...)
	if after.count > 0 {
		c.insertSpanLocked(i, after)
	}
	if before.count > 0 {
		c.insertSpanLocked(i, before)
		i++
	}
	return i
}

func (c *Consumer) insertSpanLocked(i int, sp span) {
	c.spans = append(c.spans, span{})
	copy(c.spans[i+1:], c.spans[i:])
	c.spans[i] = sp
}
