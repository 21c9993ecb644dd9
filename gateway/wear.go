package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"packetboat/broker/store"
	"packetboat/gateway/admin"
	"packetboat/gateway/quantity"
)

const (
	wearEvery = time.Minute      // what was written is added to the day
	wearSaved = 15 * time.Minute // at most so much of it is forgotten by a crash
	wearDays  = 31
	wearKey   = "wear" // of the sums in the store
)

// wear adds up what is written to the disk, day by day. The sums are kept in the
// queue itself, with commits that there are anyway. A day is one of the clock: on a
// machine that has none it may be the wrong one until the clock is set.
type wear struct {
	stats  func() (bytes, syncs uint64) // since the start
	save   func(value []byte)
	budget int64 // bytes a day, 0: none
	log    *slog.Logger
	now    func() time.Time

	mu           sync.Mutex
	bytes, syncs uint64          // of stats, that are in days already
	days         []admin.WearDay // by day
	told         string          // the day that was complained about
}

func newWear(s *store.Store, budget int64, log *slog.Logger) *wear {
	key := store.Key(wearKey)
	kept, _ := s.Get(key)
	return &wear{
		stats: func() (uint64, uint64) {
			st := s.Stats()
			return st.Written, st.Syncs
		},
		save:   func(value []byte) { s.SetLater(key, value) },
		budget: budget, log: log, now: time.Now,
		days: parseWear(string(kept)),
	}
}

// run keeps the sums until ctx ends.
func (w *wear) run(ctx context.Context) error {
	tick := time.NewTicker(wearEvery)
	defer tick.Stop()
	saved := w.now()
	for {
		select {
		case <-ctx.Done():
			w.look()
			w.keep()
			return nil
		case <-tick.C:
		}
		w.look()
		if now := w.now(); now.Sub(saved) >= wearSaved {
			saved = now
			w.keep()
		}
	}
}

// look adds what was written since the last time to today, and says so when that is
// more than it should be.
func (w *wear) look() (today admin.WearDay) {
	w.mu.Lock()
	defer w.mu.Unlock()
	bytes, syncs := w.stats()
	d := w.todayLocked()
	d.Written += bytes - w.bytes
	d.Syncs += syncs - w.syncs
	w.bytes, w.syncs = bytes, syncs
	if w.over(d) && w.told != d.Day {
		w.told = d.Day
		w.log.Warn("more was written to the disk today than queue.write_budget", "written", d.Written, "budget", w.budget, "syncs", d.Syncs, "remedy", wearRemedy(d))
	}
	return *d
}

// todayLocked is the sum of today.
func (w *wear) todayLocked() *admin.WearDay {
	day := w.now().Format(time.DateOnly)
	i, there := slices.BinarySearchFunc(w.days, day, func(d admin.WearDay, day string) int { return strings.Compare(d.Day, day) })
	if !there {
		w.days = slices.Insert(w.days, i, admin.WearDay{Day: day})
		if n := len(w.days) - wearDays; n > 0 && i >= n {
			w.days, i = w.days[n:], i-n
		}
	}
	return &w.days[i]
}

func (w *wear) over(d *admin.WearDay) bool { return w.budget > 0 && d.Written > uint64(w.budget) }

// wearRemedy says what makes a day's writes fewer: small commits cost most.
func wearRemedy(d *admin.WearDay) string {
	if d.Syncs > 0 && d.Written/d.Syncs < 4<<10 {
		return fmt.Sprintf("%s with %s each: a longer queue.commit_interval gathers more into one. Or have devices publish less, or raise queue.write_budget", quantity.Count(d.Syncs, "sync", "syncs"), quantity.Bytes(d.Written/d.Syncs))
	}
	return "have devices publish less (on_change, dead_band, rate), queue less (QoS 0, narrower filters of bridges), or raise queue.write_budget"
}

// keep has the sums saved.
func (w *wear) keep() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b []byte
	for _, d := range w.days {
		b = fmt.Appendf(b, "%s %d %d\n", d.Day, d.Written, d.Syncs)
	}
	w.save(b)
}

// parseWear reads what keep has written; what makes no sense is left out.
func parseWear(text string) (days []admin.WearDay) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		bytes, err1 := strconv.ParseUint(f[1], 10, 64)
		syncs, err2 := strconv.ParseUint(f[2], 10, 64)
		if err1 == nil && err2 == nil {
			days = append(days, admin.WearDay{Day: f[0], Written: bytes, Syncs: syncs})
		}
	}
	return days
}

// report is all of it, for operators.
func (w *wear) report() *admin.Wear {
	today := w.look()
	w.mu.Lock()
	defer w.mu.Unlock()
	return &admin.Wear{Written: w.bytes, Syncs: w.syncs, Today: today.Written, Budget: w.budget, Days: slices.Clone(w.days)}
}

// problems is that of a day on which too much was written.
func (w *wear) problems() []admin.Problem {
	if w.budget == 0 {
		return nil
	}
	d := w.look()
	if !w.over(&d) {
		return nil
	}
	return []admin.Problem{{
		What:   fmt.Sprintf("%s were written to the disk today, more than queue.write_budget (%s)", quantity.Bytes(d.Written), quantity.Bytes(w.budget)),
		Remedy: wearRemedy(&d),
	}}
}
