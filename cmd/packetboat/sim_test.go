package main

import (
	"strings"
	"testing"

	"packetboat/cmd/packetboat/sim"
	"packetboat/config"
)

// TestTheSimulatedMetersHaveWhatTheRecipeReads: docs/recipes.md says so.
func TestTheSimulatedMetersHaveWhatTheRecipeReads(t *testing.T) {
	for _, block := range tomlBlocks(t, "docs/recipes.md") {
		if !strings.Contains(block, "[[modbus]]") {
			continue
		}
		cfg, err := config.Parse("recipes.md", []byte(block), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range cfg.Modbus[0].Units {
			meter := sim.NewMeter(byte(u.ID))
			for _, r := range u.Reads {
				table := meter.Holding
				words := uint16(1)
				if r.Table == "input" {
					table = meter.Input
				}
				if strings.HasSuffix(r.Type, "32") {
					words = 2
				}
				for w := range words {
					if _, ok := table[uint16(r.Address)+w]; !ok {
						t.Errorf("%s: %s register %d is not there", r.Name, r.Table, uint16(r.Address)+w)
					}
				}
			}
		}
		return
	}
	t.Fatal("no recipe has a Modbus meter")
}
