package demo

import (
	"time"

	"packetboat/cmd/packetboat/sim"
)

// Around the kill nobody can say of a line on a serial port whether the
// gateway had it: what was written this long before may not have been on disk,
// and after the gateway listens again its port may need this long to be open.
const (
	doubtBefore = time.Second
	doubtAfter  = 2 * time.Second
)

// report is the count of a round.
type report struct {
	rows    []row
	strange uint64 // arrived, never sent
}

type row struct {
	name, kind string
	silent     bool
	once       bool
	sim.Counts
	excused uint64 // of Missing: lines without an ack, written around the kill
	around  uint64 // all lines written then
	which   []uint64
}

// count closes the accounts of the round in which the gateway was killed, and
// listened again.
func (w *world) count(killed, back time.Time) report {
	var r report
	for _, s := range w.tally.Sources() {
		x := row{name: s.Name, kind: s.Kind, silent: s.Silent, once: s.Once, which: s.MissingNumbers(10)}
		if s.Silent {
			x.around, x.excused = s.MissingWithin(killed.Add(-doubtBefore), back.Add(doubtAfter))
		}
		x.Counts = s.Settle()
		r.rows = append(r.rows, x)
	}
	r.strange = w.tally.Strange()
	return r
}

// lost are the messages that should be in the cloud and are not.
func (x *row) lost() uint64 { return x.Missing - x.excused }

// broken reports whether a promise was.
func (x *row) broken() bool {
	return x.lost() > 0 || x.Disordered > 0 || x.once && x.Duplicates > 0
}

func (r report) broken() bool {
	for i := range r.rows {
		if r.rows[i].broken() {
			return true
		}
	}
	return r.strange > 0
}
