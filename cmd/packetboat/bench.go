package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"packetboat/broker/topic"
	"packetboat/cmd/packetboat/bench"
	"packetboat/config"
	"packetboat/gateway/quantity"
)

const benchHelp = `How many messages does this machine carry, with its card? Clients publish for some
seconds, each with -window messages in flight; a subscriber counts what arrives. It
prints how many were acknowledged a second and how long that took, what was lost,
came twice or out of order, and of the gateway of the configuration what CPU time
that cost and what it wrote to the disk.

  packetboat bench                                   100 devices, as fast as they can
  packetboat bench -clients 200 -rate 400 -for 5m    200 devices, 2 messages a second each
  packetboat bench disk                              how fast the disk below data_dir syncs

With -subscriber durable each message goes to the disk first, as one for a bridge does,
into a session that is ended afterwards; live has nothing stored; none counts
acknowledgements alone. Messages that a bridge would carry to the cloud are not
published, unless -yes is given. With -rate the times count from when a message was
due. Ctrl-C ends it early. The exit code is 1 when something was lost or refused.

disk [DIR] syncs records of 512 bytes, 4 KiB and 64 KiB, each by itself, in a file of
8 MiB in the data directory or DIR, which is removed, and says what that allows. A
gateway that runs may go on; each slows the other down.

` + reachHelp

// benchFlags are the flags of packetboat bench.
type benchFlags struct {
	*reachFlags
	clients, qos, size, window, rate *int
	topic, subscriber                *string
	time                             *time.Duration
	yes, json                        *bool
}

func benchCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	b := benchFlags{
		reachFlags: addReachFlags(f, "wait so long for what is in flight at the end; 0: 10s"),
		clients:    f.Int("clients", 100, "so `MANY` connections publish"),
		qos:        f.Int("qos", 1, "`QOS`: 0, 1 or 2"),
		size:       f.Int("size", 100, "`BYTES` of a payload, 24 at least"),
		window:     f.Int("window", 1, "`N` messages in flight for each connection, 1 to 1000"),
		rate:       f.Int("rate", 0, "`N` messages a second, of all connections; 0: as fast as they are acknowledged"),
		topic:      f.String("topic", "bench/{client}", "`TOPIC`; {client} is a number, {n} that of the message"),
		subscriber: f.String("subscriber", bench.Durable, "`KIND` of who counts arrivals: durable, live or none"),
		time:       f.Duration("for", 10*time.Second, "`TIME` to publish, or disk: to measure"),
		yes:        f.Bool("yes", false, "publish although a bridge carries it to the cloud"),
		json:       f.Bool("json", false, "JSON output"),
	}
	words, code, ok := e.parseWords(f, args)
	if !ok {
		return code
	}
	var failed bool
	var err error
	switch {
	case len(words) > 0 && words[0] == "disk":
		err = benchDisk(ctx, e, &b, words[1:])
	case len(words) > 1:
		err = &usageError{fmt.Errorf("unexpected argument %q", words[1])}
	default:
		failed, err = b.run(ctx, e, f, words)
	}
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(e.err, "packetboat bench: %v (packetboat help bench)\n", usage.err)
		return exitUsage
	case err != nil:
		return e.fail(err)
	case failed:
		return exitFailed
	}
	return exitFine
}

// check finds flags that are out of range.
func (b *benchFlags) check() error {
	within := func(name string, value, least, most int) error {
		if value < least || value > most {
			return fmt.Errorf("-%s must be from %d to %d", name, least, most)
		}
		return nil
	}
	err := errors.Join(
		within("clients", *b.clients, 1, 100000),
		within("qos", *b.qos, 0, 2),
		within("size", *b.size, bench.MinSize, 64<<20),
		within("window", *b.window, 1, 1000),
		within("rate", *b.rate, 0, 10_000_000),
	)
	t := bench.Topic(*b.topic)
	switch {
	case err != nil:
		return err
	case *b.time <= 0 || *b.time > 30*24*time.Hour:
		return errors.New("-for must be a time up to 720h")
	case !topic.ValidName(t.Of(1, 1)):
		return fmt.Errorf("-topic %q is no topic", *b.topic)
	case *b.subscriber != bench.Durable && *b.subscriber != bench.Live && *b.subscriber != bench.None:
		return fmt.Errorf("-subscriber %s: there are durable, live and none", *b.subscriber)
	}
	return nil
}

// run measures; failed: something was lost or refused.
func (b *benchFlags) run(ctx context.Context, e *env, f *flag.FlagSet, words []string) (failed bool, err error) {
	if err := b.check(); err != nil {
		return false, &usageError{err}
	}
	if err := b.at(words); err != nil {
		return false, &usageError{err}
	}
	dial, where, err := b.options(e, f)
	if err != nil {
		return false, err
	}
	if err := b.checkWhose(ctx); err != nil {
		return false, err
	}
	if err := b.stayHere(e, b.gateway, where); err != nil {
		return false, &usageError{err}
	}
	o := bench.Options{
		Dial: dial, Clients: *b.clients, QoS: byte(*b.qos), Size: *b.size, Window: *b.window, Rate: *b.rate,
		Topic: bench.Topic(*b.topic), For: *b.time, Drain: time.Duration(b.wait), Subscriber: *b.subscriber,
	}
	if o.Drain == 0 {
		o.Drain = 10 * time.Second
	}
	progress := newBenchProgress(e.err, &o)
	o.Progress = progress.show
	watch := watchGateway(ctx, b.gateway)
	defer watch.close()
	o.Settled = func() { watch.end(context.WithoutCancel(ctx), dial.Connect.ClientID) }
	if !*b.json {
		fmt.Fprintf(e.out, "to %s: %s\n", where, benchText(&o))
	}
	r, err := bench.Run(ctx, o)
	progress.end()
	switch {
	case ctx.Err() != nil && err != nil:
		return false, errors.New("stopped before the first message")
	case err != nil:
		return false, b.failed(where, err)
	}
	report := newBenchReport(&o, r, watch)
	if *b.json {
		return report.failed(), report.encode(e.out)
	}
	return report.failed(), report.print(e.out)
}

// at takes HOST:PORT: a listener of the gateway, or another broker.
func (b *benchFlags) at(words []string) error {
	if len(words) == 0 {
		return nil
	}
	if *b.url != "" || *b.listen != "" {
		return fmt.Errorf("%s and -url or -listener are two places", words[0])
	}
	if cfg, err := config.Load(*b.config, config.Options{}); err == nil {
		if _, err := pickListener(cfg, words[0]); err == nil {
			*b.listen = words[0]
			return nil
		}
	}
	*b.url = words[0]
	return nil
}

// stayHere refuses what a bridge would carry to the cloud.
func (b *benchFlags) stayHere(e *env, cfg *config.Config, where string) error {
	filter := bench.Topic(*b.topic).Filter()
	if cfg == nil {
		if !*b.yes {
			fmt.Fprintf(e.err, "packetboat bench: what becomes of messages to %s at %s is not known here: if that broker carries them to a cloud, end this (Ctrl-C) and give another -topic\n", filter, where)
		}
		return nil
	}
	carried := carriers(cfg, filter)
	switch {
	case len(carried) == 0:
		return nil
	case *b.yes:
		fmt.Fprintf(e.err, "packetboat bench: these messages go to the cloud: %s\n", strings.Join(carried, "; "))
		return nil
	}
	return fmt.Errorf("messages to %s would fill a queue for the cloud: %s; give a -topic that no rule of a bridge takes (packetboat route TOPIC says so), or -yes if the cloud is to get them",
		filter, strings.Join(carried, "; "))
}

// carriers are the rules of bridges that take a topic which the filter matches.
func carriers(cfg *config.Config, filter string) (rules []string) {
	for i := range cfg.Bridges {
		br := &cfg.Bridges[i]
		if !br.Enabled {
			continue
		}
		for j := range br.Up {
			if topic.Overlap(br.Up[j].Filter, filter) {
				rules = append(rules, fmt.Sprintf("bridge %s takes %s (%s)", br.Name, br.Up[j].Filter, cfg.At(fmt.Sprintf("bridge[%d].up[%d]", i, j))))
				break
			}
		}
	}
	return rules
}

// benchText is what is measured.
func benchText(o *bench.Options) string {
	how := "as fast as they are acknowledged"
	switch {
	case o.Rate > 0:
		how = quantity.Count(o.Rate, "message", "messages") + " a second"
	case o.QoS == 0:
		how = "as fast as they are taken"
	}
	who := map[string]string{bench.Durable: "each is stored for a session", bench.Live: "nothing is stored", bench.None: "nobody subscribes"}[o.Subscriber]
	if o.QoS == 0 && o.Subscriber == bench.Durable {
		who = "at QoS 0 nothing is stored for a session that is connected"
	}
	return fmt.Sprintf("%s, QoS %d, payloads of %d bytes, window %d, %s, for %v; %s", quantity.Count(o.Clients, "client", "clients"), o.QoS, o.Size, o.Window, how, o.For, who)
}

// benchProgress shows how it goes in one line, on a terminal.
type benchProgress struct {
	to   *os.File // nil: none
	o    *bench.Options
	last bench.Progress
}

func newBenchProgress(to *os.File, o *bench.Options) *benchProgress {
	if !terminal(to) {
		to = nil
	}
	return &benchProgress{to: to, o: o}
}

func (p *benchProgress) show(now bench.Progress) {
	took, done, was, what := (now.Elapsed - p.last.Elapsed).Seconds(), now.Acknowledged, p.last.Acknowledged, "acknowledged"
	if p.o.QoS == 0 {
		done, was, what = now.Sent, p.last.Sent, "sent"
	}
	p.last = now
	if p.to == nil || took <= 0 {
		return
	}
	line := fmt.Sprintf("%3.0f s  %s a second %s", now.Elapsed.Seconds(), perSecond(float64(done-was)/took), what)
	if p.o.QoS > 0 {
		line += ", " + quantiles(now.Acks)
	}
	if p.o.Subscriber != bench.None {
		line += fmt.Sprintf(", %d arrived", now.Arrived)
	}
	fmt.Fprint(p.to, "\r"+line+lineEnd)
}

// end clears the line.
func (p *benchProgress) end() {
	if p.to != nil {
		fmt.Fprint(p.to, "\r"+lineEnd)
	}
}
