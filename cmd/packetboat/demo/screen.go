package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// screen shows what goes on: on a terminal a table that is redrawn in place
// below the lines of events, else a line every few seconds.
type screen struct {
	w    *world
	out  io.Writer
	live bool

	mu    sync.Mutex
	begun time.Time
	title string // of the phase
	drawn int    // lines of the table that stand on the terminal
	buf   bytes.Buffer
}

func newScreen(w *world, out io.Writer, live bool) *screen {
	return &screen{w: w, out: out, live: live, begun: time.Now()}
}

const (
	redraw  = 200 * time.Millisecond
	relines = time.Second // without a terminal
)

// run shows the state until ctx ends.
func (s *screen) run(ctx context.Context) {
	every := relines
	if s.live {
		every = redraw
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		if s.live {
			s.erase()
			s.table()
		} else if s.title != "" {
			s.line()
		}
		s.flush()
		s.mu.Unlock()
	}
}

// event adds a line that stays.
func (s *screen) event(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(&s.buf, "%5.1f s  %s\n", time.Since(s.begun).Seconds(), text)
	if s.live {
		s.table()
	}
	s.flush()
}

// phase begins a phase; text is its event, if it has one.
func (s *screen) phase(title, text string) {
	s.mu.Lock()
	s.title = title
	s.mu.Unlock()
	if text != "" {
		s.event(text)
	}
}

// result ends a round.
func (s *screen) result(r report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.title = ""
	r.write(&s.buf)
	s.flush()
}

// erase takes the table off the terminal.
func (s *screen) erase() {
	if s.drawn > 0 {
		fmt.Fprintf(&s.buf, "\x1b[%dA\x1b[J", s.drawn)
		s.drawn = 0
	}
}

// flush writes what was drawn at once, so that nothing flickers.
func (s *screen) flush() {
	_, _ = s.out.Write(s.buf.Bytes()) // a terminal that has gone ends the demo by a signal
	s.buf.Reset()
}

// link and gateway in words.
func (s *screen) states() (link, gateway string) {
	link, gateway = "up", "running"
	if s.w.link.isCut() {
		link = "CUT"
	}
	if s.w.gateway.running() == 0 {
		gateway = "KILLED"
	}
	return link, gateway
}

const barWidth = 30

// table draws the table.
func (s *screen) table() {
	if s.title == "" {
		return
	}
	from := s.buf.Len()
	link, gateway := s.states()
	color := func(text string, good bool) string {
		if good {
			return "\x1b[32m" + text + "\x1b[0m"
		}
		return "\x1b[1;31m" + text + "\x1b[0m"
	}
	fmt.Fprintf(&s.buf, "\n  \x1b[1m%s\x1b[0m    gateway %s    link to the cloud %s\n\n",
		s.title, color(gateway, gateway == "running"), color(link, link == "up"))
	fmt.Fprintf(&s.buf, "  %-9s %-18s %8s %8s %8s   %s\n", "device", "", "sent", "acked", "in cloud", "waiting")
	for _, src := range s.w.tally.Sources() {
		c := src.Counts()
		acked := fmt.Sprint(c.Acked)
		if src.Silent {
			acked = "-"
		}
		bar := strings.Repeat("#", int(min(c.Missing/20, barWidth)))
		fmt.Fprintf(&s.buf, "  %-9s %-18s %8d %8s %8d   %-6d %s\n", src.Name, src.Kind, c.Written, acked, c.Arrived, c.Missing, bar)
	}
	s.drawn = bytes.Count(s.buf.Bytes()[from:], []byte{'\n'})
}

// line is the state without a terminal.
func (s *screen) line() {
	var sent, acked, arrived, waiting uint64
	for _, src := range s.w.tally.Sources() {
		c := src.Counts()
		sent += c.Written
		acked += c.Acked
		arrived += c.Arrived
		waiting += c.Missing
	}
	link, gateway := s.states()
	fmt.Fprintf(&s.buf, "%5.1f s  %-44s gateway %-7s link %-3s  sent %6d  acked %6d  in cloud %6d  waiting %6d\n",
		time.Since(s.begun).Seconds(), s.title, gateway, link, sent, acked, arrived, waiting)
}

// write is the count as a table, and what it means.
func (r report) write(w *bytes.Buffer) {
	fmt.Fprintf(w, "\n%-9s %-18s %7s %7s %9s %6s %11s %6s\n", "device", "", "sent", "acked", "in cloud", "lost", "duplicates", "order")
	var acked, arrived, lost, twice, around, excused uint64
	for i := range r.rows {
		x := &r.rows[i]
		order, ack := "kept", fmt.Sprint(x.Acked)
		if x.Disordered > 0 {
			order = fmt.Sprintf("%d x broken", x.Disordered)
		}
		if x.silent {
			ack = "-"
		}
		fmt.Fprintf(w, "%-9s %-18s %7d %7s %9d %6d %11d %6s\n", x.name, x.kind, x.Written, ack, x.Arrived, x.lost(), x.Duplicates, order)
		if x.lost() > 0 {
			fmt.Fprintf(w, "          missing: %v\n", x.which)
		}
		if !x.silent {
			acked += x.Acked
			arrived += x.Arrived
		}
		lost += x.lost()
		twice += x.Duplicates
		around += x.around
		excused += x.excused
	}
	fmt.Fprintf(w, "\nacknowledged at the edge %d, arrived in the cloud %d, lost %d, duplicates %d (QoS 1 and TCP may have some after a crash; QoS 2 none)\n",
		acked, arrived, lost, twice)
	fmt.Fprintf(w, "serial lines written around the kill: %d, of which %d did not arrive. A raw device that waits for no ack can lose what it sends while the gateway is down.\n",
		around, excused)
	if r.strange > 0 {
		fmt.Fprintf(w, "arrived without having been sent: %d\n", r.strange)
	}
	if r.broken() {
		fmt.Fprint(w, "NOT KEPT: see above.\n\n")
	} else {
		fmt.Fprint(w, "Kept: every acknowledged message is in the cloud, in order; at QoS 2 exactly once.\n\n")
	}
}
