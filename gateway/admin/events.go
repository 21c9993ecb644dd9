package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// State is the event that comes once a second.
type State struct {
	Status *Status `json:"status"`
	Rates  Rates   `json:"rates"`
	Queues []Queue `json:"queues"` // of bridges and adapters; those of all clients' sessions together are "session/*"
}

// Rates are messages a second, over about the last second.
type Rates struct {
	In      float64               `json:"in"`  // of devices and clients
	Out     float64               `json:"out"` // to clients
	Bridges map[string]BridgeRate `json:"bridges"`
}

// BridgeRate is what goes to a cloud.
type BridgeRate struct {
	Out float64 `json:"out"`
}

// Event is one of the two kinds: State or Log is set.
type Event struct {
	State *State
	Log   *LogLine
}

// Events calls f for each event until ctx ends, f returns an error or the gateway
// ends the stream, which is no error: it does so now and then, ask again.
func (c *Client) Events(ctx context.Context, f func(Event) error) error {
	r, err := c.do(ctx, http.MethodGet, "events", nil)
	if err != nil {
		return err
	}
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	kind := ""
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			kind = value
		case "data":
			e, err := eventOf(kind, value)
			if err != nil {
				return fmt.Errorf("read an event of the gateway: %w", err)
			}
			if err := f(e); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return lines.Err()
}

func eventOf(kind, data string) (e Event, err error) {
	switch kind {
	case "state":
		e.State = new(State)
		err = json.Unmarshal([]byte(data), e.State)
	case "log":
		e.Log = new(LogLine)
		err = json.Unmarshal([]byte(data), e.Log)
	}
	return e, err
}
