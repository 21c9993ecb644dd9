// Package admin is the way in for operators: a small versioned HTTP API with JSON
// over a unix socket, its client, and what both do with the disk queue. The
// command line uses the same operations on the directory of a gateway that is
// stopped. A Web offers the API over the network, too, with metrics, health and a
// dashboard.
//
//	GET  /v1/status                       how the gateway is
//	GET  /v1/queues                       ledgers and gap markers
//	GET  /v1/messages?queue=NAME&last=N   what waits, as JSON Lines; last=0: all
//	POST /v1/verify                       the log against the ledgers, with progress, as JSON Lines
//	POST /v1/rename {"from": "", "to": ""}
//	POST /v1/purge  {"queue": ""}
//	POST /v1/replay {"queue": ""}        dead letters go to the cloud once more
//	POST /v1/import?queue=NAME&import=ID  messages of an export, as JSON Lines, behind what waits
//	POST /v1/reload                       read the configuration again
//	GET  /v1/bridges                      the bridges in full: state, lanes, counters
//	POST /v1/bridges/reset {"bridge": ""} begin a new session at the cloud, once
//	GET  /v1/clients?match=PART&limit=N   who is connected, and whose sessions wait
//	POST /v1/clients/kick {"client": ""}  end the connection of a client
//	GET  /v1/adapters                     the adapters in full, with the last frames and errors
//	GET  /v1/topics?match=PART&limit=N    the latest values of topics; it begins to look when asked
//	GET  /v1/history?last=N               a day in samples, or the newest N: the queue, rates, what waits for bridges
//	GET  /v1/log?last=N                   the last lines of the log
//	GET  /v1/config                       the configuration, its keys and what they mean
//	GET  /v1/wear                         what was written to the disk, by day
//	GET  /v1/events                       the state once a second and new lines of the log, as server-sent events
//
// An error is an object with the field "error", with a status of 400 and more or,
// where lines were sent already, as the last line.
package admin

import (
	"time"

	"packetboat/broker/store"
)

// Queues is what waits for whom, and what was lost.
type Queues struct {
	Queues []Queue `json:"queues"`
	Gaps   []Gap   `json:"gaps"`
}

// Queue is the ledger of one: accepted = delivered + messages + the sum of lost.
type Queue struct {
	Queue     string            `json:"queue"`
	Messages  uint64            `json:"messages"`
	Bytes     uint64            `json:"bytes"` // about
	Oldest    float64           `json:"oldest_seconds"`
	Accepted  uint64            `json:"accepted"`
	Delivered uint64            `json:"delivered"`
	Lost      map[string]uint64 `json:"lost,omitempty"` // by reason
}

// QueueOf is the ledger of a queue as the store gives it.
func QueueOf(name string, l store.Lag) Queue {
	q := Queue{Queue: name, Messages: l.Messages, Bytes: l.Bytes, Oldest: l.Oldest.Seconds(), Accepted: l.Accepted, Delivered: l.Delivered}
	for why, n := range l.Lost {
		if q.Lost == nil {
			q.Lost = map[string]uint64{}
		}
		q.Lost[why.String()] = n
	}
	return q
}

// Gap is a gap marker: messages that a queue did not get.
type Gap struct {
	Queue    string       `json:"queue"` // "" = unknown: the bytes that would say are damaged
	Reason   string       `json:"reason"`
	Count    uint64       `json:"count"`
	Bytes    uint64       `json:"bytes"` // about
	From     time.Time    `json:"from"`  // received
	To       time.Time    `json:"to"`
	Trusted  bool         `json:"times_trusted"` // the clock was synchronised
	FirstSeq uint64       `json:"first_seq"`
	LastSeq  uint64       `json:"last_seq"`
	Topics   []TopicCount `json:"topics"`
	More     bool         `json:"more,omitempty"` // not all topics are known
}

// TopicCount is how many messages of a gap had a topic.
type TopicCount struct {
	Topic string `json:"topic"`
	Count uint64 `json:"count"`
}

func gapOf(s *store.Store, g *store.Gap) Gap {
	out := Gap{Queue: g.Consumer, Reason: g.Reason.String(), Count: g.Count, Bytes: g.Bytes, FirstSeq: g.FirstSeq, LastSeq: g.LastSeq, Topics: []TopicCount{}}
	from, ok1 := s.Wall(g.From)
	to, ok2 := s.Wall(g.To)
	out.From, out.To, out.Trusted = from.UTC(), to.UTC(), ok1 && ok2
	sum := uint64(0)
	for _, t := range g.Topics {
		out.Topics = append(out.Topics, TopicCount(t))
		sum += t.Count
	}
	out.More = sum < g.Count
	return out
}

// Verification is what reading the whole log again has shown.
type Verification struct {
	OK       bool          `json:"ok"`
	Segments int           `json:"segments"`
	Commits  uint64        `json:"commits"`
	Messages uint64        `json:"messages"` // records of messages, all copies
	Bytes    int64         `json:"bytes"`
	Derived  bool          `json:"derived"` // the counts were worked out from the log and compared
	Damage   []Damage      `json:"damage,omitempty"`
	Ledgers  []LedgerCheck `json:"ledgers"`
}

// Damage is a place of the log that cannot be read.
type Damage struct {
	File     string    `json:"file"`
	Position uint64    `json:"position"`
	Bytes    int64     `json:"bytes"`
	Messages uint64    `json:"messages,omitempty"` // in it, where the next frame proves it
	AtEnd    bool      `json:"at_end,omitempty"`   // of the log: an unfinished commit, or the last one damaged
	Topic    string    `json:"last_topic_before,omitempty"`
	Received time.Time `json:"last_received_before,omitzero"` // the last message before it
}

// LedgerCheck compares the ledger of a queue with the log.
type LedgerCheck struct {
	Queue
	Agrees  bool             `json:"agrees"`
	Found   uint64           `json:"found"` // of those that wait, in the log
	Missing []store.SeqRange `json:"missing,omitempty"`
	Log     *Queue           `json:"log,omitempty"` // the counts that the log gives, if others
}

func verificationOf(s *store.Store, v *store.Verification) *Verification {
	out := &Verification{OK: v.OK(), Segments: v.Segments, Commits: v.Frames, Messages: v.Messages, Bytes: v.Bytes, Derived: v.Derived, Ledgers: []LedgerCheck{}}
	out.Damage = damagesOf(s, v.Damage)
	for i := range v.Ledgers {
		l := &v.Ledgers[i]
		c := LedgerCheck{Queue: QueueOf(l.Consumer, l.Lag), Agrees: l.Agrees(), Found: l.Found, Missing: l.Missing}
		if l.Counts != nil {
			q := QueueOf(l.Consumer, *l.Counts)
			c.Log = &q
		}
		out.Ledgers = append(out.Ledgers, c)
	}
	return out
}

func damagesOf(s *store.Store, list []store.Damage) []Damage {
	var out []Damage
	for i := range list {
		d := &list[i]
		x := Damage{File: d.File, Position: uint64(d.Pos), Bytes: d.Bytes, Messages: d.Messages, AtEnd: d.Torn, Topic: d.LastTopic}
		if !d.LastReceived.IsZero() {
			at, _ := s.Wall(d.LastReceived)
			x.Received = at.UTC()
		}
		out = append(out, x)
	}
	return out
}

// Status is how the gateway is, on one screen.
type Status struct {
	ID       string    `json:"id"`
	Version  string    `json:"version"`
	Uptime   float64   `json:"uptime_seconds"`
	Flowing  string    `json:"flowing"`  // what comes in goes on: FlowYes, FlowPartly, FlowNo
	Problems []Problem `json:"problems"` // what is wrong, the worst first
	Disk     Disk      `json:"disk"`
	Bridges  []Bridge  `json:"bridges"`
	Adapters Adapters  `json:"adapters"`
	Clients  int64     `json:"clients"` // connected
	Lost     uint64    `json:"lost"`    // messages, of all queues, for whatever reason
	Clock    Clock     `json:"clock"`
}

// What Status.Flowing is.
const (
	FlowYes    = "yes"
	FlowPartly = "partly" // some bridges, adapters or listeners do not work
	FlowNo     = "no"     // nothing reaches any cloud, or the disk or the queue takes nothing
)

// Clock is the gateway's.
type Clock struct {
	Now          time.Time `json:"now"`
	Synchronised bool      `json:"synchronised"` // as the kernel has been told, by NTP say
}

// Problem is something that an operator should know, and what to do about it.
type Problem struct {
	What   string `json:"what"`
	Remedy string `json:"remedy,omitempty"`
	Of     string `json:"of,omitempty"` // bridge/NAME, adapter/NAME or listener/ADDRESS, where it is of one
}

// Disk is the state of the disk queue.
type Disk struct {
	Dir          string   `json:"dir"`
	Bytes        int64    `json:"bytes"`           // of all files
	MaxSize      int64    `json:"max_size"`        // 0 = none
	FullIn       *float64 `json:"full_in_seconds"` // at the rate of the last minute, until messages are dropped or refused; null: it does not fill
	FreeBytes    int64    `json:"free_bytes"`      // of the file system; -1: not known
	Segments     int64    `json:"segments"`
	Failed       string   `json:"failed,omitempty"` // why it takes no writes
	SlowestSync  float64  `json:"slowest_sync_seconds"`
	LedgerErrors uint64   `json:"ledger_errors,omitempty"`
	Damage       []Damage `json:"damage,omitempty"` // found at start
}

// DiskOf fills in what the store knows.
func DiskOf(s *store.Store) Disk {
	st := s.Stats()
	d := Disk{Bytes: st.DiskBytes, Segments: st.Segments, SlowestSync: st.Slowest.Seconds(), LedgerErrors: st.LedgerErrors, Damage: damagesOf(s, st.Damage)}
	if err := s.Failed(); err != nil {
		d.Failed = err.Error()
	}
	return d
}

// Bridge is the state of a bridge.
type Bridge struct {
	Name      string    `json:"name"`
	State     string    `json:"state"`
	Since     time.Time `json:"since,omitzero"` // of the state
	Error     string    `json:"error,omitempty"`
	Waiting   uint64    `json:"waiting"`
	Oldest    float64   `json:"oldest_seconds"`
	DrainedIn *float64  `json:"drained_in_seconds"` // at the rate of the last minute, with what comes in; null: not known, or never

	DeadLetters uint64 `json:"dead_letters"` // kept of what the cloud would not take
}

// Adapters counts the adapters.
type Adapters struct {
	Configured int `json:"configured"`
	Ready      int `json:"ready"`  // the port is open, or devices can connect
	Paused     int `json:"paused"` // links that are not read, since the queue takes nothing
}
