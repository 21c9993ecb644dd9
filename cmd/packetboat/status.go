package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"text/tabwriter"
	"time"

	"packetboat/gateway/admin"
	"packetboat/gateway/quantity"
)

const statusHelp = `It asks the gateway that runs, by its socket (admin.socket): is it flowing, what
waits and since when, how long there is room and when it has drained at the rate of
the last minute, what was lost, what is wrong and what to do about it. The exit code
is 1 when something is wrong, or when no gateway answers. packetboat doctor looks
for causes itself, also when no gateway runs.
`

func statusCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	path := configFlag(f)
	asJSON := f.Bool("json", false, "JSON output")
	if code, ok := e.parse(f, args); !ok {
		return code
	}
	wrong := false
	code := e.asking(ctx, *path, func(c *admin.Client) error {
		st, err := c.Status(ctx)
		if err != nil {
			return err
		}
		q, err := c.Queues(ctx)
		if err != nil {
			return err
		}
		wrong = len(st.Problems) > 0
		if *asJSON {
			return json.NewEncoder(e.out).Encode(struct {
				*admin.Status
				*admin.Queues
			}{st, q})
		}
		return printStatus(e.out, st, q)
	})
	if code == exitFine && wrong {
		return exitFailed
	}
	return code
}

// printStatus shows one screen: is it flowing, what waits and since when, for how
// long there is room, what was lost, what is wrong and what to do.
func printStatus(out io.Writer, st *admin.Status, q *admin.Queues) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	now := st.Clock.Now
	fmt.Fprintf(w, "flowing\t%s\n", flowText(st))
	fmt.Fprintf(w, "gateway\t%s, packetboat %s, up %s\n", st.ID, st.Version, quantity.Seconds(st.Uptime))
	for i := range st.Bridges {
		fmt.Fprintf(w, "bridge %s\t%s\n", st.Bridges[i].Name, bridgeText(&st.Bridges[i], now))
	}
	if a := st.Adapters; a.Configured > 0 {
		fmt.Fprintf(w, "adapters\t%d of %d ready\n", a.Ready, a.Configured)
	}
	fmt.Fprintf(w, "clients\t%d connected\n", st.Clients)
	fmt.Fprintf(w, "queue\t%s\n", queueText(&st.Disk))
	fmt.Fprintf(w, "lost\t%s\n", lostText(lostInAll(q)))
	if g := newestGap(q.Gaps); g != nil {
		fmt.Fprintf(w, "newest loss\t%s\n", visible(gapText(g)))
	}
	if st.Clock.Synchronised {
		fmt.Fprintf(w, "clock\t%s, synchronised\n", now.Format(time.RFC3339))
	} else {
		fmt.Fprintf(w, "clock\t%s, NOT synchronised: times may be wrong (timedatectl)\n", now.Format(time.RFC3339))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i, p := range st.Problems {
		if i == 0 {
			fmt.Fprintln(out, "\nwhat is wrong:")
		}
		fmt.Fprintf(out, "  %s\n", visible(p.What))
		if p.Remedy != "" {
			fmt.Fprintf(out, "    -> %s\n", visible(p.Remedy))
		}
	}
	return nil
}

// flowText answers the first question.
func flowText(st *admin.Status) string {
	waiting, oldest := uint64(0), 0.0
	for i := range st.Bridges {
		waiting += st.Bridges[i].Waiting
		oldest = max(oldest, st.Bridges[i].Oldest)
	}
	waits := "nothing waits"
	if waiting > 0 {
		waits = fmt.Sprintf("%s, the oldest for %s", quantity.Count(waiting, "message waits", "messages wait"), quantity.Seconds(oldest))
	}
	switch {
	case st.Flowing == admin.FlowYes && len(st.Bridges) == 0:
		return "yes, between the devices here; no bridge is configured"
	case st.Flowing == admin.FlowYes:
		return "yes, " + waits
	case st.Flowing == admin.FlowPartly:
		return "partly: " + waits
	}
	return "NO: " + waits
}

// bridgeText is a bridge in one line.
func bridgeText(b *admin.Bridge, now time.Time) string {
	text := b.State
	if !b.Since.IsZero() {
		since := fmt.Sprintf(" for %s", ago(now, b.Since))
		if b.State != "online" && b.State != "stalled" {
			since = fmt.Sprintf(", not connected since %s (%s)", b.Since.Local().Format(time.DateTime), ago(now, b.Since))
		}
		text += since
	}
	text += fmt.Sprintf(", %d waiting", b.Waiting)
	if b.Waiting > 0 {
		text += ", the oldest for " + quantity.Seconds(b.Oldest)
		if b.DrainedIn != nil {
			text += ", drained in " + quantity.About(*b.DrainedIn)
		}
	}
	if b.DeadLetters > 0 {
		text += ", " + quantity.Count(b.DeadLetters, "dead letter", "dead letters")
	}
	return text
}

// queueText is the disk queue in one line.
func queueText(d *admin.Disk) string {
	text := quantity.Bytes(d.Bytes)
	if d.MaxSize > 0 {
		text += " of " + quantity.Bytes(d.MaxSize)
	}
	text += " in " + d.Dir
	switch {
	case d.FullIn != nil && *d.FullIn < 1:
		text += ", FULL"
	case d.FullIn != nil:
		text += ", full in " + quantity.About(*d.FullIn)
	}
	if d.FreeBytes >= 0 {
		text += fmt.Sprintf(", %s free on the disk", quantity.Bytes(d.FreeBytes))
	}
	return text + ", slowest sync " + quantity.Latency(time.Duration(d.SlowestSync*float64(time.Second)))
}

// newestGap is the one whose messages came last; nil for none.
func newestGap(gaps []admin.Gap) (newest *admin.Gap) {
	for i := range gaps {
		if newest == nil || !gaps[i].To.Before(newest.To) {
			newest = &gaps[i]
		}
	}
	return newest
}

// gapText is a gap in one line.
func gapText(g *admin.Gap) string {
	queue := g.Queue
	if queue == "" {
		queue = "unknown queue"
	}
	text := fmt.Sprintf("%d %s (%s), received %s to %s", g.Count, g.Reason, queue, g.From.Local().Format(time.DateTime), g.To.Local().Format(time.DateTime))
	if !g.Trusted {
		text += " by a clock that was not synchronised"
	}
	return text + topicsText(g)
}

// topicsText are the topics of a gap with their counts; an ellipsis says that these
// are not all.
func topicsText(g *admin.Gap) (text string) {
	for _, t := range g.Topics[:min(len(g.Topics), shownTopics)] {
		text += fmt.Sprintf(", %s %d", t.Topic, t.Count)
	}
	if g.More || len(g.Topics) > shownTopics {
		text += ", …"
	}
	return text
}

// lostInAll adds up what was lost, by kind of queue and reason.
func lostInAll(q *admin.Queues) map[string]uint64 {
	sum := map[string]uint64{}
	sort.Slice(q.Queues, func(i, j int) bool { return q.Queues[i].Queue < q.Queues[j].Queue })
	for _, l := range q.Queues {
		for why, n := range l.Lost {
			sum[why+" ("+l.Queue+")"] += n
		}
	}
	return sum
}
