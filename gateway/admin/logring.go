package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// mostLines and mostText bound what is kept of the log: lines, and bytes of a text
// in them.
const (
	mostLines = 1000
	mostText  = 2 << 10
)

// LogRing keeps the last lines of the log, for operators who look. Its methods may
// be called by any goroutine. The zero value is empty.
type LogRing struct {
	mu    sync.Mutex
	lines []LogLine // a ring, once it is full
	all   uint64    // lines ever
	next  chan struct{}
}

// Handler is a handler that keeps what next handles.
func (r *LogRing) Handler(next slog.Handler) slog.Handler { return &keeper{next: next, ring: r} }

// add keeps a line, and wakes those who wait for it.
func (r *LogRing) add(l LogLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < mostLines {
		r.lines = append(r.lines, l)
	} else {
		r.lines[r.all%mostLines] = l
	}
	r.all++
	if r.next != nil {
		close(r.next)
		r.next = nil
	}
}

// Since gives the lines after the first seen ones, oldest first, as far as they are
// kept, how many there have been now, and what is closed when there is another.
func (r *LogRing) Since(seen uint64) (lines []LogLine, now uint64, next <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = make(chan struct{})
	}
	kept := uint64(len(r.lines))
	for i := max(seen, r.all-kept); i < r.all; i++ {
		lines = append(lines, r.lines[i%mostLines])
	}
	return lines, r.all, r.next
}

// keeper is a slog.Handler that keeps lines in a ring.
type keeper struct {
	next  slog.Handler
	ring  *LogRing
	given []given
}

// given is what WithGroup or WithAttrs has added: a group, or attributes.
type given struct {
	group string
	attrs []slog.Attr
}

// Enabled is next's.
func (k *keeper) Enabled(ctx context.Context, l slog.Level) bool { return k.next.Enabled(ctx, l) }

// Handle keeps the line and hands it on.
func (k *keeper) Handle(ctx context.Context, r slog.Record) error {
	l := LogLine{At: r.Time.UTC(), Level: r.Level.String(), Message: cutText(r.Message)}
	top := map[string]any{}
	in := top
	for _, g := range k.given {
		if g.group != "" {
			in = within(in, g.group)
		}
		for _, a := range g.attrs {
			put(in, a)
		}
	}
	r.Attrs(func(a slog.Attr) bool {
		put(in, a)
		return true
	})
	if len(top) > 0 {
		l.Attrs = top
	}
	k.ring.add(l)
	return k.next.Handle(ctx, r)
}

// WithAttrs is of slog.Handler.
func (k *keeper) WithAttrs(attrs []slog.Attr) slog.Handler {
	return k.with(k.next.WithAttrs(attrs), given{attrs: attrs})
}

// WithGroup is of slog.Handler.
func (k *keeper) WithGroup(name string) slog.Handler {
	if name == "" {
		return k
	}
	return k.with(k.next.WithGroup(name), given{group: name})
}

func (k *keeper) with(next slog.Handler, g given) slog.Handler {
	return &keeper{next: next, ring: k.ring, given: append(k.given[:len(k.given):len(k.given)], g)}
}

// within is the group called name in m.
func within(m map[string]any, name string) map[string]any {
	if g, ok := m[name].(map[string]any); ok {
		return g
	}
	g := map[string]any{}
	m[name] = g
	return g
}

// put adds an attribute, as it is now: what its value points to may change.
func put(m map[string]any, a slog.Attr) {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		if a.Key != "" {
			if len(v.Group()) == 0 {
				return
			}
			m = within(m, a.Key)
		}
		for _, b := range v.Group() {
			put(m, b)
		}
	case slog.KindBool:
		m[a.Key] = v.Bool()
	case slog.KindInt64:
		m[a.Key] = v.Int64()
	case slog.KindUint64:
		m[a.Key] = v.Uint64()
	case slog.KindTime:
		m[a.Key] = v.Time().Format(time.RFC3339)
	case slog.KindAny:
		if list, ok := v.Any().([]string); ok {
			m[a.Key] = cutText(strings.Join(list, ", "))
			return
		}
		m[a.Key] = cutText(fmt.Sprint(v.Any()))
	default: // a float may be none of JSON
		m[a.Key] = cutText(v.String())
	}
}

func cutText(s string) string {
	if len(s) > mostText {
		s = s[:mostText] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

func (s *Server) logLines(w http.ResponseWriter, r *http.Request) {
	last := mostLines
	if text := r.URL.Query().Get("last"); text != "" {
		var err error
		if last, err = strconv.Atoi(text); err != nil || last < 0 {
			refuse(w, http.StatusBadRequest, fmt.Errorf("last: %q is no number of lines", text))
			return
		}
	}
	lines, _, _ := s.Logs.Since(0)
	if n := len(lines) - last; n > 0 {
		lines = lines[n:]
	}
	reply(w, LogLines{Lines: append([]LogLine{}, lines...)})
}
