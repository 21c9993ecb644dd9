package admin

import (
	"context"
	"net/http"
	"time"
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

// Topics lists the topics that have match in them, at most limit of them; 0: as
// many as the gateway sees fit. While somebody asks, the gateway looks at what
// passes.
func (c *Client) Topics(ctx context.Context, match string, limit int) (*Topics, error) {
	list := new(Topics)
	return list, c.get(ctx, http.MethodGet, "topics?"+listQuery(match, limit), nil, list)
}
