package admin

import (
	"context"
	"net/http"
)

// Configuration is the one that the gateway runs with. Secrets are stars in it.
type Configuration struct {
	File string      `json:"file"`
	Text string      `json:"text"` // as one file, as `packetboat check -print` has it
	Keys []ConfigKey `json:"keys"` // in the order of the text
}

// ConfigKey is a key of the configuration.
type ConfigKey struct {
	Key         string `json:"key"`            // bridge[0].name
	Value       string `json:"value"`          // as in the text
	Set         bool   `json:"set"`            // false: it is the default
	File        string `json:"file,omitempty"` // where it is set
	Line        int    `json:"line,omitempty"`
	Explanation string `json:"explanation"`
}

// Configuration asks for the configuration that the gateway runs with.
func (c *Client) Configuration(ctx context.Context) (*Configuration, error) {
	out := new(Configuration)
	return out, c.get(ctx, http.MethodGet, "config", nil, out)
}
