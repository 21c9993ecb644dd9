package admin

import (
	"context"
	"net/http"
)

// Wear is what the gateway has written to its disk, and so how fast it wears out a
// card.
type Wear struct {
	Written uint64    `json:"written_bytes"` // since the start
	Syncs   uint64    `json:"syncs"`         // since the start
	Today   uint64    `json:"today_written_bytes"`
	Budget  int64     `json:"budget_bytes"` // of a day; 0: none
	Days    []WearDay `json:"days"`         // oldest first, today last
}

// WearDay is a day, in the gateway's time zone.
type WearDay struct {
	Day     string `json:"day"` // 2006-01-02
	Written uint64 `json:"written_bytes"`
	Syncs   uint64 `json:"syncs"`
}

// Wear asks what the gateway has written to its disk.
func (c *Client) Wear(ctx context.Context) (*Wear, error) {
	wear := new(Wear)
	return wear, c.get(ctx, http.MethodGet, "wear", nil, wear)
}
