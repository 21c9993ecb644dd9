package gateway

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/gateway/admin"
)

func TestWhatIsWrittenIsAddedUpByDayAndSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it begins at midnight UTC
		var log bytes.Buffer
		var written, syncs atomic.Uint64
		kept := ""
		saves := 0
		begin := func() (w *wear, stop func()) {
			written.Store(0)
			syncs.Store(0)
			w = &wear{
				stats: func() (uint64, uint64) { return written.Load(), syncs.Load() }, save: func(b []byte) { kept = string(b); saves++ },
				budget: 10 << 20, log: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return time.Now().UTC() }, days: parseWear(kept),
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- w.run(ctx) }()
			return w, func() { cancel(); <-ended }
		}
		pass := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		w, stop := begin()
		written.Store(4 << 20)
		syncs.Store(2000)
		if r := w.report(); r.Today != 4<<20 || r.Written != 4<<20 || r.Syncs != 2000 || len(r.Days) != 1 || w.problems() != nil {
			t.Errorf("%+v", r)
		}
		pass(time.Hour + time.Second)
		if saves != 4 {
			t.Errorf("saved %d times in an hour", saves)
		}
		stop()
		w, stop = begin()
		written.Store(8 << 20)
		syncs.Store(4000)
		pass(time.Hour)
		if p := w.problems(); len(p) != 1 || !strings.Contains(p[0].What, "12 MiB were written") || !strings.Contains(p[0].Remedy, "6000 syncs with 2 KiB each: a longer queue.commit_interval") {
			t.Errorf("%+v", p)
		}
		pass(24 * time.Hour)
		written.Add(11 << 20)
		pass(time.Hour)
		if n := strings.Count(log.String(), "queue.write_budget"); n != 2*2 { // in the message and the remedy
			t.Errorf("told %d times: %s", n, &log)
		}
		pass(24 * time.Hour)
		want := fmt.Sprint([]admin.WearDay{{Day: "2000-01-01", Written: 12 << 20, Syncs: 6000}, {Day: "2000-01-02", Written: 11 << 20}, {Day: "2000-01-03"}})
		if r := w.report(); fmt.Sprint(r.Days) != want || r.Today != 0 || w.problems() != nil {
			t.Errorf("%v, not %v", r.Days, want)
		}
		pass(60 * 24 * time.Hour)
		stop()
		if n := strings.Count(kept, "\n"); n != wearDays || len(kept) > 2<<10 {
			t.Errorf("%d days in %d bytes are kept", n, len(kept))
		}
	})
}

func TestSumsThatMakeNoSenseAreLeftOut(t *testing.T) {
	if d := parseWear("2026-01-02 5 6\nx\n2026-01-03 -1 2\n2026-01-04 1 2 3\n"); len(d) != 1 || d[0].Written != 5 {
		t.Errorf("%+v", d)
	}
}
