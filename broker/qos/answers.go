package qos

import "packetboat/broker/store"

// Answer is a packet that a peer is owed.
type Answer struct {
	Type byte // the packet type in the high four bits of its first byte, or 0 for Raw
	Code byte // reason code
	ID   uint16
	Raw  []byte // a whole packet, for CONNACK, SUBACK and the like
}

// Answers is the FIFO of one connection's answers. An answer leaves when what
// it promises is on disk, and never before an older one: MQTT asks for
// acknowledgements in order. The zero value is empty and ready.
//
// It is bounded by the connection's receive maximum, which limits how many
// answers a peer can be owed. Not safe for concurrent use.
type Answers struct {
	q    []waiting
	head int
}

type waiting struct {
	r store.Receipt
	a Answer
}

// Push adds an answer that leaves when r is durable.
func (f *Answers) Push(r store.Receipt, a Answer) {
	if f.head > 0 && len(f.q) == cap(f.q) {
		n := copy(f.q, f.q[f.head:])
		clear(f.q[n:])
		f.q, f.head = f.q[:n], 0
	}
	f.q = append(f.q, waiting{r, a})
}

// Pop takes the oldest answer if durable says that its time has come.
func (f *Answers) Pop(durable func(store.Receipt) bool) (Answer, bool) {
	if f.head == len(f.q) || !durable(f.q[f.head].r) {
		return Answer{}, false
	}
	a := f.q[f.head].a
	f.q[f.head] = waiting{}
	if f.head++; f.head == len(f.q) {
		f.q, f.head = f.q[:0], 0
	}
	return a, true
}

// Waiting returns what the oldest answer waits for.
func (f *Answers) Waiting() (r store.Receipt, ok bool) {
	if f.head == len(f.q) {
		return store.Receipt{}, false
	}
	return f.q[f.head].r, true
}

// Len returns how many answers wait.
func (f *Answers) Len() int { return len(f.q) - f.head }
