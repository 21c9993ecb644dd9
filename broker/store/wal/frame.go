package wal

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
)

// Pos is a position in the log: a byte offset over all frames of all segments
// there ever were. The first frame stands at FirstPos.
type Pos uint64

// FirstPos is where an empty log begins; 0 is no position.
const FirstPos Pos = 1

// A frame, one commit:
//
//	0   u32  length of the records; the top bit marks a segment's table frame
//	4   u32  CRC-32C of everything after it
//	8   u64  own position
//	16  u64  messages in the log before this frame
//	24       records, each: uvarint length, bytes
const (
	frameHeader = 24
	tableFlag   = 1 << 31
	maxFrame    = 1 << 28
)

// A segment file:
//
//	0   8    magic
//	8   u16  format version
//	10  u16  flags: 1 = the table was taken later than POS (a frame re-homed after a write error)
//	12  u32  offset of the first frame = length of header and table frame
//	16  u64  POS, position of the first frame
//	24  u32  zero
//	28  u32  CRC-32C of the 28 bytes before
//	32       table frame, then frames; the frame at position p is at offset p - POS + offset of the first
const (
	segmentHeader = 32
	segmentMagic  = "PKBTLOG\n"
	snapMagic     = "PKBTSNP\n"

	// FormatVersion is what this program writes and the newest it reads.
	FormatVersion = 1

	flagLateTable = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// finishFrame fills the header of a frame whose records stand behind it.
func finishFrame(b []byte, pos Pos, before uint64, table bool) {
	n := uint32(len(b) - frameHeader)
	if table {
		n |= tableFlag
	}
	binary.LittleEndian.PutUint32(b[0:], n)
	binary.LittleEndian.PutUint64(b[8:], uint64(pos))
	binary.LittleEndian.PutUint64(b[16:], before)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
}

type frameInfo struct {
	size   int // of the whole frame
	before uint64
	pos    Pos
}

// parseFrame checks the frame at the start of b. Bytes behind it are ignored.
func parseFrame(b []byte, table bool) (frameInfo, bool) {
	var f frameInfo
	if len(b) < frameHeader {
		return f, false
	}
	raw := binary.LittleEndian.Uint32(b)
	n := int(raw &^ tableFlag)
	if (raw&tableFlag != 0) != table || n > maxFrame || len(b)-frameHeader < n {
		return f, false
	}
	f.size = frameHeader + n
	if binary.LittleEndian.Uint32(b[4:]) != crc32.Checksum(b[8:f.size], castagnoli) {
		return f, false
	}
	f.pos = Pos(binary.LittleEndian.Uint64(b[8:]))
	f.before = binary.LittleEndian.Uint64(b[16:])
	return f, true
}

func framePos(b []byte) Pos { return Pos(binary.LittleEndian.Uint64(b[8:])) }

// brokenFrame is how many bytes of b belong to a frame that was begun at pos and
// cannot be read; 0 if none was. It has its position in place, unlike blocks that
// were only reserved and frames of a former life of the file; or all else of it is
// well and only the position is not.
func brokenFrame(b []byte, pos Pos) int64 {
	if len(b) < frameHeader-8 {
		return 0
	}
	n := min(int64(len(b)), frameHeader+int64(binary.LittleEndian.Uint32(b)&^tableFlag))
	if framePos(b) == pos {
		return n
	}
	mended := slices.Clone(b[:n])
	binary.LittleEndian.PutUint64(mended[8:], uint64(pos))
	if _, ok := parseFrame(mended, false); ok {
		return n
	}
	return 0
}

// begunFrame returns the offset of the first frame in b, whose own position is
// pos, that was begun behind its start, broken or not; 0 if there is none. A frame
// is begun only when all before it are on the disk, and none is shorter than its
// header: there, torn bytes could look like one.
func begunFrame(b []byte, pos Pos) int {
	for o := frameHeader; o+frameHeader-8 <= len(b); o++ {
		if framePos(b[o:]) == pos+Pos(o) {
			return o
		}
	}
	return 0
}

// findFrame returns the offset of the first valid frame in b at or after off
// whose position lies in [lo, hi). A frame says its own position under its CRC,
// so neither zeros nor frames of a former life of the file are taken for one.
func findFrame(b []byte, off int, lo, hi Pos) (int, frameInfo, bool) {
	for ; off+frameHeader <= len(b); off++ {
		if p := framePos(b[off:]); p < lo || p >= hi {
			continue
		}
		if f, ok := parseFrame(b[off:], false); ok {
			return off, f, true
		}
	}
	return 0, frameInfo{}, false
}

// NextRecord cuts the first record off recs, the record part of a frame. The
// record aliases recs.
func NextRecord(recs []byte) (rec, rest []byte, err error) {
	n, k := binary.Uvarint(recs)
	if k <= 0 || n > uint64(len(recs)-k) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	return recs[k : k+int(n)], recs[k+int(n):], nil
}

func recordSize(n int) int {
	k := 1
	for v := n; v >= 0x80; v >>= 7 {
		k++
	}
	return k + n
}

func appendRecord(dst, rec []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(rec))), rec...)
}

// fileHead makes the header of a segment or a snapshot.
func fileHead(magic string, pos Pos, late bool, first int) []byte {
	h := make([]byte, segmentHeader)
	copy(h, magic)
	binary.LittleEndian.PutUint16(h[8:], FormatVersion)
	if late {
		binary.LittleEndian.PutUint16(h[10:], flagLateTable)
	}
	binary.LittleEndian.PutUint32(h[12:], uint32(first))
	binary.LittleEndian.PutUint64(h[16:], uint64(pos))
	binary.LittleEndian.PutUint32(h[28:], crc32.Checksum(h[:28], castagnoli))
	return h
}

type headInfo struct {
	first int64
	late  bool
}

func parseHead(h []byte, magic string, pos Pos) (headInfo, error) {
	var i headInfo
	if len(h) < segmentHeader || string(h[:8]) != magic ||
		binary.LittleEndian.Uint32(h[28:]) != crc32.Checksum(h[:28], castagnoli) ||
		Pos(binary.LittleEndian.Uint64(h[16:])) != pos {
		return i, errHead
	}
	if v := binary.LittleEndian.Uint16(h[8:]); v > FormatVersion {
		return i, &NewerError{Version: int(v)}
	}
	i.first = int64(binary.LittleEndian.Uint32(h[12:]))
	i.late = binary.LittleEndian.Uint16(h[10:])&flagLateTable != 0
	return i, nil
}
