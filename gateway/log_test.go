package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
)

func TestTheJournalGetsFields(t *testing.T) {
	var text bytes.Buffer
	h := newJournal(slog.LevelInfo, &text)
	type sent struct {
		message  string
		priority journal.Priority
		vars     map[string]string
	}
	var got []sent
	var fail error
	h.out.send = func(m string, p journal.Priority, v map[string]string) error {
		got = append(got, sent{m, p, v})
		return fail
	}
	log := slog.New(h)
	log.Debug("below the level")
	log.With("adapter", "scale").WithGroup("bridge.cloud").Warn("it is so", "waiting", 5, "error", errors.New("a b"), slog.Group("x", "Y-z", time.Second), strings.Repeat("k", 99), 1)
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	s := got[0]
	if want := `it is so adapter=scale bridge.cloud.waiting=5 bridge.cloud.error="a b" bridge.cloud.x.Y-z=1s`; !strings.HasPrefix(s.message, want) || s.priority != journal.PriWarning {
		t.Errorf("%v %s", s.priority, s.message)
	}
	for name, want := range map[string]string{
		"SYSLOG_IDENTIFIER": "packetboat", "PACKETBOAT_ADAPTER": "scale", "PACKETBOAT_BRIDGE_CLOUD_WAITING": "5",
		"PACKETBOAT_BRIDGE_CLOUD_ERROR": "a b", "PACKETBOAT_BRIDGE_CLOUD_X_Y_Z": "1s",
	} {
		if s.vars[name] != want {
			t.Errorf("%s is %q, want %q, of %v", name, s.vars[name], want, s.vars)
		}
	}
	for name := range s.vars {
		if len(name) > maxFieldName {
			t.Errorf("%s is too long for the journal", name)
		}
	}
	if text.Len() > 0 {
		t.Errorf("text: %s", &text)
	}
	fail = errors.New("no journal")
	log.Error("told all the same", "a", 1)
	if want := "level=ERROR told all the same a=1\n"; text.String() != want {
		t.Errorf("%q, not %q", &text, want)
	}
}

func TestRepeatsAreFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		f := newFolder(newHandler("debug", "journal", &out))
		log := slog.New(f)
		lines := func() string {
			s := strings.ReplaceAll(out.String(), "level=", "")
			out.Reset()
			return s
		}
		for range 41 + foldBurst {
			log.Warn("no route", "to", "h")
		}
		log.Warn("no route", "to", "other") // says something else
		log.With("adapter", "a").Warn("no route", "to", "h")
		log.Error("no route", "to", "h")
		for range 2 * foldBurst {
			log.Debug("packet")
		}
		want := strings.Repeat("WARN msg=\"no route\" to=h\n", foldBurst) + "WARN msg=\"no route\" to=other\nWARN msg=\"no route\" adapter=a to=h\nERROR msg=\"no route\" to=h\n" +
			strings.Repeat("DEBUG msg=packet\n", 2*foldBurst)
		if got := lines(); got != want {
			t.Errorf("%s\nnot\n%s", got, want)
		}
		time.Sleep(foldFor)
		f.state.sweep(t.Context(), time.Now())
		if got := lines(); got != "WARN msg=\"no route (41 more in the last 1m)\" to=h\n" {
			t.Errorf("%s", got)
		}
		log.Warn("no route", "to", "h") // it goes on
		log.Warn("no route", "to", "other")
		if got := lines(); got != "WARN msg=\"no route\" to=other\n" {
			t.Errorf("%s", got)
		}
		time.Sleep(10 * time.Second)
		f.state.end(t.Context())
		if got := lines(); got != "WARN msg=\"no route (1 more in the last 10s)\" to=h\n" {
			t.Errorf("%s", got)
		}
		log.Warn("no route", "to", "h")
		time.Sleep(2 * foldFor)
		log.Info("something else") // sweeps
		if n := len(f.state.kinds); n != 1 {
			t.Errorf("%d kinds are kept", n)
		}
		for i := range 2 * foldKinds {
			log.Info(fmt.Sprint(i))
		}
		if n := len(f.state.kinds); n != foldKinds || strings.Count(out.String(), "\n") != 2*foldKinds+2 {
			t.Errorf("%d kinds, %d lines", n, strings.Count(out.String(), "\n"))
		}
	})
}
