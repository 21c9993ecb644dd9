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

// sentTopic is the topic of a message that was handed out.
type sentTopic struct {
	seq   uint64
	topic string
}

// noteTopicLocked remembers the topic of what is handed out, for consumers that
// may have to give it up later.
func (c *Consumer) noteTopicLocked(seq uint64, topic string) {
	c.lastTopic = sentTopic{seq, topic}
	if c.inspect == nil && !c.prompt {
		return
	}
	if c.sentTopics == nil {
		c.sentTopics = new([windowSize]sentTopic)
	}
	c.sentTopics[seq%windowSize] = c.lastTopic
}

// topicLocked is the topic of a message that was handed out, if it is known.
func (c *Consumer) topicLocked(seq uint64) string {
	t := c.lastTopic
	if t.seq != seq && c.sentTopics != nil {
		t = c.sentTopics[seq%windowSize]
	}
	if t.seq != seq {
		return ""
	}
	return t.topic
}
