package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"text/tabwriter"
	"time"

	"packetboat/config"
	"packetboat/gateway/admin"
)

const statusHelp = `It asks the gateway that runs, by its socket (admin.socket): is it flowing, what
waits, what was lost, what is wrong and what to do about it. The exit code is 1
when something is wrong, or when no gateway answers.
`

func statusCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	path := configFlag(f)
	asJSON := f.Bool("json", false, "JSON output")
	if code, ok := e.parse(f, args); !ok {
		return code
	}
	cfg, err := config.Load(*path, config.Options{})
	if err != nil {
		fmt.Fprintln(e.err, err)
		return exitUsage
	}
	c, err := dialGateway(ctx, cfg)
	if err != nil {
		return e.fail(err)
	}
	defer c.Close()
	st, err := c.Status(ctx)
	if err != nil {
		return e.fail(err)
	}
	q, err := c.Queues(ctx)
	if err != nil {
		return e.fail(err)
	}
	if *asJSON {
		err = json.NewEncoder(e.out).Encode(struct {
			*admin.Status
			*admin.Queues
		}{st, q})
	} else {
		err = printStatus(e.out, st, q)
	}
	if err != nil {
		return e.fail(err)
	}
	if len(st.Problems) > 0 {
		return exitFailed
	}
	return exitFine
}

func printStatus(out io.Writer, st *admin.Status, q *admin.Queues) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "gateway\t%s, packetboat %s, up %s\n", st.ID, st.Version, seconds(st.Uptime))
	fmt.Fprintf(w, "clients\t%d connected\n", st.Clients)
	if a := st.Adapters; a.Configured > 0 {
		fmt.Fprintf(w, "adapters\t%d of %d ready\n", a.Ready, a.Configured)
	}
	for _, b := range st.Bridges {
		fmt.Fprintf(w, "bridge %s\t%s, %d waiting", b.Name, b.State, b.Waiting)
		if b.Waiting > 0 {
			fmt.Fprintf(w, ", the oldest for %s", seconds(b.Oldest))
		}
		if b.DeadLetters > 0 {
			fmt.Fprintf(w, ", %d dead letters", b.DeadLetters)
		}
		fmt.Fprintln(w)
	}
	disk := fmt.Sprintf("%s in %s", mebibytes(st.Disk.Bytes), st.Disk.Dir)
	if st.Disk.MaxSize > 0 {
		disk = fmt.Sprintf("%s of %s in %s", mebibytes(st.Disk.Bytes), mebibytes(st.Disk.MaxSize), st.Disk.Dir)
	}
	fmt.Fprintf(w, "queue\t%s, slowest sync %s\n", disk, time.Duration(st.Disk.SlowestSync*float64(time.Second)).Round(100*time.Microsecond))
	fmt.Fprintf(w, "lost\t%s\n", lostText(lostInAll(q)))
	if err := w.Flush(); err != nil {
		return err
	}
	for i, p := range st.Problems {
		if i == 0 {
			fmt.Fprintln(out, "\nwhat is wrong:")
		}
		fmt.Fprintf(out, "  %s\n", p.What)
		if p.Remedy != "" {
			fmt.Fprintf(out, "    -> %s\n", p.Remedy)
		}
	}
	return nil
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

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
