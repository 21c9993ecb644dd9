package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"packetboat/config"
)

// text is the configuration.
func (s *starter) text() string {
	var b strings.Builder
	line := func(key, value, comment string) {
		text := fmt.Sprintf("%-8s = %s", key, config.Quote(value))
		if comment != "" {
			text = fmt.Sprintf("%-50s # %s", text, comment)
		}
		b.WriteString(text + "\n")
	}
	b.WriteString("# A start. packetboat check says what it does, docs/configuration.md has every key.\n")
	if s.id != "" || s.dir != "" {
		b.WriteString("\n[gateway]\n")
	}
	if s.id != "" {
		line("id", s.id, "{gateway} in topics, and the client id at the cloud")
	}
	if s.dir != "" {
		line("data_dir", filepath.Join(s.dir, "data"), "the queue")
		b.WriteString("[admin]\n")
		line("socket", filepath.Join(s.dir, "admin.sock"), "by which packetboat status and the like reach it")
	}
	if s.port != "" {
		b.WriteString("\n[[serial]]\n")
		line("name", "device", "call it what it is: {name} in topics")
		line("port", s.port, "packetboat ports lists them")
		fmt.Fprintf(&b, "%-50s # packetboat probe PORT finds it, and frame and decode\n", fmt.Sprintf("baud     = %d", s.baud))
		line("topic", "sensors/{name}", "each line that it sends is a message there")
	}
	if s.tcp != "" {
		b.WriteString("\n[[tcp]]\n")
		line("name", "loggers", "")
		line("listen", s.tcp, "devices connect here and send lines")
		line("topic", "sensors/{name}", "{remote} would tell them apart")
		line("ack", "OK\n", "what a device is told once its line is on disk")
	}
	if s.cloud != "" {
		s.bridge(&b, line)
	}
	return b.String()
}

// bridge is the section of the cloud.
func (s *starter) bridge(b *strings.Builder, line func(key, value, comment string)) {
	b.WriteString("\n[[bridge]]\n")
	line("name", "cloud", "")
	if s.profile != "generic" {
		line("profile", s.profile, "what this service demands; docs/clouds.md")
	}
	fmt.Fprintf(b, "servers  = [%s]\n", config.Quote(s.cloud))
	if s.user != "" {
		line("username", s.user, "")
	}
	azure := s.profile == "azure-iot-hub"
	switch {
	case s.passwordFile == "":
	case azure:
		line("token_key_file", s.passwordFile, "")
		line("stamp", "json:packetboat", "receive time and number, in payloads that are JSON")
	default:
		line("password_file", s.passwordFile, "")
	}
	if s.ca != "" || s.cert != "" {
		b.WriteString("[bridge.tls]\n")
		for _, f := range []struct{ key, path string }{{"ca", s.ca}, {"cert", s.cert}, {"key", s.key}} {
			if f.path != "" {
				line(f.key, f.path, "")
			}
		}
	}
	b.WriteString("[[bridge.up]]\n")
	if azure {
		line("filter", "sensors/+", "what goes up")
		line("topic", "devices/{gateway}/messages/events/sensor={1}", "the only topic that the hub takes")
		return
	}
	line("filter", "sensors/#", "what goes up")
	line("topic", "sites/{gateway}/{1}", "{1} is what # stands for")
}
