package qos_test

import "testing"

// A cloud that forgets the session, or another cloud after a failover, must get
// everything that it has not confirmed for good: many servers hand a QoS 2 message
// on only when PUBREL comes, and what they held half open goes with the session.
// What was handed on and not confirmed may arrive twice, a window at most each
// time.

// late is a cloud that hands on with PUBREL.
type late struct {
	held    map[uint16]int // by identifier
	repeats int            // that forgotten sessions excuse
}

func (l *late) handOn(p *path, id uint16) {
	if n, ok := l.held[id]; ok {
		p.logf("cloud hands %d on", n)
		p.arrived = append(p.arrived, n)
		delete(l.held, id)
	}
}

// again reports whether there are still no more repeats than windows were open.
func (l *late) again(p *path) bool {
	seen, repeats := map[int]bool{}, 0
	for _, n := range p.arrived {
		if seen[n] {
			repeats++
		}
		seen[n] = true
	}
	return repeats <= l.repeats
}

// forget has the cloud lose the session; the bridge finds out, and its record is
// durable before it sends anything (rules 3 and 4 of bridge/upstream.go).
func (p *path) forget() {
	p.forgets--
	p.logf("the cloud FORGETS")
	clear(p.cloudIDs)
	if p.late != nil {
		clear(p.late.held)
		p.late.repeats += 2 // the window
	}
	p.toCloud, p.fromCloud, p.releases = nil, nil, nil
	p.w.Restart()
	p.commit()
}

func TestACloudThatForgetsGetsWhatItHeldHalfOpen(t *testing.T) {
	for seed := range uint64(*walks) {
		p := newPath(seed, "", false)
		p.forgets, p.late = 2, &late{held: map[uint16]int{}}
		if bad := p.run(); bad != "" {
			for _, l := range p.trace {
				t.Log(l)
			}
			t.Fatalf("seed %d: %s, arrived %v", seed, bad, p.arrived)
		}
	}
}
