package broker

import "sync/atomic"

// group is a shared subscription $share/GROUP/FILTER: each message goes to one
// of its members, chosen when it is published: in turn among those that are
// connected, else among those with a durable session.
type group struct {
	name    string // the whole filter
	rest    string // FILTER
	members []*sub // guarded by Broker.mu
	next    atomic.Uint32
}

// pick returns the member whose turn it is, or nil.
func (g *group) pick() *sub {
	n := len(g.members)
	first := int(g.next.Add(1) % uint32(n))
	var durable *sub
	for i := range n {
		m := g.members[(first+i)%n]
		if m.s.conn.Load() != nil {
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
		g = &group{name: sb.filter, rest: rest}
		b.groups[sb.filter] = g
		b.insertLocked(rest, g.name, &sub{filter: g.name, group: g})
	}
	sb.group = g
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
		b.removeLocked(g.rest, g.name)
	}
}
