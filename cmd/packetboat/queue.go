package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"packetboat/broker/store"
	"packetboat/config"
)

const queueHelp = `  ls                 what waits for whom, since when, and what was lost
  tail QUEUE         the newest messages that wait (-n)
  export QUEUE       all messages that wait, as JSON Lines
  verify             read the whole log again and compare it with the ledgers
  rename OLD NEW     give a bridge's queue to a bridge of another name
  purge QUEUE        end everything that waits; what was purged is counted

A QUEUE is session/ID, bridge/NAME/LANE (the priority of its [[bridge.up]], 0 to
3) or adapter/NAME, as ls shows it. Reading changes nothing and may be done while
the gateway runs. It shows what is on the disk: what was delivered in the last 30
seconds may still count as waiting. rename and purge need the gateway stopped.
-dir reads a directory without a configuration. "received_trusted": the gateway's
clock was synchronised.
`

// queueFlags are the flags of packetboat queue.
type queueFlags struct {
	config *string
	dir    *string
	json   *bool
	n      *int
	yes    *bool
	all    *bool
}

func queueCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	q := queueFlags{config: configFlag(f)}
	q.dir = f.String("dir", "", "data `DIRECTORY`, instead of the configuration's")
	q.json = f.Bool("json", false, "JSON output")
	q.n = f.Int("n", 10, "how many `MESSAGES` tail shows")
	q.all = f.Bool("all", false, "ls also shows queues that never had a message")
	q.yes = f.Bool("yes", false, "purge without asking")
	verb, rest := splitVerb(args)
	words, code, ok := e.parseWords(f, rest)
	if !ok {
		return code
	}
	run, want := map[string]func(context.Context, *env, string, *queueFlags, []string) error{
		"ls": queueLs, "tail": queueTail, "export": queueExport, "verify": queueVerify, "rename": queueRename, "purge": queuePurge,
	}[verb], map[string]int{"tail": 1, "export": 1, "rename": 2, "purge": 1}[verb]
	if run == nil && verb != "" {
		fmt.Fprintf(e.err, "packetboat queue: there is no %q\n", verb)
	}
	if run == nil || len(words) != want {
		fmt.Fprintf(e.err, "packetboat queue: usage: packetboat queue ls | tail QUEUE | export QUEUE | verify | rename OLD NEW | purge QUEUE (packetboat help queue)\n")
		return exitUsage
	}
	dir := *q.dir
	if dir == "" {
		cfg, err := config.Load(*q.config, config.Options{})
		if err != nil {
			fmt.Fprintln(e.err, err)
			return exitUsage
		}
		dir = cfg.Gateway.DataDir
	}
	if err := run(ctx, e, dir, &q, words); err != nil {
		return e.fail(err)
	}
	return exitFine
}

// splitVerb takes the verb off the arguments.
func splitVerb(args []string) (verb string, rest []string) {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return "", args
	}
	return args[0], args[1:]
}

// parseWords reads flags and words in any order.
func (e *env) parseWords(f *flag.FlagSet, args []string) (words []string, code int, ok bool) {
	for {
		err := f.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			e.help(e.out, f)
			return nil, exitFine, false
		}
		if err != nil {
			fmt.Fprintf(e.err, "packetboat %s: %v\n", e.cmd.name, err)
			return nil, exitUsage, false
		}
		if f.NArg() == 0 {
			return words, exitFine, true
		}
		words, args = append(words, f.Arg(0)), f.Args()[1:]
	}
}

// queueLine is a line of ls.
type queueLine struct {
	Queue     string            `json:"queue"`
	Messages  uint64            `json:"messages"`
	Bytes     uint64            `json:"bytes"`
	Oldest    float64           `json:"oldest_seconds"`
	Accepted  uint64            `json:"accepted"`
	Delivered uint64            `json:"delivered"`
	Lost      map[string]uint64 `json:"lost,omitempty"`
}

func lineOf(name string, l store.Lag) queueLine {
	q := queueLine{name, l.Messages, l.Bytes, l.Oldest.Seconds(), l.Accepted, l.Delivered, nil}
	for why, n := range l.Lost {
		if q.Lost == nil {
			q.Lost = map[string]uint64{}
		}
		q.Lost[why.String()] = n
	}
	return q
}

func queueLs(_ context.Context, e *env, dir string, q *queueFlags, _ []string) error {
	s, err := store.OpenReadOnly(dir, store.Options{})
	if err != nil {
		return err
	}
	var lines []queueLine
	unused := 0
	for _, name := range s.Consumers() {
		l := s.Lookup(name).Lag()
		if l.Accepted == 0 && !*q.all {
			unused++
			continue
		}
		lines = append(lines, lineOf(name, l))
	}
	if *q.json {
		return json.NewEncoder(e.out).Encode(lines)
	}
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "QUEUE\tWAITING\tBYTES\tOLDEST\tACCEPTED\tDELIVERED\tLOST")
	for _, l := range lines {
		oldest := "-"
		if l.Messages > 0 {
			oldest = time.Duration(l.Oldest * float64(time.Second)).Round(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%d\t%s\n", l.Queue, l.Messages, l.Bytes, oldest, l.Accepted, l.Delivered, lostText(l.Lost))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if unused > 0 {
		fmt.Fprintf(e.out, "(%d that never had a message: -all)\n", unused)
	}
	for _, g := range s.Gaps() {
		fmt.Fprintf(e.out, "%s: %d messages %s, seq %d to %d, about %d bytes\n", g.Consumer, g.Count, g.Reason, g.FirstSeq, g.LastSeq, g.Bytes)
	}
	return nil
}

func lostText(lost map[string]uint64) string {
	if len(lost) == 0 {
		return "-"
	}
	var parts []string
	for why, n := range lost {
		parts = append(parts, fmt.Sprintf("%d %s", n, why))
	}
	sort.Strings(parts)
	return strings.Join(parts, ", ")
}

// exported is a message in JSON Lines.
type exported struct {
	Seq      uint64    `json:"seq"`
	Topic    string    `json:"topic"`
	QoS      byte      `json:"qos"`
	Retain   bool      `json:"retain,omitempty"`
	Received time.Time `json:"received"`
	Trusted  bool      `json:"received_trusted"` // the clock was synchronised
	Expiry   *uint32   `json:"expiry_seconds,omitempty"`
	Text     *string   `json:"text,omitempty"`
	Base64   []byte    `json:"base64,omitempty"` // a payload that is no text
}

func export(s *store.Store, d *store.Delivery) exported {
	x := exported{Seq: d.Seq, Topic: d.Topic, QoS: d.QoS, Retain: d.Retain}
	x.Received, x.Trusted = s.Wall(d.Received)
	if d.HasExpiry {
		expiry := d.Expiry
		x.Expiry = &expiry
	}
	if utf8.Valid(d.Payload) {
		text := string(d.Payload)
		x.Text = &text
	} else {
		x.Base64 = append([]byte(nil), d.Payload...)
	}
	return x
}

// each passes every message that waits in a queue to f, in order.
func each(ctx context.Context, dir, queue string, f func(s *store.Store, d *store.Delivery, left uint64) error) error {
	s, err := store.OpenReadOnly(dir, store.Options{})
	if err != nil {
		return err
	}
	c := s.Lookup(queue)
	if c == nil {
		return noQueue(s, queue)
	}
	before := c.Lag()
	var d store.Delivery
	for ctx.Err() == nil && c.TryNext(&d) {
		if !d.Released {
			if err := f(s, &d, c.Lag().Messages); err != nil {
				return err
			}
		}
		c.Done(d.Seq) // in memory only: the store was opened for reading
	}
	after := c.Lag()
	if n := after.Lost[store.Damaged] - before.Lost[store.Damaged]; n > 0 {
		return fmt.Errorf("%d of %d messages are damaged; those are not shown", n, before.Messages)
	}
	if after.Messages > 0 && ctx.Err() == nil {
		return fmt.Errorf("%d of %d messages could not be read; a running gateway may have sent them meanwhile", after.Messages, before.Messages)
	}
	return ctx.Err()
}

func queueExport(ctx context.Context, e *env, dir string, _ *queueFlags, words []string) error {
	enc := json.NewEncoder(e.out)
	return each(ctx, dir, words[0], func(s *store.Store, d *store.Delivery, _ uint64) error { return enc.Encode(export(s, d)) })
}

func queueTail(ctx context.Context, e *env, dir string, q *queueFlags, words []string) error {
	enc := json.NewEncoder(e.out)
	return each(ctx, dir, words[0], func(s *store.Store, d *store.Delivery, left uint64) error {
		if left > uint64(max(*q.n, 0)) {
			return nil
		}
		return enc.Encode(export(s, d))
	})
}

func queueVerify(ctx context.Context, e *env, dir string, q *queueFlags, _ []string) error {
	s, err := store.OpenReadOnly(dir, store.Options{})
	if err != nil {
		return err
	}
	v, err := s.Verify(ctx, progressTo(e.err))
	if err != nil {
		return err
	}
	if *q.json {
		if err := json.NewEncoder(e.out).Encode(v); err != nil {
			return err
		}
	} else {
		printVerification(e.out, v)
	}
	if !v.OK() {
		return errors.New("the log and the ledgers do not agree, or bytes are damaged")
	}
	return nil
}

// progressTo shows how far long work is, on a terminal only.
func progressTo(f *os.File) func(done, total int64) {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return func(done, total int64) {
		fmt.Fprintf(f, "\r%3d %% of %d MiB", done*100/max(total, 1), total>>20)
		if done >= total {
			fmt.Fprint(f, "\r\x1b[K")
		}
	}
}

func printVerification(w io.Writer, v *store.Verification) {
	fmt.Fprintf(w, "segments %d, commits %d, message records %d, bytes %d\n", v.Segments, v.Frames, v.Messages, v.Bytes)
	for _, d := range v.Damage {
		what := "damaged"
		if d.Torn {
			what = "unfinished commit at the end"
		}
		fmt.Fprintf(w, "%s: position %x, %d bytes %s\n", what, uint64(d.Pos), d.Bytes, d.File)
	}
	for i := range v.Ledgers {
		l := &v.Ledgers[i]
		if l.Agrees() {
			fmt.Fprintf(w, "%s: %d waiting, all there\n", l.Consumer, l.Lag.Messages)
			continue
		}
		fmt.Fprintf(w, "%s: %d waiting by the ledger, %d in the log, missing %v\n", l.Consumer, l.Lag.Messages, l.Found, l.Missing)
	}
}

// changeSegment is the size of the file that a change is written to: small, since
// a queue is purged when the disk is full.
const changeSegment = 64 << 10

// change opens the queue for writing and commits what f did. ctx ends f when the
// disk takes no writes.
func change(ctx context.Context, dir string, f func(ctx context.Context, s *store.Store) error) error {
	if err := holdsQueue(dir); err != nil {
		return err
	}
	s, err := store.Open(dir, store.Options{SegmentSize: changeSegment})
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("the gateway runs on %s; stop it first (systemctl stop packetboat)", dir)
	}
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(run) }()
	var watch sync.WaitGroup
	watch.Go(func() { stopWhenFailed(run, s, stop) })
	err = f(run, s)
	stop()
	watch.Wait()
	ended := <-done
	if ended != nil && ctx.Err() == nil && errors.Is(err, context.Canceled) {
		err = nil // the disk is why
	}
	return errors.Join(err, ended)
}

// stopWhenFailed ends the work when the disk takes no writes: a gateway tries
// again, a command tells.
func stopWhenFailed(ctx context.Context, s *store.Store, stop func()) {
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			if s.Failed() != nil {
				stop()
				return
			}
		}
	}
}

// holdsQueue refuses a directory in which opening for writing would begin a new
// queue: a mistyped -dir, say.
func holdsQueue(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext == ".log" || ext == ".snap" {
			return nil
		}
	}
	return fmt.Errorf("%s holds no queue", dir)
}

// noQueue says which queues there are instead of name.
func noQueue(s *store.Store, name string) error {
	names := s.Consumers()
	if len(names) == 0 {
		return fmt.Errorf("there is no queue %s, nor any other", name)
	}
	return fmt.Errorf("there is no queue %s; there are %s", name, strings.Join(names, ", "))
}

func queueRename(ctx context.Context, e *env, dir string, _ *queueFlags, words []string) error {
	from, to := words[0], words[1]
	return change(ctx, dir, func(_ context.Context, s *store.Store) error {
		n := 0
		for _, name := range s.Consumers() {
			rest, ok := strings.CutPrefix(name, from)
			if !ok || rest != "" && rest[0] != '/' {
				continue
			}
			if _, err := s.Rename(name, to+rest); err != nil {
				return err
			}
			fmt.Fprintf(e.out, "%s is now %s\n", name, to+rest)
			n++
		}
		if n == 0 {
			return noQueue(s, from)
		}
		// A session at the cloud belongs to the old name's client id; the next
		// connection finds out by its record, which goes along.
		oldName, isBridge := strings.CutPrefix(from, "bridge/")
		newName, toBridge := strings.CutPrefix(to, "bridge/")
		if isBridge && toBridge {
			moveKey(s, "upstream", oldName, newName)
			moveKey(s, "gaps", oldName, newName)
		}
		return nil
	})
}

// moveKey gives what is kept for one bridge to another.
func moveKey(s *store.Store, kind, from, to string) {
	if v, ok := s.Get(store.Key(kind, from)); ok {
		s.Set(store.Key(kind, to), v)
		s.Delete(store.Key(kind, from))
	}
}

func queuePurge(ctx context.Context, e *env, dir string, q *queueFlags, words []string) error {
	return change(ctx, dir, func(ctx context.Context, s *store.Store) error {
		c := s.Lookup(words[0])
		if c == nil {
			return noQueue(s, words[0])
		}
		if !*q.yes && c.Lag().Messages > 0 {
			return fmt.Errorf("%d messages wait in %s; add -yes to end them", c.Lag().Messages, words[0])
		}
		n, r := c.Purge()
		if err := s.Wait(ctx, r); err != nil {
			return err
		}
		fmt.Fprintf(e.out, "%s: %d messages purged\n", words[0], n)
		return nil
	})
}
