package store

import (
	"time"

	"packetboat/broker/store/wal"
)

// Damage is a place of the log that cannot be read, and what is known about it.
type Damage struct {
	wal.Damage

	// The last message before it that is intact: its topic and when it was
	// received. Empty and zero when there is none since the snapshot.
	LastTopic    string
	LastReceived Stamp
}

// lastMessage follows the messages of the log, for whoever comes to a place that
// is damaged.
type lastMessage struct {
	pos   wal.Pos // of its record; 0 = none yet
	topic []byte
	boot  uint32 // 0: that of its place in the log
	up    uint64
}

func (l *lastMessage) note(p wal.Pos, m *messageRecord) {
	l.pos, l.topic, l.boot, l.up = p, append(l.topic[:0], m.topic...), m.boot, m.up
}

// damage is d with what was before it.
func (l *lastMessage) damage(d wal.Damage, s *Store) Damage {
	out := Damage{Damage: d}
	if l.pos == 0 {
		return out
	}
	boot := l.boot
	if boot == 0 {
		boot = s.clocks.at(l.pos)
	}
	out.LastTopic, out.LastReceived = string(l.topic), Stamp{boot, l.up}
	return out
}

// tellDamage tells the operator what recovery found.
func (s *Store) tellDamage() {
	for i := range s.damage {
		d := &s.damage[i]
		var more []any
		if d.Messages > 0 {
			more = append(more, "messages", d.Messages)
		}
		if d.LastReceived != (Stamp{}) {
			more = append(more, "last_message_before", d.LastTopic)
			if at, known := s.clocks.wall(d.LastReceived); known {
				more = append(more, "received", at.UTC().Format(time.RFC3339))
			} else if !at.IsZero() {
				more = append(more, "received_about", at.UTC().Format(time.RFC3339))
			}
		}
		d.Tell(s.log, more...)
	}
}
