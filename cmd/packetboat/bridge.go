package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"packetboat/config"
	"packetboat/gateway/admin"
	"packetboat/gateway/quantity"
)

const bridgeHelp = `  ls                 each bridge: connected or not and since when, the last error,
                     what waits per lane, counters
  reset NAME         begin a new session at the cloud with the next connection, once

ls asks the gateway that runs, by its socket (admin.socket); what waits for the
bridges of one that is stopped, packetboat queue ls shows.

reset is for a data directory that is older than the session at the cloud: one
restored from a backup, or on a copied SD card. Packet identifiers mean something
only together with what the queue remembers; an old queue in a newer session has
the cloud take new messages for repeats and drop them. Nothing of the queue is
lost. What had been in flight goes again as new: at most one window (bridge.inflight)
may arrive twice, QoS 2 included; commands that wait in the session at the cloud
go with it. A bridge that runs is disconnected and connects again; when no gateway
runs, its data directory is changed (-dir: one without a configuration). After a
restore, reset before the first start.
`

const bridgeUsage = "packetboat bridge ls | reset NAME"

func bridgeCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	q := queueFlags{config: configFlag(f)}
	q.dir = f.String("dir", "", "reset: data `DIRECTORY` of a stopped gateway, instead of the configuration's")
	q.json = f.Bool("json", false, "JSON output")
	verb, rest := splitVerb(args)
	words, code, ok := e.parseWords(f, rest)
	if !ok {
		return code
	}
	var err error
	switch {
	case verb == "ls" && len(words) == 0:
		err = bridgeLs(ctx, e, &q)
	case verb == "reset" && len(words) == 1:
		err = bridgeReset(ctx, e, &q, words[0])
	default:
		fmt.Fprintf(e.err, "packetboat bridge: usage: %s (packetboat help bridge)\n", bridgeUsage)
		return exitUsage
	}
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(e.err, usage.err)
		return exitUsage
	}
	if err != nil {
		return e.fail(err)
	}
	return exitFine
}

func bridgeLs(ctx context.Context, e *env, q *queueFlags) error {
	if *q.dir != "" {
		return &usageError{errors.New("packetboat bridge: ls asks the gateway that runs; for a directory there is packetboat queue ls -dir")}
	}
	cfg, err := config.Load(*q.config, config.Options{})
	if err != nil {
		return &usageError{err}
	}
	c, err := dialGateway(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	all, err := c.Bridges(ctx)
	if err != nil {
		return err
	}
	if *q.json {
		return json.NewEncoder(e.out).Encode(all)
	}
	return printBridges(e.out, all.Bridges, time.Now())
}

// printBridges shows each bridge in a paragraph.
func printBridges(out io.Writer, list []admin.BridgeDetails, now time.Time) error {
	if len(list) == 0 {
		fmt.Fprintln(out, "no bridge is configured, or none is enabled")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i := range list {
		b := &list[i]
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s\t%s", b.Name, b.State)
		if b.Server != "" {
			fmt.Fprintf(w, ", %s", b.Server)
		}
		if !b.Since.IsZero() {
			fmt.Fprintf(w, ", for %s", ago(now, b.Since))
		}
		if !b.NextAttempt.IsZero() {
			fmt.Fprintf(w, ", next attempt in %s", ago(b.NextAttempt, now))
		}
		fmt.Fprintln(w)
		if b.Error != "" {
			fmt.Fprintf(w, "  last error\t%s, %s ago: %s\n", b.ErrorAt.Format(time.RFC3339), ago(now, b.ErrorAt), strings.ReplaceAll(b.Error, "\n", "; "))
		}
		for lane, l := range b.Lanes {
			if l.Messages > 0 {
				fmt.Fprintf(w, "  lane %d\t%d waiting, %s, the oldest for %s\n", lane, l.Messages, quantity.Bytes(l.Bytes), quantity.Seconds(l.Oldest))
			}
		}
		if b.Left > 0 {
			fmt.Fprintf(w, "  drain\t%.0f messages a second, done in %s if nothing comes in\n", b.Rate, quantity.Seconds(b.Left))
		}
		if b.DeadLetters > 0 {
			fmt.Fprintf(w, "  dead letters\t%d: packetboat queue tail bridge/%s/dead says why\n", b.DeadLetters, b.Name)
		}
		n := &b.Counters
		fmt.Fprintf(w, "  up\t%d sent (%d again), %d acknowledged, %d in flight, %s\n", n.Sent, n.Resent, n.Acked, b.InFlight, quantity.Bytes(n.BytesOut))
		fmt.Fprintf(w, "  down\t%d received (%d taken by no rule, %d that came back from here), %s\n", n.Received, n.Unmatched, n.Looped, quantity.Bytes(n.BytesIn))
		fmt.Fprintf(w, "  connections\t%d, %d of them again, %s the cloud had forgotten the session\n", n.Connects, n.Reconnects, quantity.Count(n.SessionsLost, "time", "times"))
	}
	return w.Flush()
}

// ago is the time from then to now, as people read it.
func ago(now, then time.Time) string { return quantity.Duration(now.Sub(then)) }

func bridgeReset(ctx context.Context, e *env, q *queueFlags, name string) error {
	s, err := openQueue(ctx, e, q, true)
	if err != nil {
		return err
	}
	did, err := s.ResetBridge(s.ctx, name)
	if err := errors.Join(err, s.close()); err != nil {
		return err
	}
	if *q.json {
		return json.NewEncoder(e.out).Encode(did)
	}
	had := "the session at the cloud is given up"
	if !did.HadSession {
		had = "no session at the cloud was on record"
	}
	fmt.Fprintf(e.out, "%s: %s; the next connection begins a new one\n%s, none is lost; what had been in flight, at most one window (inflight), goes again and may arrive twice\n",
		name, had, quantity.Count(did.Waiting, "message waits", "messages wait"))
	return nil
}
