package admin

import (
	"context"
	"net/http"
	"time"
)

// AdapterList is how the adapters are, each in full.
type AdapterList struct {
	Adapters []AdapterDetails `json:"adapters"`
}

// AdapterDetails is all that is known of an adapter.
type AdapterDetails struct {
	Name      string            `json:"name"`
	Kind      string            `json:"kind"`  // serial, tcp-listen, tcp-connect, modbus
	Ready     bool              `json:"ready"` // the port is open, or devices can connect
	Links     int               `json:"links"` // open now
	LastFrame time.Time         `json:"last_frame,omitzero"`
	Error     string            `json:"error,omitempty"` // why it is not ready
	Counters  map[string]uint64 `json:"counters"`
	Frames    []Frame           `json:"frames"` // the last ones and the last errors, newest first
}

// Frame is one that a device has sent, or what was no frame.
type Frame struct {
	At    time.Time `json:"at"`
	Link  string    `json:"link"`            // whom it came from; of a serial port, the port
	Hex   string    `json:"hex"`             // the first 64 bytes
	Text  string    `json:"text"`            // the same, with dots for what cannot be shown
	Bytes int       `json:"bytes"`           // in all
	Topic string    `json:"topic,omitempty"` // it was published to
	Error string    `json:"error,omitempty"` // what was wrong with it
}

// Adapters asks how the adapters are. While somebody asks, frames are kept to be
// shown; errors always are.
func (c *Client) Adapters(ctx context.Context) (*AdapterList, error) {
	list := new(AdapterList)
	return list, c.get(ctx, http.MethodGet, "adapters", nil, list)
}
