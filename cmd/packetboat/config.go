package main

import (
	"flag"
	"fmt"
	"os"

	"packetboat/config"
	"packetboat/gateway"
)

// configFlag is -config, which every command has that reads the configuration.
func configFlag(f *flag.FlagSet) *string {
	path := os.Getenv("PACKETBOAT_CONFIG")
	if path == "" {
		path = "/etc/packetboat/packetboat.toml"
	}
	return f.String("config", path, "configuration `FILE`; conf.d/*.toml beside it is read too; $PACKETBOAT_CONFIG sets another default")
}

// load reads and checks a configuration. What is wrong is printed, one line each.
func (e *env) load(path string) (*config.Config, bool) {
	cfg, err := loadChecked(path)
	if err != nil {
		fmt.Fprintln(e.err, err)
		return nil, false
	}
	return cfg, true
}

// loadChecked reads a configuration and checks it, by itself and with those who
// use it.
func loadChecked(path string) (*config.Config, error) {
	cfg, err := config.Load(path, config.Options{})
	if err != nil {
		return nil, err
	}
	if errs := gateway.Check(cfg); len(errs) > 0 {
		return nil, errs
	}
	return cfg, nil
}
