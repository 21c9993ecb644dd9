package broker

import (
	"hash/fnv"
	"sync/atomic"
)

// group is a shared subscription $share/GROUP/FILTER: each message goes to one
// of its members, chosen when it is published: in turn among those that are
// connected, else among those with a durable session. What a member has not
// finished when its session ends goes to another one; see handover.go.
type group struct {
	name    string // the whole filter
	rest    string // FILTER
	mark    uint32
	members []*sub // guarded by Broker.mu
	next    atomic.Uint32
}

// shareMark is the least number that marks a message of a durable session as one
// that came by a shared subscription. It stands behind the subscription
// identifiers, which are smaller (section 3.3.2.3.8), in the record of the
// message and nowhere else: who shared it is known as long as the message is.
const shareMark = 1 << 28

// markOf is the same in every life. Two filters may have the same one; a
// message of the other has another topic.
func markOf(filter string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(filter))
	return shareMark | h.Sum32()&(shareMark-1)
}

// cutMark takes the mark off the subscription identifiers of a message; 0: it
// has none.
func cutMark(ids []uint32) (_ []uint32, mark uint32) {
	if n := len(ids); n > 0 && ids[n-1] >= shareMark {
		return ids[:n-1], ids[n-1]
	}
	return ids, 0
}

// pick returns the member whose turn it is, or nil.
func (g *group) pick() *sub {
	n := len(g.members)
	first := int(g.next.Add(1) % uint32(n))
	var durable *sub
	for i := range n {
		m := g.members[(first+i)%n]
		if m.s.conn.Load() != nil {
			if i > 0 {
				g.next.Add(uint32(i)) // or those behind one that is offline had its turns too
			}
			return m
		}
		if durable == nil && m.s.consumer != nil {
			durable = m
		}
	}
	return durable
}

// joinLocked makes sb a member of its group, in place of what it was.
func (b *Broker) joinLocked(sb *sub, rest string) {
	g := b.groups[sb.filter]
	if g == nil {
		g = &group{name: sb.filter, rest: rest, mark: markOf(sb.filter)}
		b.groups[sb.filter] = g
		b.marks[g.mark] = g
		b.insertLocked(rest, g.name, &sub{filter: g.name, group: g})
	}
	sb.group = g
	sb.s.shares = true
	for i, m := range g.members {
		if m.s == sb.s {
			g.members[i] = sb
			return
		}
	}
	g.members = append(g.members, sb)
}

func (b *Broker) leaveLocked(sb *sub) {
	g := sb.group
	for i, m := range g.members {
		if m == sb {
			g.members = append(g.members[:i], g.members[i+1:]...)
			break
		}
	}
	if len(g.members) == 0 {
		delete(b.groups, g.name)
		if b.marks[g.mark] == g {
			delete(b.marks, g.mark)
		}
		b.removeLocked(g.rest, g.name)
	}
}
