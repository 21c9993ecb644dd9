package admin

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"packetboat/adapters"
	"packetboat/bridge"
	"packetboat/broker"
	"packetboat/broker/store"
	"packetboat/broker/users"
)

// Sources are what /metrics counts: the parts of a gateway, which know nothing of
// metrics.
type Sources struct {
	ID, Version string
	Broker      *broker.Broker
	Store       *store.Store
	Users       *users.Users
	Wear        func() *Wear
	Bridges     func() []*bridge.Bridge
	Adapters    func() []adapters.Adapter
}

// metrics is the handler of /metrics. Each answer reads the parts anew; nothing
// is counted twice, and nothing is kept.
type metrics struct {
	registry *prometheus.Registry
	log      *slog.Logger
	turn     turn // one answer at a time: they cost the same work again
}

func newMetrics(from Sources, log *slog.Logger) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), log: log}
	m.registry.MustRegister(collector{from, withEnded(from.Store, sumSessions(from.Store, func(string, *store.Lag) {}))}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// ServeHTTP answers in the text format of Prometheus.
func (m *metrics) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if !m.turn.take(r.Context()) {
		return
	}
	defer m.turn.give()
	families, err := m.registry.Gather()
	if err != nil {
		m.log.Error("not all metrics can be told", "error", err)
	}
	if len(families) == 0 {
		refuse(rw, http.StatusInternalServerError, errors.New("no metrics could be gathered; the log says why"))
		return
	}
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	rw.Header().Set("Content-Type", string(format))
	out := expfmt.NewEncoder(rw, format)
	for _, f := range families {
		if out.Encode(f) != nil {
			return // who asked is gone
		}
	}
}

// A row is a metric of one kind of part.
type row[T any] struct {
	name  string // "_total" at its end: a counter; else a gauge
	help  string
	value func(of *T) float64
}

// collect gives the rows' metrics of one part, with values for its labels.
func collect[T any](out chan<- prometheus.Metric, rows []row[T], of *T, labels []string, values ...string) {
	for i := range rows {
		r := &rows[i]
		kind := prometheus.GaugeValue
		if strings.HasSuffix(r.name, "_total") {
			kind = prometheus.CounterValue
		}
		desc := prometheus.NewDesc(r.name, r.help, labels, nil)
		out <- prometheus.MustNewConstMetric(desc, kind, r.value(of), values...)
	}
}

// collector gives what the parts count to Prometheus.
type collector struct {
	from Sources
	// Of the sessions when it was made. Their counters begin at 0 with each start:
	// those of sessions that ended in between are not known.
	before store.Lag
}

// Describe says nothing: bridges and queues come and go.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads the parts.
func (c collector) Collect(out chan<- prometheus.Metric) {
	collect(out, gatewayRows, &c.from, []string{"id", "version"}, strings.ToValidUTF8(c.from.ID, "?"), c.from.Version)
	b := c.from.Broker.Stats()
	collect(out, brokerRows, &b, nil)
	u := c.from.Users.Stats()
	collect(out, loginRows, &u, nil)
	s := storeState{Stats: c.from.Store.Stats(), failed: c.from.Store.Failed() != nil}
	collect(out, storeRows, &s, nil)
	w := c.from.Wear()
	collect(out, wearRows, w, nil)
	c.queues(out)
	for _, b := range c.from.Bridges() {
		s := bridgeState{Stats: b.Stats(), state: b.State(), dead: b.DeadLetters()}
		collect(out, bridgeRows, &s, []string{"bridge"}, b.Name())
	}
	for _, a := range c.from.Adapters() {
		s := a.Stats()
		collect(out, adapterRows, &s, []string{"adapter"}, a.Name())
	}
}

// allSessions stands for the queues of all clients' sessions: a label for each
// client would be more than Prometheus should keep.
const allSessions = "session/*"

// ofClients reports whether a queue is of the clients' sessions, or of shared
// subscriptions whose session has ended.
func ofClients(queue string) bool { return kind(queue) != "bridge" && kind(queue) != "adapter" }

// queues gives the ledgers.
func (c collector) queues(out chan<- prometheus.Metric) {
	sessions := sumSessions(c.from.Store, func(name string, l *store.Lag) { ledger(out, strings.ToValidUTF8(name, "?"), l) })
	ever := withEnded(c.from.Store, sessions)
	sessions.Accepted = ever.Accepted - min(c.before.Accepted, ever.Accepted)
	sessions.Delivered = ever.Delivered - min(c.before.Delivered, ever.Delivered)
	sessions.Lost = map[store.Reason]uint64{}
	for why, n := range ever.Lost {
		sessions.Lost[why] = n - min(c.before.Lost[why], n)
	}
	ledger(out, allSessions, &sessions)
}

// ledger gives that of a queue. What was not lost for a reason is given, too: what a
// counter begins with, Prometheus does not take for an increase.
func ledger(out chan<- prometheus.Metric, name string, l *store.Lag) {
	collect(out, queueRows, l, []string{"queue"}, name)
	for _, why := range store.Reasons() {
		collect(out, lossRow(l.Lost[why]), l, []string{"queue", "reason"}, name, why.String())
	}
}

// sumSessions is the sum of the ledgers of the clients' sessions; others is called
// with those of the other queues.
func sumSessions(s *store.Store, others func(name string, l *store.Lag)) (sum store.Lag) {
	for _, name := range s.Consumers() {
		c := s.Lookup(name)
		if c == nil {
			continue // it has just gone
		}
		if l := c.Lag(); ofClients(name) {
			sum.Add(&l)
		} else {
			others(name, &l)
		}
	}
	return sum
}

// withEnded is sum with the ledgers of the sessions that have ended since the start.
func withEnded(s *store.Store, sum store.Lag) store.Lag {
	ever := s.Ended()
	ever.Add(&sum)
	return ever
}
