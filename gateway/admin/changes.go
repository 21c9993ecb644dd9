package admin

import "strings"

// Changes are what a configuration that was read again has changed.
type Changes struct {
	Added   []string `json:"added,omitempty"`   // bridges
	Changed []string `json:"changed,omitempty"` // bridges
	Removed []string `json:"removed,omitempty"` // bridges; what waits for them is kept
	Rules   bool     `json:"access_rules,omitempty"`
	// Restart are the sections that have changed and are acted on by the next
	// start only.
	Restart []string `json:"restart,omitempty"`
}

// String is the changes as one line.
func (c Changes) String() string {
	var parts []string
	if c.Rules {
		parts = append(parts, "access rules changed")
	}
	for _, x := range []struct {
		what string
		list []string
	}{
		{"bridges added", c.Added}, {"bridges changed", c.Changed},
		{"bridges removed, what waits for them is kept", c.Removed}, {"changed, but waiting for a restart", c.Restart},
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
