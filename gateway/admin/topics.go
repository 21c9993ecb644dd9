package admin

import (
	"context"
	"net/http"
	"time"
	"unicode/utf8"

	"packetboat/broker"
)

// Topics are the latest values of topics.
type Topics struct {
	Total  int     `json:"total"` // that match, also those that are not listed
	Topics []Topic `json:"topics"`
	More   bool    `json:"more"` // not all are listed, or there were too many to keep
}

// Topic is the latest value of a topic: the last message that was seen while
// somebody looked, or else the retained one.
type Topic struct {
	Topic  string    `json:"topic"`
	Text   *string   `json:"text,omitempty"`   // the first 256 bytes of the payload
	Base64 []byte    `json:"base64,omitempty"` // the same, of one that is no text
	Bytes  int       `json:"bytes"`            // of the whole payload
	QoS    byte      `json:"qos"`
	Retain bool      `json:"retain"`
	At     time.Time `json:"at"`
	Count  uint64    `json:"count"` // messages that were seen; 0: it is the retained one
}

// topicOf is a value as the broker gives it.
func topicOf(v *broker.TopicValue) Topic {
	t := Topic{Topic: v.Topic, Bytes: v.Bytes, QoS: v.QoS, Retain: v.Retain, At: v.At.UTC(), Count: v.Count}
	if text, ok := textOf(v.Payload, len(v.Payload) < v.Bytes); ok {
		t.Text = &text
	} else {
		t.Base64 = v.Payload
	}
	return t
}

// textOf is a payload as text, if it is. One that is cut may end within a
// character.
func textOf(b []byte, cut bool) (string, bool) {
	for i := 0; cut && i < utf8.UTFMax-1 && !utf8.Valid(b) && len(b) > 0; i++ {
		b = b[:len(b)-1]
	}
	return string(b), utf8.Valid(b)
}

func (s *Server) topics(w http.ResponseWriter, r *http.Request) {
	limit, err := limitOf(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	list, all, more := s.Broker.Topics(r.URL.Query().Get("match"), limit)
	out := Topics{Total: all, Topics: make([]Topic, 0, len(list)), More: more || all > len(list)}
	for i := range list {
		out.Topics = append(out.Topics, topicOf(&list[i]))
	}
	reply(w, out)
}

// Topics lists the topics that have match in them, at most limit of them; 0: as
// many as the gateway sees fit. While somebody asks, the gateway looks at what
// passes.
func (c *Client) Topics(ctx context.Context, match string, limit int) (*Topics, error) {
	list := new(Topics)
	return list, c.get(ctx, http.MethodGet, "topics?"+listQuery(match, limit), nil, list)
}
