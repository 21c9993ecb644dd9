package gateway

import (
	"packetboat/config"
	"packetboat/gateway/admin"
)

// configuration is what the gateway runs with, for operators: as it was read last,
// which may be more than is in force (sections that wait for a restart).
func (g *Gateway) configuration() *admin.Configuration { return shownConfig(g.shown.Load()) }

func shownConfig(c *config.Config) *admin.Configuration {
	out := &admin.Configuration{File: c.At("").File, Text: string(c.AppendTOML(nil)), Keys: []admin.ConfigKey{}}
	for _, k := range c.Keys() {
		out.Keys = append(out.Keys, admin.ConfigKey{
			Key: k.Key, Value: k.Value, Set: k.Set, File: k.At.File, Line: k.At.Line, Explanation: k.Explanation,
		})
	}
	return out
}
