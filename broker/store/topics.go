package store

// Gap markers say of which topics the messages were. Where a message is ended
// one by one, its topic is at hand or was noted when it was handed out; where a
// whole segment makes room, a census of it was taken before (census.go).

const (
	maxGapTopics    = 64   // of one marker
	maxLedgerTopics = 4096 // of all markers that are kept: the oldest lose theirs
)

// TopicCount is how many messages of a gap had a topic.
type TopicCount struct {
	Topic string
	Count uint64
}

// addTopic counts n more messages of a topic, if there is room for it.
func addTopic(list []TopicCount, topic string, n uint64) []TopicCount {
	for i := range list {
		if list[i].Topic == topic {
			list[i].Count += n
			return list
		}
	}
	if len(list) == maxGapTopics {
		return list
	}
	return append(list, TopicCount{topic, n})
}

// addTopics counts more into the topics of g, which are its own.
func (g *Gap) addTopics(more []TopicCount) {
	for _, t := range more {
		g.Topics = addTopic(g.Topics, t.Topic, t.Count)
	}
}

// oneTopic is the topics of a marker of one message; "" is not known.
func oneTopic(topic string) []TopicCount {
	if topic == "" {
		return nil
	}
	return []TopicCount{{topic, 1}}
}

// boundTopicsLocked lets the oldest markers lose their topics when all have too
// many: memory and snapshots are bounded that way.
func (s *Store) boundTopicsLocked() {
	n := 0
	for i := len(s.gaps) - 1; i >= 0; i-- {
		if n += len(s.gaps[i].Topics); n > maxLedgerTopics {
			n -= len(s.gaps[i].Topics)
			s.gaps[i].Topics = nil
		}
	}
	s.gapTopics = n
}

// sentMessage is what a gap marker says about a message that was handed out.
type sentMessage struct {
	seq   uint64
	topic string
	at    Stamp
}

// noteSentLocked remembers what is handed out, for consumers that may have to give
// it up later.
func (c *Consumer) noteSentLocked(seq uint64, m *Message) {
	c.lastSent = sentMessage{seq, m.Topic, m.Received}
	if c.inspect == nil && !c.prompt {
		return
	}
	if c.sent == nil {
		c.sent = new([windowSize]sentMessage)
	}
	c.sent[seq%windowSize] = c.lastSent
}

// sentLocked is what is known of a message that was handed out. One of which
// nothing is has no topic, and about the receive time of those around it.
func (c *Consumer) sentLocked(seq uint64) sentMessage {
	t := c.lastSent
	if t.seq != seq && c.sent != nil {
		t = c.sent[seq%windowSize]
	}
	if t.seq != seq || t.at == (Stamp{}) {
		return sentMessage{seq, "", c.receivedLocked(seq)}
	}
	return t
}

// receivedLocked is about when a message was received: when the first of its span
// was.
func (c *Consumer) receivedLocked(seq uint64) Stamp {
	for i := range c.spans {
		if seq < c.spans[i].end() {
			return c.spans[i].at
		}
	}
	return c.s.clocks.now()
}
