package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"packetboat/cmd/packetboat/bench"
	"packetboat/gateway/quantity"
)

// benchReport is what packetboat bench has measured.
type benchReport struct {
	Clients int     `json:"clients"`
	QoS     byte    `json:"qos"`
	Size    int     `json:"payload_bytes"`
	Window  int     `json:"window"`
	Stored  bool    `json:"stored"`  // for a session, before it was acknowledged
	Seconds float64 `json:"seconds"` // from the first message to the last acknowledgement

	Sent         uint64            `json:"sent"`
	Acknowledged uint64            `json:"acknowledged"` // at QoS 0: none is
	Unanswered   uint64            `json:"unanswered"`
	Refused      map[string]uint64 `json:"refused,omitempty"`
	Rate         float64           `json:"messages_per_second"` // acknowledged; at QoS 0: sent
	BytesRate    float64           `json:"payload_bytes_per_second"`
	Acks         *benchTimes       `json:"acknowledged_after,omitempty"`

	Arrivals *benchArrivals  `json:"arrivals,omitempty"` // without a subscriber: not known
	Gateway  *benchedGateway `json:"gateway,omitempty"`  // not known of other brokers
	Unknown  string          `json:"gateway_unknown,omitempty"`

	Broken      map[string]uint64 `json:"broken_connections,omitempty"`
	Interrupted bool              `json:"interrupted,omitempty"`
	Left        bool              `json:"session_left,omitempty"`
}

// benchArrivals is what the subscriber has counted.
type benchArrivals struct {
	Arrived    uint64      `json:"arrived"`
	Lost       uint64      `json:"lost"` // acknowledged (QoS 0: sent), and did not arrive
	Twice      uint64      `json:"twice"`
	Disordered uint64      `json:"out_of_order"`
	After      *benchTimes `json:"after"`
}

// benchTimes are quantiles, in seconds.
type benchTimes struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
	hist *bench.Histogram
}

func timesOf(h *bench.Histogram) *benchTimes {
	if h.Count() == 0 {
		return nil
	}
	return &benchTimes{h.Quantile(0.5).Seconds(), h.Quantile(0.9).Seconds(), h.Quantile(0.99).Seconds(), h.Max().Seconds(), h}
}

func newBenchReport(o *bench.Options, r *bench.Result, w *gatewayWatch) *benchReport {
	b := &benchReport{
		Clients: o.Clients, QoS: o.QoS, Size: o.Size, Window: r.Window, Stored: o.Subscriber == bench.Durable && o.QoS > 0, Seconds: r.Elapsed.Seconds(),
		Sent: r.Sent, Acknowledged: r.Acknowledged, Unanswered: r.Unanswered, Refused: r.Refused, Acks: timesOf(r.Acks),
		Unknown: w.unknown, Broken: r.Broken, Interrupted: r.Interrupted, Left: r.SessionIsLeft,
	}
	done := b.done()
	if b.Seconds > 0 {
		b.Rate = float64(done) / b.Seconds
		b.BytesRate = b.Rate * float64(o.Size)
	}
	if r.Counted {
		b.Arrivals = &benchArrivals{r.Arrived, r.Missing, r.Twice, r.Disordered, timesOf(r.Deliveries)}
	}
	b.Gateway = w.figures(done)
	return b
}

// done is how many messages were carried.
func (b *benchReport) done() uint64 {
	if b.QoS == 0 {
		return b.Sent
	}
	return b.Acknowledged
}

// failed reports whether something did not go as the protocol promises.
func (b *benchReport) failed() bool {
	a := b.Arrivals
	return len(b.Refused) > 0 || b.Unanswered > 0 || len(b.Broken) > 0 ||
		a != nil && b.QoS > 0 && (a.Lost > 0 || a.Disordered > 0 || b.QoS == 2 && a.Twice > 0)
}

func (b *benchReport) encode(out io.Writer) error { return json.NewEncoder(out).Encode(b) }

func (b *benchReport) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if b.Interrupted {
		fmt.Fprintf(w, "stopped\tafter %.1f s\n", b.Seconds)
	}
	what := "acknowledged"
	if b.QoS == 0 {
		what = "sent"
	}
	fmt.Fprintf(w, "%s\t%s in %.1f s: %s a second, %s MB/s of payloads\n", what, quantity.Count(b.done(), "message", "messages"), b.Seconds, perSecond(b.Rate), megabytes(b.BytesRate))
	if b.Acks != nil {
		fmt.Fprintf(w, "  after\t%s\n", quantiles(b.Acks.hist))
	}
	for _, reason := range slices.Sorted(maps.Keys(b.Refused)) {
		fmt.Fprintf(w, "REFUSED\t%d: %s\n", b.Refused[reason], reason)
	}
	if b.Unanswered > 0 {
		fmt.Fprintf(w, "UNANSWERED\t%s: no acknowledgement came in time (-W), the broker may have it or not\n", quantity.Count(b.Unanswered, "message", "messages"))
	}
	b.printArrivals(w)
	if b.Gateway != nil {
		b.Gateway.print(w, b)
	}
	if b.Unknown != "" {
		fmt.Fprintf(w, "gateway\tits CPU time and writes are not known: %s\n", b.Unknown)
	}
	for _, reason := range slices.Sorted(maps.Keys(b.Broken)) {
		fmt.Fprintf(w, "BROKEN\t%s: %s\n", quantity.Count(b.Broken[reason], "connection", "connections"), visible(reason))
	}
	if b.Left {
		fmt.Fprintln(w, "session\tit could not be ended; packetboat clients lists it, and it ends by itself at MQTT 5")
	}
	return w.Flush()
}

func (b *benchReport) printArrivals(w io.Writer) {
	a := b.Arrivals
	if a == nil {
		return
	}
	fmt.Fprintf(w, "arrived\t%s\n", quantity.Count(a.Arrived, "message", "messages"))
	if a.After != nil {
		fmt.Fprintf(w, "  after\t%s\n", quantiles(a.After.hist))
	}
	lost := fmt.Sprint(a.Lost)
	if a.Lost > 0 && b.QoS > 0 {
		lost += " ACKNOWLEDGED MESSAGES"
	}
	fmt.Fprintf(w, "lost\t%s, twice %d, out of order %d\n", lost, a.Twice, a.Disordered)
}

// quantiles are the times that matter, in one line.
func quantiles(h *bench.Histogram) string {
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, max %s", quantity.Latency(h.Quantile(0.5)), quantity.Latency(h.Quantile(0.9)),
		quantity.Latency(h.Quantile(0.99)), quantity.Latency(h.Max()))
}

// perSecond has no more digits than matter.
func perSecond(r float64) string {
	if r < 100 {
		return fmt.Sprintf("%.1f", r)
	}
	return fmt.Sprintf("%.0f", r)
}

func megabytes(perSecond float64) string { return fmt.Sprintf("%.2f", perSecond/1e6) }

// benchedGateway is what a run has cost the gateway, all else that it did meanwhile
// included.
type benchedGateway struct {
	CPU     *float64          `json:"cpu_seconds,omitempty"`
	PerK    *float64          `json:"cpu_seconds_per_1000,omitempty"`
	Written uint64            `json:"written_bytes"`
	Syncs   uint64            `json:"syncs"`
	PerOne  float64           `json:"written_bytes_per_message"`
	Queued  map[string]uint64 `json:"queued_for_others,omitempty"` // by queue
	Lost    map[string]uint64 `json:"lost_by_the_session,omitempty"`
}

func (g *benchedGateway) print(w io.Writer, b *benchReport) {
	if g.PerK != nil {
		fmt.Fprintf(w, "CPU\t%s for 1,000 messages (%.1f s in all)\n", quantity.Latency(time.Duration(*g.PerK*float64(time.Second))), *g.CPU)
	}
	switch {
	case g.Syncs == 0:
		fmt.Fprintln(w, "disk\tnothing was written")
	case b.QoS == 0 || !b.Stored:
		fmt.Fprintf(w, "disk\t%s written for other purposes, %s\n", quantity.Bytes(g.Written), quantity.Count(g.Syncs, "sync", "syncs"))
	default:
		fmt.Fprintf(w, "disk\t%.0f bytes written for a message (%s in all), %s, %.1f messages each\n",
			g.PerOne, quantity.Bytes(g.Written), quantity.Count(g.Syncs, "sync", "syncs"), float64(b.done())/float64(g.Syncs))
	}
	for _, why := range slices.Sorted(maps.Keys(g.Lost)) {
		fmt.Fprintf(w, "  of the session\t%d %s: it holds as much as broker.max_session_messages and max_session_size say\n", g.Lost[why], why)
	}
	if len(g.Queued) > 0 {
		var others []string
		for _, q := range slices.Sorted(maps.Keys(g.Queued)) {
			others = append(others, fmt.Sprintf("%s %d", visible(q), g.Queued[q]))
		}
		fmt.Fprintf(w, "also queued\t%s (packetboat queue purge QUEUE -yes ends what waits there)\n", strings.Join(others, ", "))
	}
}
