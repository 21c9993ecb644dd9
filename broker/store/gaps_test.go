package store

import (
	"testing"

	"packetboat/broker/store/wal"
)

// A full queue drops from several consumers in turn: each has one marker that
// grows, or the thousand that are kept would soon tell of the last minutes only.
func TestGapsOfSeveralConsumersMerge(t *testing.T) {
	b := newBox(t).open()
	for i := range uint64(5000) {
		for _, name := range []string{"session/a", "session/b", "bridge/cloud/0"} {
			b.s.noteGapLocked(Gap{Consumer: name, Reason: Dropped, Count: 10, Bytes: 1000, FirstSeq: 10 * i, LastSeq: 10*i + 9}, wal.Pos(i+1))
		}
	}
	b.s.noteGapLocked(Gap{Consumer: "session/a", Reason: Expired, Count: 1, FirstSeq: 50_000, LastSeq: 50_000}, 6000)
	gaps := b.s.Gaps()
	if len(gaps) != 4 {
		t.Fatalf("%d markers, want one of each consumer and reason", len(gaps))
	}
	for _, g := range gaps[:3] {
		if g.Count != 50_000 || g.FirstSeq != 0 || g.LastSeq != 49_999 || g.Bytes != 5_000_000 {
			t.Errorf("%s: %+v", g.Consumer, g)
		}
	}
}
