package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"packetboat/gateway/admin"
	"packetboat/gateway/quantity"
)

const queueHelp = `  ls                 what waits for whom, since when, and what was lost
  tail QUEUE         the newest messages that wait (-n)
  export QUEUE       all messages that wait, as JSON Lines
  verify             read the whole log again and compare it with the ledgers
  rename OLD NEW     give a bridge's queue to a bridge of another name
  purge QUEUE        end everything that waits; what was purged is counted
  import QUEUE FILE  queue the messages of an export behind what waits; FILE may be
                     left out or "-" for the standard input
  replay QUEUE       have the dead letters in bridge/NAME/dead go to the cloud once
                     more, for when the rule or the permission is right now

A QUEUE is session/ID, bridge/NAME/LANE (the priority of its [[bridge.up]], 0 to
3), bridge/NAME/dead (what the cloud will not take, with the reason) or
adapter/NAME, as ls shows it. The gateway that runs is asked, by its socket
(admin.socket); when none runs, its data directory is read. -dir reads a directory
without a configuration and changes one that no gateway uses. rename is for
bridges that are not configured in the gateway that runs, or for one that is
stopped. "received_trusted": the gateway's clock was synchronised.

An import reads a file through before it begins, and queues nothing when a line is
wrong; -check does only that, without a gateway. What it says is queued is on the disk.
When it ends in the middle it says so, and the line to go on with, as -from: what it
was not told of any more, up to 1,000 messages, may then come twice, and none is lost.
With -json that line is in each line that it prints. Messages that have expired are
counted and left out. It never pushes out what waits: what does not fit below max_size
is refused. docs/maintenance.md has the way from a dead gateway to another one.
`

// queueFlags are the flags of packetboat queue.
type queueFlags struct {
	config *string
	dir    *string
	json   *bool
	n      *int
	yes    *bool
	all    *bool
	from   *int
	check  *bool
	into   string          // the queue that an import is for
	given  map[string]bool // the flags that are on the command line
}

// queueSource is where a queue is looked into: the gateway that runs, or a
// directory.
type queueSource interface {
	Queues(ctx context.Context) (*admin.Queues, error)
	Messages(ctx context.Context, queue string, last uint64, f func(m *admin.Message) error) error
	Verify(ctx context.Context, progress func(done, total int64)) (*admin.Verification, error)
	Rename(ctx context.Context, from, to string) ([]string, error)
	Purge(ctx context.Context, queue string) (uint64, error)
	Replay(ctx context.Context, queue string) (uint64, error)
	Import(ctx context.Context, b *admin.Batch) (admin.Imported, error)
	ResetBridge(ctx context.Context, name string) (admin.Reset, error)
}

// A queueVerb is what packetboat queue can do.
type queueVerb struct {
	name    string
	words   []string // that it takes
	may     string   // a word that may follow
	changes bool
	run     func(ctx context.Context, e *env, s queueSource, q *queueFlags, words []string) error
}

func queueVerbs() []queueVerb {
	return []queueVerb{
		{name: "ls", run: queueLs},
		{name: "tail", words: []string{"QUEUE"}, run: queueTail},
		{name: "export", words: []string{"QUEUE"}, run: queueExport},
		{name: "verify", run: queueVerify},
		{name: "rename", words: []string{"OLD", "NEW"}, changes: true, run: queueRename},
		{name: "purge", words: []string{"QUEUE"}, changes: true, run: queuePurge},
		{name: "replay", words: []string{"QUEUE"}, changes: true, run: queueReplay},
		{name: "import", words: []string{"QUEUE"}, may: "FILE", changes: true, run: queueImport},
	}
}

func queueCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	q := queueFlags{config: configFlag(f)}
	q.dir = f.String("dir", "", "data `DIRECTORY`, instead of the configuration's")
	q.json = f.Bool("json", false, "JSON output")
	q.n = f.Int("n", 10, "how many `MESSAGES` tail shows")
	q.all = f.Bool("all", false, "ls also shows queues that never had a message")
	q.yes = f.Bool("yes", false, "purge: do it although messages wait there")
	q.from = f.Int("from", 1, "import from this `LINE` of the file on")
	q.check = f.Bool("check", false, "import only reads the file and says what is wrong with it")
	name, rest := splitVerb(args)
	words, code, ok := e.parseWords(f, rest)
	if !ok {
		return code
	}
	verb, err := findVerb(name, words)
	if err != nil {
		fmt.Fprintf(e.err, "packetboat queue: %v (packetboat help queue)\n", err)
		return exitUsage
	}
	q.given = map[string]bool{}
	f.Visit(func(g *flag.Flag) { q.given[g.Name] = true })
	if verb.name == "import" && *q.check {
		if err := checkExport(ctx, e, &q, words); err != nil {
			return e.fail(err)
		}
		return exitFine
	}
	if verb.name == "import" {
		q.into = words[0]
	}
	s, err := openQueue(ctx, e, &q, verb.changes)
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(e.err, usage.err)
		return exitUsage
	}
	if err != nil {
		return e.fail(err)
	}
	if err := errors.Join(verb.run(s.ctx, e, s, &q, words), s.close()); err != nil {
		return e.fail(err)
	}
	return exitFine
}

// findVerb returns the verb called name if it takes so many words.
func findVerb(name string, words []string) (*queueVerb, error) {
	var usages []string
	for _, v := range queueVerbs() {
		usage := strings.Join(append([]string{v.name}, v.words...), " ")
		if v.may != "" {
			usage += " [" + v.may + "]"
		}
		usages = append(usages, usage)
		if v.name != name {
			continue
		}
		if n := len(words) - len(v.words); n != 0 && (n != 1 || v.may == "") {
			return nil, fmt.Errorf("usage: packetboat queue %s", usage)
		}
		return &v, nil
	}
	all := fmt.Sprintf("usage: packetboat queue %s", strings.Join(usages, " | "))
	if name != "" {
		all = fmt.Sprintf("there is no %q; %s", name, all)
	}
	return nil, errors.New(all)
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

func queueLs(ctx context.Context, e *env, s queueSource, q *queueFlags, _ []string) error {
	all, err := s.Queues(ctx)
	if err != nil {
		return err
	}
	unused := 0
	lines := all.Queues[:0]
	for _, l := range all.Queues {
		if l.Accepted == 0 && !*q.all {
			unused++
			continue
		}
		lines = append(lines, l)
	}
	all.Queues = lines
	if *q.json {
		return json.NewEncoder(e.out).Encode(all)
	}
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "QUEUE\tWAITING\tBYTES\tOLDEST\tACCEPTED\tDELIVERED\tLOST")
	for _, l := range lines {
		oldest := "-"
		if l.Messages > 0 {
			oldest = quantity.Seconds(l.Oldest)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%d\t%s\n", l.Queue, l.Messages, l.Bytes, oldest, l.Accepted, l.Delivered, lostText(l.Lost))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if unused > 0 {
		fmt.Fprintf(e.out, "(%d that never had a message: -all)\n", unused)
	}
	printGaps(e.out, all.Gaps)
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

const shownTopics = 5 // of a gap marker; -json has all

func printGaps(w io.Writer, gaps []admin.Gap) {
	for _, g := range gaps {
		queue := g.Queue
		if queue == "" {
			queue = "unknown queue"
		}
		fmt.Fprintf(w, "%s: %s %s, seq %d to %d, about %s, received %s to %s", queue, quantity.Count(g.Count, "message", "messages"), g.Reason, g.FirstSeq, g.LastSeq, quantity.Bytes(g.Bytes),
			g.From.Format(time.RFC3339), g.To.Format(time.RFC3339))
		if !g.Trusted {
			fmt.Fprint(w, " by a clock that was not synchronised")
		}
		fmt.Fprintln(w, topicsText(&g))
	}
}

func queueExport(ctx context.Context, e *env, s queueSource, _ *queueFlags, words []string) error {
	done := exportProgress(ctx, e, s, words[0])
	defer done(0)
	enc := json.NewEncoder(e.out)
	n := int64(0)
	return s.Messages(ctx, words[0], 0, func(m *admin.Message) error {
		n++
		done(n)
		return enc.Encode(m)
	})
}

// exportProgress shows how far an export into a file is; done(0) ends it.
func exportProgress(ctx context.Context, e *env, s queueSource, queue string) (done func(n int64)) {
	show := progressTo(e.err, "%d messages", 1)
	if show == nil || terminal(e.out) {
		return func(int64) {}
	}
	total := int64(0)
	if all, err := s.Queues(ctx); err == nil {
		for _, q := range all.Queues {
			if q.Queue == queue {
				total = int64(q.Messages)
			}
		}
	}
	return func(n int64) {
		if n == 0 {
			show(total, total)
		} else if n%1000 == 0 {
			show(min(n, total-1), total)
		}
	}
}

func queueTail(ctx context.Context, e *env, s queueSource, q *queueFlags, words []string) error {
	if *q.n <= 0 {
		return errors.New("-n: give a number above 0")
	}
	enc := json.NewEncoder(e.out)
	return s.Messages(ctx, words[0], uint64(*q.n), func(m *admin.Message) error { return enc.Encode(m) })
}

func queueVerify(ctx context.Context, e *env, s queueSource, q *queueFlags, _ []string) error {
	v, err := s.Verify(ctx, progressTo(e.err, "%d MiB", 1<<20))
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
	if !v.OK {
		return errors.New("the log and the ledgers do not agree, or bytes are damaged")
	}
	return nil
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// progressTo shows how far long work is, on a terminal only.
func progressTo(f *os.File, of string, unit int64) func(done, total int64) {
	if !terminal(f) {
		return nil
	}
	return func(done, total int64) {
		fmt.Fprintf(f, "\r%3d %% of "+of, done*100/max(total, 1), total/unit)
		if done >= total {
			fmt.Fprint(f, "\r\x1b[K")
		}
	}
}

func printVerification(w io.Writer, v *admin.Verification) {
	fmt.Fprintf(w, "segments %d, commits %d, message records %d, bytes %d\n", v.Segments, v.Commits, v.Messages, v.Bytes)
	for _, d := range v.Damage {
		what := "damaged"
		if d.AtEnd {
			what = "at the end cannot be read: an unfinished commit, of which nobody was told, or the last one damaged"
		}
		fmt.Fprintf(w, "%s, position %x: %s %s", d.File, d.Position, quantity.Bytes(d.Bytes), what)
		if d.Messages > 0 {
			fmt.Fprint(w, ", ", quantity.Count(d.Messages, "message", "messages"))
		}
		if !d.Received.IsZero() {
			fmt.Fprintf(w, "; the last message before: %s, received %s", d.Topic, d.Received.Format(time.RFC3339))
		}
		fmt.Fprintln(w)
	}
	for i := range v.Ledgers {
		l := &v.Ledgers[i]
		if l.Agrees {
			fmt.Fprintf(w, "%s: %d waiting, all there\n", l.Queue.Queue, l.Messages)
			continue
		}
		fmt.Fprintf(w, "%s: %d waiting by the ledger, %d in the log, missing %v\n", l.Queue.Queue, l.Messages, l.Found, l.Missing)
		if c := l.Log; c != nil {
			fmt.Fprintf(w, "  ledger: %d accepted, %d delivered, %s lost; the log gives %d accepted, %d delivered, %s lost, %d waiting\n",
				l.Accepted, l.Delivered, lostText(l.Lost), c.Accepted, c.Delivered, lostText(c.Lost), c.Messages)
		}
	}
	if !v.Derived {
		fmt.Fprintln(w, "only what waits was compared: the log before the snapshot that there is was freed, or cannot be read")
	}
}

func queueRename(ctx context.Context, e *env, s queueSource, _ *queueFlags, words []string) error {
	names, err := s.Rename(ctx, words[0], words[1])
	for _, n := range names {
		fmt.Fprintf(e.out, "renamed: %s\n", n)
	}
	return err
}

func queuePurge(ctx context.Context, e *env, s queueSource, q *queueFlags, words []string) error {
	if !*q.yes {
		all, err := s.Queues(ctx)
		if err != nil {
			return err
		}
		for _, x := range all.Queues {
			if x.Queue == words[0] && x.Messages > 0 {
				return fmt.Errorf("%s in %s; add -yes to end what waits", quantity.Count(x.Messages, "message waits", "messages wait"), words[0])
			}
		}
	}
	n, err := s.Purge(ctx, words[0])
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s: %s purged\n", words[0], quantity.Count(n, "message", "messages"))
	return nil
}

func queueReplay(ctx context.Context, e *env, s queueSource, _ *queueFlags, words []string) error {
	n, err := s.Replay(ctx, words[0])
	if n > 0 || err == nil {
		fmt.Fprintf(e.out, "%s: %s queued again\n", words[0], quantity.Count(n, "message", "messages"))
	}
	return err
}
