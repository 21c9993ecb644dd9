package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"packetboat/bridge"
	"packetboat/cmd/packetboat/bench"
	"packetboat/config"
	"packetboat/gateway"
	"packetboat/gateway/doctor"
	"packetboat/gateway/quantity"
)

// What packetboat bench disk writes.
const (
	benchFile    = 8 << 20 // as large as most segments
	judgedSyncs  = 1000    // of the smallest, whether the device may lie
	messageFrame = 160     // bytes of the log for a message of 100
)

var benchRecords = []int{512, 4 << 10, 64 << 10}

// diskReport is what it has measured.
type diskReport struct {
	Dir      string         `json:"dir"`
	Device   string         `json:"device"`
	Remedy   string         `json:"remedy,omitempty"`
	Interval float64        `json:"commit_interval_seconds"`
	Records  []syncsMeasure `json:"records"`
	Alone    float64        `json:"qos1_one_at_a_time_per_second"`
	Hundred  float64        `json:"qos1_100_publishers_per_second"`
	Stopped  bool           `json:"interrupted,omitempty"`

	outcome bridge.Outcome
}

// syncsMeasure are the syncs of one size.
type syncsMeasure struct {
	Bytes int     `json:"bytes"`
	Syncs uint64  `json:"syncs"`
	Rate  float64 `json:"syncs_per_second"`
	benchTimes
}

func (m *syncsMeasure) mean() float64 { return m.hist.Mean().Seconds() }

func benchDisk(ctx context.Context, e *env, b *benchFlags, words []string) error {
	if len(words) > 1 {
		return &usageError{fmt.Errorf("disk: one directory, not %q", words)}
	}
	if *b.time <= 0 || *b.time > time.Hour {
		return &usageError{errors.New("-for must be a time up to 1h")}
	}
	q, dir, err := b.diskOf(words)
	if err != nil {
		return &usageError{err}
	}
	if !*b.json {
		fmt.Fprintf(e.out, "syncs in %s, for %v\n", dir, *b.time)
	}
	r := &diskReport{Dir: dir, Interval: gateway.CommitInterval(q, dir).Seconds()}
	for _, size := range benchRecords {
		m, some, err := measureDisk(ctx, dir, size, *b.time/time.Duration(len(benchRecords)))
		if err != nil {
			return fmt.Errorf("measure the disk below %s: %w", dir, err)
		}
		r.Records = append(r.Records, m)
		if size == benchRecords[0] {
			f := doctor.JudgeSyncs(dir, some)
			r.Device, r.Remedy, r.outcome = f.Text, f.Remedy, f.Outcome
		}
		if r.Stopped = ctx.Err() != nil; r.Stopped {
			break
		}
	}
	r.translate()
	if *b.json {
		return json.NewEncoder(e.out).Encode(r)
	}
	return r.print(e.out)
}

// diskOf finds the directory, and how the queue there would commit.
func (b *benchFlags) diskOf(words []string) (q config.Queue, dir string, err error) {
	cfg, err := config.Load(*b.config, config.Options{})
	if err != nil {
		if len(words) == 0 {
			return q, "", fmt.Errorf("%w\nwithout a configuration, give the directory: packetboat bench disk DIR", err)
		}
		cfg = &config.Config{Queue: config.Queue{MaxSize: 1 << 30, CommitInterval: config.Auto}}
	}
	dir = cfg.Gateway.DataDir
	if len(words) == 1 {
		dir = words[0]
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return q, "", err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return q, "", fmt.Errorf("%s is no directory that is there; give one on the disk to be measured", dir)
	}
	return cfg.Queue, dir, nil
}

// measureDisk syncs records of a size for so long; some are the first that it took.
func measureDisk(ctx context.Context, dir string, size int, most time.Duration) (m syncsMeasure, some []time.Duration, err error) {
	h := new(bench.Histogram)
	sum := time.Duration(0)
	err = doctor.Syncs(ctx, dir, size, benchFile, func(took time.Duration) bool {
		h.Add(took)
		if len(some) < judgedSyncs {
			some = append(some, took)
		}
		sum += took
		return sum < most
	})
	if err != nil {
		return m, nil, err
	}
	return syncsMeasure{size, h.Count(), float64(h.Count()) / max(sum, 1).Seconds(), *timesOf(h)}, some, nil
}

// translate says what that allows: each acknowledgement waits for a sync. One
// publisher alone begins the next when the last has ended; of a hundred about
// half come into each, while the others wait for theirs to be taken up.
func (r *diskReport) translate() {
	small := r.Records[0].mean()
	r.Alone = 1 / max(small, r.Interval)
	at := small
	for i := 1; i < len(r.Records); i++ { // how long one with fifty messages takes
		a, b := &r.Records[i-1], &r.Records[i]
		if frame := 50 * messageFrame; frame <= b.Bytes {
			share := float64(frame-a.Bytes) / float64(b.Bytes-a.Bytes)
			at = math.Max(a.mean()+max(share, 0)*(b.mean()-a.mean()), small)
			break
		}
	}
	r.Hundred = 50 / at
	if r.Interval > at { // all have come when the next one may begin
		r.Hundred = 100 / r.Interval
	}
}

func (r *diskReport) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RECORD\tSYNCS/s\tMB/s\tP50\tP90\tP99\tMAX")
	for i := range r.Records {
		m := &r.Records[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", quantity.Bytes(m.Bytes), perSecond(m.Rate), megabytes(m.Rate*float64(m.Bytes)),
			quantity.Latency(m.hist.Quantile(0.5)), quantity.Latency(m.hist.Quantile(0.9)), quantity.Latency(m.hist.Quantile(0.99)), quantity.Latency(m.hist.Max()))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.Stopped {
		fmt.Fprintln(out, "stopped before all was measured")
	}
	fmt.Fprintf(out, "\n%s\n", visible(r.Device))
	if r.Remedy != "" {
		fmt.Fprintf(out, "  -> %s\n", visible(r.Remedy))
	}
	fmt.Fprintf(out, "\nQoS 1, messages of 100 bytes, as far as the disk goes; packetboat bench measures all of it:\n")
	if r.Interval > 0 {
		fmt.Fprintf(out, "  a sync each %v at most under load (queue.commit_interval; auto is 50ms on SD cards and eMMC)\n", time.Duration(r.Interval*float64(time.Second)))
	}
	fmt.Fprintf(out, "  one publisher, one message at a time: at most about %s acknowledgements a second\n", roughly(r.Alone))
	_, err := fmt.Fprintf(out, "  100 publishers, each so: at most about %s\n", roughly(r.Hundred))
	return err
}

// roughly has two digits: it is a forecast.
func roughly(r float64) string {
	if r < 10 {
		return fmt.Sprintf("%.1f", r)
	}
	unit := math.Pow(10, math.Floor(math.Log10(r))-1)
	return fmt.Sprintf("%.0f", math.Round(r/unit)*unit)
}
