package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"packetboat/broker/store/wal"
)

// Record types. FORMAT.md describes each.
const (
	recMessage  = 1
	recProgress = 2
	recForget   = 3
	recSet      = 4
	recDelete   = 5
	recConsumer = 6
	recRemove   = 7
	recRescue   = 8
	recClock    = 9
	recGap      = 10
	recSpan     = 11
	recSegment  = 12
	recOrigin   = 13
	recReceived = 14
	recTable    = 15
	recSkip     = 16
	recState    = 17
	recRestart  = 18

	recImported       = 19
	recImportedRescue = 20
)

const (
	flagQoS      = 0x03
	flagRetain   = 0x04
	flagExpiry   = 0x08
	flagOrigin   = 0x10
	flagProps    = 0x20
	targetRetain = 0x04
	targetSubIDs = 0x08
)

var errRecord = errors.New("malformed record")

// cursor reads a record; the first error sticks.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) uvarint() uint64 {
	v, k := binary.Uvarint(c.b)
	if k <= 0 {
		c.err, c.b = errRecord, nil
		return 0
	}
	c.b = c.b[k:]
	return v
}

func (c *cursor) varint() int64 {
	v, k := binary.Varint(c.b)
	if k <= 0 {
		c.err, c.b = errRecord, nil
		return 0
	}
	c.b = c.b[k:]
	return v
}

func (c *cursor) byte() byte {
	if len(c.b) == 0 {
		c.err = errRecord
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) bytes() []byte { return c.take(c.uvarint()) }

func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.err, c.b = errRecord, nil
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) wall() Wall { return Wall{c.varint(), c.byte() != 0} }

func (c *cursor) stamp() Stamp { return Stamp{uint32(c.uvarint()), c.uvarint()} }

func appendBytes[T []byte | string](dst []byte, v T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
}

func appendUvarints(dst []byte, vs ...uint64) []byte {
	for _, v := range vs {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

// isMessage reports whether records of that type are messages on their way in.
func isMessage(kind byte) bool { return kind == recMessage || kind == recImported }

// isRescue reports whether records of that type are messages once more.
func isRescue(kind byte) bool { return kind == recRescue || kind == recImportedRescue }

// appendMessage: type, flags, targets, then the body; with the time of receipt
// elsewhere behind the flags.
func appendMessage(dst []byte, m *Message, origin uint32, to []Target) []byte {
	if m.Earlier.IsZero() {
		dst = append(dst, recMessage, messageFlags(m, origin))
	} else {
		dst = appendWall(append(dst, recImported, messageFlags(m, origin)), m.Earlier)
	}
	dst = binary.AppendUvarint(dst, uint64(len(to)))
	for i := range to {
		t := &to[i]
		dst = appendUvarints(dst, uint64(t.Consumer.num), t.Consumer.next)
		dst = appendTargetOptions(dst, t.QoS, t.KeepRetain, t.SubscriptionIDs)
	}
	dst = binary.AppendUvarint(dst, m.Received.Up)
	return appendBody(dst, m, origin)
}

func appendWall(dst []byte, w Wall) []byte {
	dst = binary.AppendVarint(dst, w.Micro)
	if w.Trusted {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func messageFlags(m *Message, origin uint32) byte {
	f := m.QoS
	if m.Retain {
		f |= flagRetain
	}
	if m.HasExpiry {
		f |= flagExpiry
	}
	if origin != 0 {
		f |= flagOrigin
	}
	if len(m.Props) > 0 {
		f |= flagProps
	}
	return f
}

func appendTargetOptions(dst []byte, qos byte, retain bool, ids []uint32) []byte {
	o := qos
	if retain {
		o |= targetRetain
	}
	if len(ids) > 0 {
		o |= targetSubIDs
	}
	dst = append(dst, o)
	if len(ids) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(ids)))
		for _, id := range ids {
			dst = binary.AppendUvarint(dst, uint64(id))
		}
	}
	return dst
}

func appendBody(dst []byte, m *Message, origin uint32) []byte {
	if m.HasExpiry {
		dst = binary.AppendUvarint(dst, uint64(m.Expiry))
	}
	if origin != 0 {
		dst = appendUvarints(dst, uint64(origin), uint64(m.PacketID))
	}
	if len(m.Props) > 0 {
		dst = appendBytes(dst, m.Props)
	}
	dst = appendBytes(dst, m.Topic)
	return append(dst, m.Payload...)
}

// messageRecord is a message record being read; slices alias the record.
type messageRecord struct {
	flags    byte
	targets  cursor
	n        uint64 // targets left
	earlier  Wall
	up       uint64
	boot     uint32 // 0: that of the last clock record
	expiry   uint32
	origin   uint32
	packetID uint16
	props    []byte
	topic    []byte
	payload  []byte
}

type targetRecord struct {
	num    uint32
	seq    uint64
	opts   byte
	subIDs []byte // uvarints
}

// next reads the next target.
func (r *messageRecord) next(t *targetRecord) bool {
	if r.n == 0 || r.targets.err != nil {
		return false
	}
	r.n--
	t.num, t.seq = uint32(r.targets.uvarint()), r.targets.uvarint()
	t.opts, t.subIDs = r.targets.byte(), nil
	if t.opts&targetSubIDs != 0 {
		k := r.targets.uvarint()
		rest := r.targets.b
		for ; k > 0 && r.targets.err == nil; k-- {
			r.targets.uvarint()
		}
		t.subIDs = rest[:len(rest)-len(r.targets.b)]
	}
	return r.targets.err == nil
}

// parseMessage reads a message or rescue record.
func parseMessage(rec []byte, r *messageRecord) error {
	*r = messageRecord{}
	c := cursor{b: rec}
	kind := c.byte()
	r.flags = c.byte()
	if kind == recImported || kind == recImportedRescue {
		r.earlier = c.wall()
	}
	if isRescue(kind) {
		r.boot = uint32(c.uvarint())
	}
	n := c.uvarint()
	r.targets, r.n = cursor{b: c.b}, n
	skip := messageRecord{targets: c, n: n}
	var t targetRecord
	for skip.next(&t) {
	}
	c = skip.targets
	r.up = c.uvarint()
	if r.flags&flagExpiry != 0 {
		r.expiry = uint32(c.uvarint())
	}
	if r.flags&flagOrigin != 0 {
		r.origin, r.packetID = uint32(c.uvarint()), uint16(c.uvarint())
	}
	if r.flags&flagProps != 0 {
		r.props = c.bytes()
	}
	r.topic = c.bytes()
	r.payload = c.b
	if c.err != nil || skip.n > 0 {
		return fmt.Errorf("message record: %w", errRecord)
	}
	return nil
}

func appendSet(dst []byte, key string, value []byte) []byte {
	return append(appendBytes(append(dst, recSet), key), value...)
}

func appendDelete(dst []byte, key string) []byte { return append(append(dst, recDelete), key...) }

func appendForget(dst []byte, origin uint32, id uint16) []byte {
	return appendUvarints(append(dst, recForget), uint64(origin), uint64(id))
}

func appendOrigin(dst []byte, num uint32, name string) []byte {
	return append(appendUvarints(append(dst, recOrigin), uint64(num)), name...)
}

func appendReceived(dst []byte, origin uint32, id uint16) []byte {
	return appendUvarints(append(dst, recReceived), uint64(origin), uint64(id))
}

func appendConsumer(dst []byte, c *Consumer) []byte {
	dst = appendUvarints(append(dst, recConsumer), uint64(c.num), uint64(c.ids.First), uint64(c.ids.N))
	return append(dst, c.name...)
}

func appendRemove(dst []byte, num uint32) []byte {
	return appendUvarints(append(dst, recRemove), uint64(num))
}

type clockRecord struct {
	boot   uint32
	id     [16]byte
	up     uint64 // µs
	wall   int64  // µs since 1970
	synced bool
}

// appendClock: since is where the boot's records begin; 0 = with this record.
func appendClock(dst []byte, r clockRecord, since wal.Pos) []byte {
	dst = append(appendUvarints(append(dst, recClock), uint64(r.boot)), r.id[:]...)
	dst = binary.AppendVarint(binary.AppendUvarint(dst, r.up), r.wall)
	synced := byte(0)
	if r.synced {
		synced = 1
	}
	return binary.AppendUvarint(append(dst, synced), uint64(since))
}

func appendSegmentRecord(dst []byte, p wal.Pos) []byte {
	return appendUvarints(append(dst, recSegment), uint64(p))
}

func appendTable(dst []byte, c *Consumer) []byte {
	next, floor := c.next, c.floor
	if p := &c.pending; p.Count > 0 { // ended, and the marker that says so is still to come
		floor = min(floor, p.FirstSeq)
		if p.LastSeq+1 == next {
			next = p.FirstSeq
		}
	}
	dst = appendUvarints(append(dst, recTable), uint64(c.num), uint64(c.ids.First), uint64(c.ids.N), next, floor)
	return append(dst, c.name...)
}

func appendSpan(dst []byte, num uint32, sp *span) []byte {
	flags := uint64(0)
	if sp.rescued {
		flags = 1
	}
	return appendUvarints(append(dst, recSpan), uint64(num), uint64(sp.pos), sp.first, uint64(sp.count), sp.bytes,
		uint64(sp.at.Boot), sp.at.Up, flags)
}

func appendSkip(dst []byte, num uint32, r skipped) []byte {
	dst = appendUvarints(append(dst, recSkip), uint64(num), r.first, r.end)
	if r.abandoned {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// appendProgress: consumer, floor, then the finished and the released bits
// above the floor, each as a count of bytes and the bytes.
func appendProgress(dst []byte, c *Consumer) []byte {
	dst = appendUvarints(append(dst, recProgress), uint64(c.num), c.floor)
	dst = c.done.appendFrom(dst, c.floor)
	return c.released.appendFrom(dst, c.floor)
}
