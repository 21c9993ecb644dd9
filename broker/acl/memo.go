package acl

// Memo remembers what filters have said about the last few topics: a device
// publishes to the same ones for ever. The zero Memo is empty and ready. It is
// bounded, belongs to one goroutine or lock, and has to be emptied (*m = Memo{}) for
// other filters.
type Memo struct {
	known  [memoTopics]known
	last   int // found last
	oldest int
}

type known struct {
	topic   []byte // empty: none
	allowed bool
}

const (
	memoTopics = 8
	// memoBytes is the longest topic that is remembered.
	memoBytes = 256
)

// Allows is list.Match. It allocates nothing for a topic that is known.
func (m *Memo) Allows(list Filters, name string) bool {
	if k := &m.known[m.last]; string(k.topic) == name {
		return k.allowed
	}
	for i := range m.known {
		if k := &m.known[i]; string(k.topic) == name {
			m.last = i
			return k.allowed
		}
	}
	allowed := list.Match(name)
	if len(name) <= memoBytes {
		k := &m.known[m.oldest]
		k.topic, k.allowed = append(k.topic[:0], name...), allowed
		m.last = m.oldest
		m.oldest = (m.oldest + 1) % memoTopics
	}
	return allowed
}
