package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/broker/store"
)

// Bounds of the streams of events.
const (
	mostWatchers = 20
	stateEvery   = time.Second
	// streamTime is how long a stream lasts. Whoever reads it asks again then, a
	// browser does so by itself, and must be allowed to.
	streamTime = 15 * time.Minute
)

// watching is what all streams of events share: the state is made once for all.
type watching struct {
	n atomic.Int32 // streams that are open

	mu   sync.Mutex
	made time.Time // of state
	text []byte    // the event, encoded
	last Sample    // at made
}

func (x *watching) enter() bool {
	if x.n.Add(1) <= mostWatchers {
		return true
	}
	x.leave()
	return false
}

func (x *watching) leave() { x.n.Add(-1) }

// events is GET /v1/events: the state once a second, and each new line of the log.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if !s.watching.enter() {
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, errors.New("too many watch already: close a page that shows this gateway"))
		return
	}
	defer s.watching.leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Connection", "close") // its deadlines are others
	if r.Method == http.MethodHead {
		return
	}
	out := &stream{w: w, rc: http.NewResponseController(w)}
	_ = out.rc.SetReadDeadline(time.Time{}) // that of the request ends its context
	out.write([]byte("retry: 2000\n\n"))
	_, seen, next := s.Logs.Since(0)
	out.write(s.stateEvent())
	tick := time.NewTicker(stateEvery)
	defer tick.Stop()
	over := time.NewTimer(streamTime)
	defer over.Stop()
	for out.flush() {
		select {
		case <-r.Context().Done():
			return
		case <-over.C:
			return
		case <-tick.C:
			out.write(s.stateEvent())
		case <-next:
			var lines []LogLine
			lines, seen, next = s.Logs.Since(seen)
			for i := range lines {
				out.write(encodeEvent("log", &lines[i]))
			}
		}
	}
}

// stateEvent is the state, as an event; not older than almost a second.
func (s *Server) stateEvent() []byte {
	x := &s.watching
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	age := now.Sub(x.made)
	if x.text != nil && age < stateEvery*9/10 {
		return x.text
	}
	sample := s.Recorder.Take()
	rates := s.Recorder.lately() // while nobody has looked
	if x.text != nil && age < 3*stateEvery {
		rates = ratesOf(&x.last, &sample, age)
	}
	if rates.Bridges == nil {
		rates.Bridges = map[string]BridgeRate{}
	}
	x.made, x.last = now, sample
	x.text = encodeEvent("state", &State{Status: s.Status(), Rates: rates, Queues: s.queuesInShort()})
	return x.text
}

// queuesInShort are the ledgers, those of the clients' sessions as one.
func (s *Server) queuesInShort() []Queue {
	list := []Queue{}
	sessions := sumSessions(s.Store, func(name string, l *store.Lag) { list = append(list, QueueOf(name, *l)) })
	return append(list, QueueOf(allSessions, sessions))
}

// encodeEvent makes an event: JSON has no line ends.
func encodeEvent(kind string, v any) []byte {
	var b bytes.Buffer
	b.WriteString("event: " + kind + "\ndata: ")
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return nil // nothing that is sent here cannot be encoded
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// stream writes events, each within writeTime.
type stream struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	gone bool
}

func (o *stream) write(b []byte) {
	if o.gone {
		return
	}
	_ = o.rc.SetWriteDeadline(time.Now().Add(writeTime)) // what cannot have one has none
	_, err := o.w.Write(b)
	o.gone = err != nil
}

// flush reports whether the reader is still there.
func (o *stream) flush() bool {
	if !o.gone {
		o.gone = o.rc.Flush() != nil
	}
	return !o.gone
}
