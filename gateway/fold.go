package gateway

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"packetboat/gateway/quantity"
)

// Bounds of the folding of repeats.
const (
	foldBurst = 5 // lines of a kind in a period that are let through
	foldFor   = time.Minute
	foldKinds = 1000 // beyond, lines are not folded
)

// folder is a slog.Handler that folds repeats: of lines that say the same in all
// they say, the first few of a minute go through, and one that tells how many more
// there were. What is below info is let through.
type folder struct {
	next  slog.Handler
	state *folding
	seed  uint64 // of what WithAttrs and WithGroup have added
}

// folding is what the folders of one logger share.
type folding struct {
	hash maphash.Seed

	mu    sync.Mutex
	kinds map[uint64]*repeated
	swept time.Time
}

// repeated is a line that was said, in the present period.
type repeated struct {
	began  time.Time
	said   int
	folded int
	line   slog.Record
	next   slog.Handler
}

func newFolder(next slog.Handler) *folder {
	return &folder{next: next, state: &folding{hash: maphash.MakeSeed(), kinds: map[uint64]*repeated{}}}
}

// Enabled is next's.
func (f *folder) Enabled(ctx context.Context, l slog.Level) bool { return f.next.Enabled(ctx, l) }

// WithAttrs is of slog.Handler.
func (f *folder) WithAttrs(attrs []slog.Attr) slog.Handler {
	seed := f.seed
	for _, a := range attrs {
		seed = f.state.mix(seed, a.Key+"="+a.Value.String())
	}
	return &folder{next: f.next.WithAttrs(attrs), state: f.state, seed: seed}
}

// WithGroup is of slog.Handler.
func (f *folder) WithGroup(name string) slog.Handler {
	if name == "" {
		return f
	}
	return &folder{next: f.next.WithGroup(name), state: f.state, seed: f.state.mix(f.seed, name+".")}
}

func (s *folding) mix(seed uint64, text string) uint64 {
	return seed*0x9E3779B97F4A7C15 + maphash.String(s.hash, text)
}

// Handle hands a line on, or counts it.
func (f *folder) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return f.next.Handle(ctx, r)
	}
	s := f.state
	kind := s.mix(f.seed+uint64(r.Level), r.Message)
	r.Attrs(func(a slog.Attr) bool {
		kind = s.mix(kind, a.Key+"="+a.Value.Resolve().String())
		return true
	})
	now := time.Now()
	s.sweep(ctx, now)
	if s.fold(kind, now, r, f.next) {
		return nil
	}
	return f.next.Handle(ctx, r)
}

// fold reports whether a line is a repeat too many, and then counts it.
func (s *folding) fold(kind uint64, now time.Time, r slog.Record, next slog.Handler) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kinds[kind]
	switch {
	case k == nil && len(s.kinds) < foldKinds:
		s.kinds[kind] = &repeated{began: now, said: 1, line: r.Clone(), next: next}
	case k == nil:
	case k.said < foldBurst:
		k.said++
	default:
		k.folded++
		return true
	}
	return false
}

// sweep ends the periods that are over, and says of each how many lines there were
// more. While a line goes on, that is the only one of it in a period.
func (s *folding) sweep(ctx context.Context, now time.Time) {
	s.mu.Lock()
	var over []repeated
	if now.Sub(s.swept) >= time.Second { // so that a flood does not look at all of them each time
		s.swept = now
		for kind, k := range s.kinds {
			if now.Sub(k.began) < foldFor {
				continue
			}
			if k.folded == 0 {
				delete(s.kinds, kind)
				continue
			}
			over = append(over, *k)
			k.began, k.said, k.folded = now, foldBurst, 0
		}
	}
	s.mu.Unlock()
	tellFolded(ctx, over)
}

// end says what was folded and not told yet.
func (s *folding) end(ctx context.Context) {
	s.mu.Lock()
	var over []repeated
	for _, k := range s.kinds {
		if k.folded > 0 {
			over = append(over, *k)
		}
	}
	clear(s.kinds)
	s.mu.Unlock()
	tellFolded(ctx, over)
}

func tellFolded(ctx context.Context, list []repeated) {
	for i := range list {
		k := &list[i]
		r := k.line.Clone()
		r.Time = time.Now()
		r.Message = fmt.Sprintf("%s (%d more in the last %s)", r.Message, k.folded, quantity.Duration(r.Time.Sub(k.began)))
		_ = k.next.Handle(ctx, r) // as with any line, there is nobody to tell
	}
}
