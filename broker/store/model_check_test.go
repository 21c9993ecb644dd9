package store

import (
	"context"
	"encoding/binary"
)

// What the model compares: the promises of model_test.go against the store.

// verify compares the ledgers with the log that is on the disk, in a running
// store after a commit.
func (m *model) verify(running bool) {
	a := m.s.beginAudit()
	if running {
		if m.commit(); m.dead || m.s.wal.Durable() < a.until {
			return
		}
	}
	v, err := a.run(context.Background(), nil)
	if err != nil {
		m.fail("verify: %v", err)
	}
	for i := range v.Ledgers {
		if l := &v.Ledgers[i]; !l.Agrees() {
			m.fail("%s: the log does not agree with the ledger: %+v; the log gives %+v", l.Consumer, *l, l.Counts)
		}
	}
}

// checkLag compares the ledger's counters with a recount from the state.
func (m *model) checkLag(c *Consumer) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	n := uint64(0)
	for seq := c.floor; seq < c.next; seq++ {
		if _, skip := c.skipAt(seq); !skip && !c.isDoneLocked(seq) {
			n++
		}
	}
	if r := c.recountLocked(); r != n || c.s.ledgerErrors > 0 {
		m.fail("%s: recounted %d one by one, %d in ranges, %d ledgers were wrong", c.name, n, r, c.s.ledgerErrors)
	}
	if n != c.queued {
		m.fail("%s: ledger says %d queued, a recount %d", c.name, c.queued, n)
	}
}

func (m *model) checkKV() {
	for k, states := range m.kv {
		got, _ := m.s.Get(k)
		ok := false
		// The last durable state or any later one.
		for i := len(states) - 1; i >= 0; i-- {
			ok = ok || string(got) == states[i].value
			if states[i].r.IsZero() {
				break
			}
		}
		if !ok {
			m.fail("key %q is %q, which is older than what was durable: %v", k, got, states)
		}
		m.kv[k] = []kvState{{value: string(got)}}
	}
}

func (m *model) checkIDs() {
	for id, st := range m.ids {
		_, held := m.s.Received("session/p", id)
		if st.stable && held != st.held {
			m.fail("id %d: held %v after the crash, promised %v", id, held, st.held)
		}
		m.ids[id] = idState{held: held, stable: true}
	}
}

// noteDrops calls f and notes which messages it dropped.
func (m *model) noteDrops(f func()) {
	done := map[*sent]bool{}
	each := func(g func(c *Consumer, x *sent)) {
		m.s.mu.Lock()
		defer m.s.mu.Unlock()
		for _, name := range m.names {
			for _, x := range m.list[name] {
				g(m.s.byName[name], x)
			}
		}
	}
	each(func(c *Consumer, x *sent) { done[x] = c.isDoneLocked(x.place) })
	f()
	each(func(c *Consumer, x *sent) {
		if done[x] || !c.isDoneLocked(x.place) || x.finished {
			return
		}
		if x.place < c.cursor && x.seen {
			m.fail("%s: message %d is in flight and was dropped", c.name, x.n)
		}
		m.logf("%s: %d dropped", c.name, x.n)
		x.dropped = true
	})
}

func (m *model) find(name string, n uint64) *sent {
	for _, x := range m.list[name] {
		if x.n == n {
			return x
		}
	}
	return nil
}

func (m *model) check(name string, d *Delivery) *sent {
	if d.Released {
		for _, x := range m.list[name] {
			if x.seen && x.seq == d.Seq {
				if !x.released && !x.maybeRel && !x.finished {
					m.fail("%s: seq %d comes released, nobody released it", name, d.Seq)
				}
				return x
			}
		}
		return nil // skipped after a torn tail
	}
	n := binary.BigEndian.Uint64(d.Payload)
	x := m.find(name, n)
	if x == nil {
		m.fail("%s: phantom message %d", name, n)
	}
	m.logf("%s: deliver %d as seq %d", name, n, d.Seq)
	if x.seen && x.seq != d.Seq {
		m.fail("%s: message %d had seq %d, now %d", name, n, x.seq, d.Seq)
	}
	if x.relDur {
		m.fail("%s: message %d was released durably and is published again", name, n)
	}
	if x.gone {
		m.fail("%s: message %d was given up durably and is published again", name, n)
	}
	if !m.s.IsDurable(x.receipt) && !x.durable {
		m.fail("%s: message %d is delivered before it is durable", name, n)
	}
	for _, y := range m.list[name] {
		if y == x {
			break
		}
		if !y.seen && y.durable && !y.finished && !y.dropped {
			m.fail("%s: message %d overtakes %d", name, n, y.n)
		}
	}
	x.seen, x.seq = true, d.Seq
	return x
}

func (m *model) crash() {
	durable := m.s.wal.Durable()
	m.logf("crash, durable %x", durable)
	is := func(r Receipt) bool { return r.pos < uint64(durable) }
	for name, list := range m.list {
		kept := list[:0]
		for _, x := range list {
			x.durable = x.durable || is(x.receipt)
			x.relDur = x.relDur || x.released && is(x.relRcpt)
			x.gone = x.gone || !x.gaveUp.IsZero() && is(x.gaveUp)
			x.receipt, x.gaveUp = Receipt{}, Receipt{}
			if x.released && !x.relDur {
				x.released, x.maybeRel = false, true
			}
			kept = append(kept, x)
		}
		m.list[name] = kept
	}
	for _, states := range m.kv {
		for i := range states {
			if is(states[i].r) {
				states[i].r = Receipt{}
			}
		}
	}
	for id, st := range m.ids {
		st.stable = st.stable || is(st.r)
		m.ids[id] = st
	}
	m.disk.Crash(m.rng)
	if m.rng.IntN(3) == 0 {
		m.clock.id++
		m.clock.up = 0
	}
	// What was not durable may be on the disk or not; if it turns up it is no
	// phantom, and it cannot be asked for.
	for _, list := range m.list {
		for _, x := range list {
			if !x.durable {
				x.durable, x.finished = true, true
			}
		}
	}
}

// drain takes everything and checks that no promise is open.
func (m *model) drain() {
	m.commit()
	for _, name := range m.names {
		c := m.s.Lookup(name)
		got := map[uint64]bool{}
		c.Rewind()
		for {
			var d Delivery
			if !c.TryNext(&d) {
				m.commit()
				if !c.TryNext(&d) {
					break
				}
			}
			if x := m.check(name, &d); x != nil {
				got[x.n] = true
			}
			c.Done(d.Seq)
		}
		for _, x := range m.list[name] {
			if x.durable && !x.finished && !x.released && !x.maybeRel && !x.dropped && !got[x.n] {
				m.fail("%s: message %d was acknowledged and is lost", name, x.n)
			}
		}
		m.checkLag(c)
		if l := c.Lag(); l.Messages != 0 {
			m.fail("%s: drained, but %d are queued", name, l.Messages)
		}
	}
}
