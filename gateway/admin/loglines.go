package admin

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// LogLines are the last lines of the log.
type LogLines struct {
	Lines []LogLine `json:"lines"` // oldest first
}

// LogLine is a line of the log.
type LogLine struct {
	At      time.Time      `json:"at"`
	Level   string         `json:"level"` // DEBUG, INFO, WARN, ERROR
	Message string         `json:"message"`
	Attrs   map[string]any `json:"attrs,omitempty"`
}

// LogLines asks for the newest lines of the log, at most last; 0: all that are
// kept.
func (c *Client) LogLines(ctx context.Context, last int) (*LogLines, error) {
	l := new(LogLines)
	path := "log"
	if last > 0 {
		path += "?last=" + strconv.Itoa(last)
	}
	return l, c.get(ctx, http.MethodGet, path, nil, l)
}
