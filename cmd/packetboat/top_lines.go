package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"packetboat/gateway/admin"
	"packetboat/gateway/quantity"
)

// shownQueues is how many queues top shows: those where most waits.
const shownQueues = 12

// topLines is the screen: what is, and rates since before, which may be empty.
func topLines(before, now view) []string {
	st := now.status
	clock := "clock NOT synchronised"
	if st.Clock.Synchronised {
		clock = "clock synchronised"
	}
	lines := []string{
		fmt.Sprintf("packetboat top: %s, %s, up %s; q ends", st.ID, now.at.Format(time.TimeOnly), quantity.Seconds(st.Uptime)),
		"",
		"flowing   " + flowText(st),
		fmt.Sprintf("clients   %d connected; adapters %d of %d ready; %s lost; %s", st.Clients, st.Adapters.Ready, st.Adapters.Configured, quantity.Count(st.Lost, "message", "messages"), clock),
		"queue     " + queueText(&st.Disk),
		"",
	}
	lines = append(lines, bridgeLines(before, now)...)
	lines = append(lines, queueLines(before, now)...)
	for i, p := range st.Problems {
		if i == 0 {
			lines = append(lines, "what is wrong:")
		}
		lines = append(lines, "  "+p.What)
		if p.Remedy != "" {
			lines = append(lines, "    -> "+p.Remedy)
		}
	}
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func bridgeLines(before, now view) []string {
	if len(now.bridges.Bridges) == 0 {
		return nil
	}
	was := map[string]*admin.BridgeDetails{}
	if before.bridges != nil {
		for i := range before.bridges.Bridges {
			was[before.bridges.Bridges[i].Name] = &before.bridges.Bridges[i]
		}
	}
	short := map[string]*admin.Bridge{}
	for i := range now.status.Bridges {
		short[now.status.Bridges[i].Name] = &now.status.Bridges[i]
	}
	return table("BRIDGE\tSTATE\tFOR\tWAITING\tIN/s\tOUT/s\tDOWN/s\tIN FLIGHT\tDRAINED IN\tSERVER", func(row func(cells ...string)) {
		for i := range now.bridges.Bridges {
			b := &now.bridges.Bridges[i]
			waiting, accepted := sums(b)
			since, drained := "-", "-"
			if s := short[b.Name]; s != nil {
				if !s.Since.IsZero() {
					since = ago(now.status.Clock.Now, s.Since)
				}
				if s.DrainedIn != nil && waiting > 0 {
					drained = quantity.About(*s.DrainedIn)
				}
			}
			in, out, down := "-", "-", "-"
			if w := was[b.Name]; w != nil {
				took := now.at.Sub(before.at)
				_, then := sums(w)
				in = rate(then, accepted, took)
				out, down = rate(w.Counters.Acked, b.Counters.Acked, took), rate(w.Counters.Received, b.Counters.Received, took)
			}
			row(b.Name, b.State, since, fmt.Sprint(waiting), in, out, down, fmt.Sprint(b.InFlight), drained, b.Server)
		}
	})
}

// sums are those over the lanes of a bridge.
func sums(b *admin.BridgeDetails) (waiting, accepted uint64) {
	for _, l := range b.Lanes {
		waiting += l.Messages
		accepted += l.Accepted
	}
	return waiting, accepted
}

func queueLines(before, now view) []string {
	was := map[string]admin.Queue{}
	if before.queues != nil {
		for _, q := range before.queues.Queues {
			was[q.Queue] = q
		}
	}
	all := slices.DeleteFunc(slices.Clone(now.queues.Queues), func(q admin.Queue) bool { return q.Accepted == 0 })
	slices.SortStableFunc(all, func(a, b admin.Queue) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), strings.Compare(a.Queue, b.Queue))
	})
	if len(all) == 0 {
		return nil
	}
	lines := table("QUEUE\tWAITING\tSIZE\tOLDEST\tIN/s\tOUT/s\tLOST", func(row func(cells ...string)) {
		for _, q := range all[:min(len(all), shownQueues)] {
			in, out, oldest := "-", "-", "-"
			if w, ok := was[q.Queue]; ok {
				took := now.at.Sub(before.at)
				in, out = rate(w.Accepted, q.Accepted, took), rate(w.Delivered, q.Delivered, took)
			}
			if q.Messages > 0 {
				oldest = quantity.Seconds(q.Oldest)
			}
			lost := uint64(0)
			for _, n := range q.Lost {
				lost += n
			}
			row(q.Queue, fmt.Sprint(q.Messages), quantity.Bytes(q.Bytes), oldest, in, out, fmt.Sprint(lost))
		}
	})
	if more := len(all) - shownQueues; more > 0 {
		lines = append(lines[:len(lines)-1], fmt.Sprintf("and %d more (packetboat queue ls)", more), "")
	}
	return lines
}

// table lines columns up; an empty line ends it.
func table(head string, fill func(row func(cells ...string))) []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	fill(func(cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) })
	_ = w.Flush() // a strings.Builder takes everything
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return append(lines, "")
}

// rate is how many a second; counters that began anew say nothing.
func rate(before, now uint64, took time.Duration) string {
	if now < before || took <= 0 {
		return "-"
	}
	r := float64(now-before) / took.Seconds()
	if r >= 100 || r == 0 {
		return fmt.Sprintf("%.0f", r)
	}
	return fmt.Sprintf("%.1f", r)
}
