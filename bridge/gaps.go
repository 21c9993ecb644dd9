package bridge

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// What the cloud did not get is told to it: each gap marker of the store that
// concerns this bridge, or nobody knows whom, is published on the gaps topic as
// JSON, at QoS 1, by way of the highest lane.
//
// Markers are told while the bridge is connected, one at a time, in their order;
// the store remembers how far (store.TellGap). Offline they gather in the
// ledger, which needs no room in the queue. A message that tells of a gap and is
// lost itself, because the cloud refuses the topic for instance, is not told
// again: that would go on for ever. `status` and the ledger still show it.

// gapsTopic is the topic of these messages in the queue. No client can publish
// to it, since no rule has it; the topic at the cloud is put in when they are
// sent, as it is with all others.
const gapsTopic = "$packetboat/gaps"

// gapsLane is the lane that carries them.
const gapsLane = lanes - 1

// maxGapMessage is up to what size topics are listed.
const maxGapMessage = 32 << 10

// tellAgain is when telling is tried again while the disk takes no writes.
const tellAgain = 10 * time.Second

// gapMessage is a gap marker as the cloud gets it.
type gapMessage struct {
	Consumer     string     `json:"consumer"` // "" = unknown: the bytes that would say are damaged
	Bridge       string     `json:"bridge"`
	Lane         string     `json:"lane"` // 0 to 3; "" = unknown
	Reason       string     `json:"reason"`
	Count        uint64     `json:"count"`
	Bytes        uint64     `json:"bytes"` // about
	From         string     `json:"from,omitempty"`
	To           string     `json:"to,omitempty"`
	TimesTrusted *bool      `json:"times_trusted,omitempty"` // false, or absent
	FirstSeq     uint64     `json:"first_seq"`
	LastSeq      uint64     `json:"last_seq"`
	Topics       []gapTopic `json:"topics"`
	More         bool       `json:"more,omitempty"` // there were other topics
}

type gapTopic struct {
	Topic string `json:"topic"`
	Count uint64 `json:"count"`
}

// concerned reports whether the loss of a consumer's messages is one of this
// bridge. That of a dead letter is none: it was told when it became one.
func (b *Bridge) concerned(consumer string) bool {
	return consumer == "" || strings.HasPrefix(consumer, b.origin+"/") && consumer != b.deadName()
}

// gapMessage makes the message that tells of a gap.
func (b *Bridge) gapMessage(g *store.Gap, from, to time.Time, trusted bool) *store.Message {
	m := gapMessage{
		Consumer: g.Consumer, Reason: g.Reason.String(), Count: g.Count, Bytes: g.Bytes,
		From: gapTime(from), To: gapTime(to), FirstSeq: g.FirstSeq, LastSeq: g.LastSeq, Topics: []gapTopic{},
	}
	if lane, ok := strings.CutPrefix(g.Consumer, b.origin+"/"); ok {
		m.Bridge, m.Lane = b.cfg.Name, lane
	}
	if !trusted {
		m.TimesTrusted = new(bool)
	}
	room := maxGapMessage
	var listed uint64
	for _, t := range g.Topics {
		if room -= len(t.Topic) + 32; room < 0 {
			break
		}
		m.Topics = append(m.Topics, gapTopic{t.Topic, t.Count})
		listed += t.Count
	}
	m.More = listed < g.Count
	payload, err := json.Marshal(m)
	if err != nil { // strings and numbers always can
		panic(err)
	}
	props := packet.AppendByteProp(nil, packet.PropPayloadFormat, 1)
	props = packet.AppendStringProp(props, packet.PropContentType, "application/json")
	return &store.Message{Topic: gapsTopic, Payload: payload, Props: props, QoS: 1}
}

func gapTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(stampTime)
}

// tellGaps tells of gaps until ctx ends.
func (c *conn) tellGaps(ctx context.Context) {
	b := c.b
	if b.cfg.Gaps == "" {
		return
	}
	b.store.OnGap(b.origin, c.kickTeller)
	defer b.store.OnGap(b.origin, nil)
	lane := b.lanes[gapsLane].consumer
	for {
		seq, underWay := b.store.TellGap(b.cfg.Name, lane, b.concerned, b.gapMessage)
		if underWay {
			b.mu.Lock()
			c.telling, c.tellSeq = true, seq
			c.toldLocked()
			b.mu.Unlock()
		}
		var again <-chan time.Time
		if b.store.Failed() != nil {
			again = time.After(tellAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.tell:
		case <-again:
		}
	}
}

// kickTeller has tellGaps look again. It never blocks.
func (c *conn) kickTeller() {
	select {
	case c.tell <- struct{}{}:
	default:
	}
}

// toldLocked has the next gap told when the message of the last is finished.
// Bridge.mu is held.
func (c *conn) toldLocked() {
	if c.telling && !c.b.lanes[gapsLane].consumer.Unfinished(c.tellSeq) {
		c.telling = false
		c.kickTeller()
	}
}

// prepareGap makes the PUBLISH of a message that tells of a gap.
func (c *conn) prepareGap(d *store.Delivery) (why store.Reason, text string) {
	if c.b.cfg.Gaps == "" { // it was configured when this was stored
		c.noRule.note(d.Topic)
		return store.NoRule, "bridge.gaps is empty"
	}
	c.publish = packet.Publish{Topic: c.b.cfg.Gaps, Payload: d.Payload, Props: d.Props, QoS: min(d.QoS, c.limits.qos)}
	c.unstamped, c.comes = false, false
	return c.fits(d)
}
