package bench

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"
)

// MinSize is that of a payload: in it is which run and client it is of, its number,
// and when it was due.
const MinSize = 24

// head is what a payload begins with.
type head struct {
	run, client uint32
	n           uint64
	at          int64 // nanoseconds since the run began
}

func (h *head) put(b []byte) {
	binary.BigEndian.PutUint32(b, h.run)
	binary.BigEndian.PutUint32(b[4:], h.client)
	binary.BigEndian.PutUint64(b[8:], h.n)
	binary.BigEndian.PutUint64(b[16:], uint64(h.at))
}

// parseHead reads it; false: that is not of such a run.
func parseHead(b []byte, run uint32) (h head, ok bool) {
	if len(b) < MinSize || binary.BigEndian.Uint32(b) != run {
		return h, false
	}
	h = head{run, binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:]), int64(binary.BigEndian.Uint64(b[16:]))}
	return h, true
}

// A Topic is a topic with {client}, which is a number from 1 on, and {n}, that of the
// message.
type Topic string

// Of is the topic of a message.
func (t Topic) Of(client int, n uint64) string {
	return strings.NewReplacer("{client}", strconv.Itoa(client), "{n}", strconv.FormatUint(n, 10)).Replace(string(t))
}

// Fixed reports whether all messages of a client have the same.
func (t Topic) Fixed() bool { return !strings.Contains(string(t), "{n}") }

// Filter matches all of them.
func (t Topic) Filter() string {
	levels := strings.Split(string(t), "/")
	for i, l := range levels {
		if strings.Contains(l, "{client}") || strings.Contains(l, "{n}") {
			levels[i] = "+"
		}
	}
	return strings.Join(levels, "/")
}

// clock is the time since a run began.
type clock struct{ began time.Time }

func (c clock) now() int64 { return int64(time.Since(c.began)) }
