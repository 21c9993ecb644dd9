package admin

import "strings"

// Changes are what a configuration that was read again has changed.
type Changes struct {
	Added   []string `json:"added,omitempty"`   // bridges
	Changed []string `json:"changed,omitempty"` // bridges
	Removed []string `json:"removed,omitempty"` // bridges; what waits for them is kept

	Adapters  Set    `json:"adapters,omitzero"`
	Listeners Set    `json:"listeners,omitzero"`
	Rules     bool   `json:"access_rules,omitempty"`
	Limits    bool   `json:"limits,omitempty"`
	LogLevel  string `json:"log_level,omitempty"` // the new one

	// Restart are the sections that have changed and are acted on by the next
	// start only.
	Restart []string `json:"restart,omitempty"`
}

// Set are things of one kind that have changed, by name.
type Set struct {
	Added   []string `json:"added,omitempty"`
	Changed []string `json:"changed,omitempty"`
	Removed []string `json:"removed,omitempty"`
}

// String is the changes as one line.
func (c Changes) String() string {
	var parts []string
	if c.Rules {
		parts = append(parts, "access rules changed")
	}
	if c.Limits {
		parts = append(parts, "limits changed")
	}
	if c.LogLevel != "" {
		parts = append(parts, "log level "+c.LogLevel)
	}
	for _, x := range []struct {
		what string
		list []string
	}{
		{"bridges added", c.Added}, {"bridges changed", c.Changed},
		{"bridges removed, what waits for them is kept", c.Removed},
		{"adapters added", c.Adapters.Added}, {"adapters changed", c.Adapters.Changed},
		{"adapters removed, what waits for them is kept", c.Adapters.Removed},
		{"listeners added", c.Listeners.Added}, {"listeners changed", c.Listeners.Changed}, {"listeners removed", c.Listeners.Removed},
		{"changed, but waiting for a restart", c.Restart},
	} {
		if len(x.list) > 0 {
			parts = append(parts, x.what+": "+strings.Join(x.list, ", "))
		}
	}
	if parts == nil {
		return "nothing has changed"
	}
	return strings.Join(parts, "; ")
}
