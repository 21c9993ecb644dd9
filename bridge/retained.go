package bridge

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"packetboat/broker/store"
)

// Retained messages are values: the cloud is to have the newest one. They go up as
// they are published, and the present ones once more when something has changed
// that the cloud cannot know: for a rule whose filter or topic is another, for other
// servers, and, when a lane's backlog is done, after messages of it were lost on
// the way. Not at each connection: that would send all of them again for each cut.

// retainedKey tells the broker's record of served rules whether a rule is new.
func (b *Bridge) retainedKey(u *upRule) string {
	servers := slices.Clone(b.cfg.Servers)
	slices.Sort(servers)
	return strings.Join([]string{u.filter, fmt.Sprint(u.remap.template.Pieces()), strings.Join(servers, " ")}, "\x00")
}

// lossKey is the store's key for how much each lane had lost when its retained
// messages went up again.
func (b *Bridge) lossKey() string { return store.Key("retained", b.cfg.Name) }

// reconcile queues the retained messages again of lanes that have lost something
// and have nothing waiting any more. It is called now and then.
func (b *Bridge) reconcile() {
	value, _ := b.store.Get(b.lossKey())
	before := parseLosses(value)
	now := before
	for i, l := range b.Lag() {
		lost := l.Lost[store.Dropped] + l.Lost[store.Damaged] + l.Lost[store.Purged]
		if lost == before[i] || l.Messages > 0 {
			continue
		}
		if err := b.attached.SendRetained(i); err != nil {
			b.log.Warn("retained messages are sent again later", "lane", i, "error", err)
			continue
		}
		now[i] = lost
	}
	if now != before {
		var v []byte
		for _, n := range now {
			v = binary.AppendUvarint(v, n)
		}
		b.store.Set(b.lossKey(), v)
	}
}

func parseLosses(value []byte) (lost [lanes]uint64) {
	for i := range lost {
		n, k := binary.Uvarint(value)
		if k <= 0 {
			return [lanes]uint64{}
		}
		lost[i], value = n, value[k:]
	}
	return lost
}
