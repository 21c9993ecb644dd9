package adapters

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/adapters/decode"
)

func TestTopics(t *testing.T) {
	at := Place{Remote: "fd00::7", Port: "ttyUSB0"}
	now := time.Date(2026, 3, 4, 5, 6, 7, 8e6, time.FixedZone("", 3600))
	fields := []decode.Field{
		{Name: "id", Value: "a/b"}, {Name: "n", Value: int64(7)}, {Name: "x", Value: 1e6}, {Name: "on", Value: true}, {Name: "sys", Value: "$SYS"},
		{Name: "null"}, {Name: "empty", Value: ""}, {Name: "latin1", Value: "\xe9"}, {Name: "list", Value: decode.JSON("[]")},
		{Name: "long", Value: strings.Repeat("x", 70000)}, {Name: "n", Value: int64(8)},
	}
	for _, tt := range []struct{ name, template, want, err string }{
		{name: "an IPv6 address keeps its colons", template: "gw/{remote}", want: "gw/fd00::7"},
		{name: "the time is in UTC", template: "gw/{time}", want: "gw/2026-03-04T04:06:07.008Z"},
		{name: "a port", template: "gw/{port}", want: "gw/ttyUSB0"},
		{name: "a field cannot add levels, the last of a name counts", template: "gw/{field:id}/{field:n}", want: "gw/a_b/8"},
		{name: "numbers as in the payload", template: "{field:x}/{field:on}", want: "1000000/true"},
		{name: "a field cannot make a topic of the system's", template: "{field:sys}/x{field:sys}", want: "_SYS/x$SYS"},
		{name: "a field that is not there", template: "gw/{field:y}/v", err: `there is no field "y"`},
		{name: "null", template: "gw/{field:null}", err: `field "null" is null`},
		{name: "nothing", template: "gw/{field:empty}", err: `field "empty" is empty or not UTF-8`},
		{name: "no text", template: "gw/{field:latin1}", err: `field "latin1" is empty or not UTF-8`},
		{name: "an array", template: "gw/{field:list}", err: `field "list" is an array or an object`},
		{name: "too long", template: "{field:long}", err: "the topic would have 70000 bytes"},
	} {
		got, err := frameTopic(tmpl(t, tt.template), at, now, fields)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%s: %q, %v", tt.name, got, err)
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
