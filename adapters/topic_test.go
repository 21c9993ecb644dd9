package adapters

import (
	"testing"
	"testing/synctest"
	"time"

	"packetboat/adapters/decode"
)

func TestTopics(t *testing.T) {
	at := Place{Remote: "fd00::7", Port: "ttyUSB0"}
	now := time.Date(2026, 3, 4, 5, 6, 7, 8e6, time.FixedZone("", 3600))
	fields := []decode.Field{{Name: "id", Value: "a/b"}, {Name: "n", Value: int64(7)}}
	for _, tt := range []struct{ name, template, want string }{
		{"an IPv6 address keeps its colons", "gw/{remote}", "gw/fd00::7"},
		{"the time is in UTC", "gw/{time}", "gw/2026-03-04T04:06:07.008Z"},
		{"a field cannot add levels", "gw/{field:id}/{field:n}", "gw/a_b/7"},
		{"a field that is not there is a level all the same", "gw/{field:x}/v", "gw/_/v"},
		{"a port", "gw/{port}", "gw/ttyUSB0"},
	} {
		if got := expandTopic(tmpl(t, tt.template), at, now, fields); got != tt.want {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
	for s, want := range map[string]string{"": "_", "a+b#c/d\x00": "a_b_c_d_", "\xff": "_", "é": "é"} {
		if got := string(appendLevel(nil, s)); got != want {
			t.Errorf("%q became %q", s, got)
		}
	}
}

func TestCommandFilters(t *testing.T) {
	for _, tt := range []struct {
		template, filter, topic, remote string
	}{
		{"gw/dev/set", "gw/dev/set", "gw/dev/set", ""},
		{"gw/{remote}/set", "gw/+/set", "gw/10.0.0.1/set", "10.0.0.1"},
		{"{remote}", "+", "10.0.0.1", "10.0.0.1"},
		{"gw/+/{remote}", "gw/+/+", "gw/x/10.0.0.1", "10.0.0.1"},
		{"gw/{remote}/#", "gw/+/#", "gw/10.0.0.1/set/x", "10.0.0.1"},
	} {
		filter, level, err := commandFilter(tmpl(t, tt.template))
		if err != nil || filter != tt.filter || levelOf(tt.topic, level) != tt.remote {
			t.Errorf("%s: %q, %d, %v", tt.template, filter, level, err)
		}
	}
}

func TestLogLinesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l limiter
		lines, suppressed := 0, 0
		for range 3600 {
			if more, ok := l.allow(); ok {
				lines++
				suppressed += more
			}
			time.Sleep(time.Second)
		}
		if lines != limitBurst+59 || lines+suppressed+l.suppressed != 3600 {
			t.Fatalf("%d lines, %d suppressed and told, %d not yet", lines, suppressed, l.suppressed)
		}
	})
}
