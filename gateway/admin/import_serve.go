package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

const (
	// maxBatch is how large a request may be that imports: a longest line and more.
	maxBatch = MaxLine + 1<<20
	// batchTime is how long such a request may take to come.
	batchTime = 2 * time.Minute
	// importPause is how long an import may be silent before another one may begin.
	importPause = 10 * time.Second
)

// importPath is that of the requests that are larger than others.
const importPath = "/v1/import"

// imports lets one import at a time work on the queues: two would mix what they
// bring. An import that is silent for importPause was given up by its client.
type imports struct {
	working sync.Mutex // held while a request is worked on

	id, queue string // "" = none
	did       Imported
	heard     time.Time
}

// begin takes the turn of an import, or says why not. It is held until end.
func (i *imports) begin(id, queue string, now time.Time) (first bool, err error) {
	if !i.working.TryLock() {
		return false, fmt.Errorf("import into %s: %w by another import", queue, ErrInUse)
	}
	if i.id != "" && i.id != id && now.Sub(i.heard) < importPause {
		defer i.working.Unlock()
		return false, fmt.Errorf("import into %s: %w by an import into %s; if that was cut off, another may begin %v after it", queue, ErrInUse, i.queue, importPause)
	}
	first = i.id != id || i.queue != queue
	if first {
		i.id, i.queue, i.did = id, queue, Imported{}
	}
	return first, nil
}

// end gives the turn back, and for good with over.
func (i *imports) end(did Imported, over bool, now time.Time) (all Imported) {
	i.did.Add(did)
	all = i.did
	if i.heard = now; over {
		i.id = ""
	}
	i.working.Unlock()
	return all
}

// importReply is the answer to a batch: with an error, too.
type importReply struct {
	Imported
	Line  int    `json:"line,omitempty"` // of the request, to which the error belongs
	Error string `json:"error,omitempty"`
}

// importBatch takes a batch of an import.
func (s *Server) importBatch(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	b := &Batch{Queue: q.Get("queue"), ID: q.Get("import"), End: q.Has("end")}
	if b.ID == "" || len(b.ID) > 64 {
		refuse(w, http.StatusBadRequest, errors.New("import: give the requests of an import a name of its own, of at most 64 characters"))
		return
	}
	for name, into := range map[string]*int64{"messages": &b.Messages, "bytes": &b.Bytes} {
		n, err := strconv.ParseInt(q.Get(name), 10, 64)
		if q.Has(name) && (err != nil || n < 0) {
			refuse(w, http.StatusBadRequest, fmt.Errorf("%s: not a number of them", name))
			return
		}
		*into = n
	}
	first, err := s.importing.begin(b.ID, b.Queue, time.Now())
	if err != nil {
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxBatch)) // or the client may not get the answer
		fail(w, err)
		return
	}
	did, err := s.importLines(w, r, b)
	all := s.importing.end(did, b.End || err != nil, time.Now())
	switch {
	case err != nil && all.Queued > 0:
		s.Log.Warn("an import by an operator has failed", "queue", b.Queue, "messages", all.Queued, "expired", all.Expired, "error", err)
	case err == nil && b.End:
		s.Log.Info("messages were imported by an operator", "queue", b.Queue, "messages", all.Queued, "expired", all.Expired)
	case err == nil && first:
		s.Log.Info("an import by an operator has begun", "queue", b.Queue)
	}
	answerImport(w, did, err)
}

// importLines reads the lines of a request and appends them.
func (s *Server) importLines(w http.ResponseWriter, r *http.Request, b *Batch) (Imported, error) {
	// A card may be slow, the way here as well: the time for other requests is too
	// short, and would end this one in the middle.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(batchTime)) // what cannot have one has none
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBatch))
	_ = rc.SetReadDeadline(time.Time{})
	if err != nil {
		return Imported{}, &requestError{fmt.Errorf("read the lines: %w", err)}
	}
	if b.Lines = bytes.Split(body, []byte("\n")); len(b.Lines[len(b.Lines)-1]) == 0 {
		b.Lines = b.Lines[:len(b.Lines)-1]
	}
	return s.Import(r.Context(), b)
}

// requestError is of what came, not of what was done.
type requestError struct{ err error }

func (e *requestError) Error() string { return e.err.Error() }
func (e *requestError) Unwrap() error { return e.err }

func answerImport(w http.ResponseWriter, did Imported, err error) {
	if err == nil {
		reply(w, importReply{Imported: did})
		return
	}
	a := importReply{Imported: did, Error: err.Error()}
	var of *LineError
	if errors.As(err, &of) {
		a.Line, a.Error = of.Line, of.Err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(statusOf(err))
	_ = json.NewEncoder(w).Encode(a)
}

// Import is [Local.Import]; the gateway refuses it while another import works.
func (c *Client) Import(ctx context.Context, b *Batch) (did Imported, err error) {
	q := url.Values{"queue": {b.Queue}, "import": {b.ID}}
	if b.End {
		q.Set("end", "1")
	}
	if b.Messages > 0 {
		q.Set("messages", strconv.FormatInt(b.Messages, 10))
		q.Set("bytes", strconv.FormatInt(b.Bytes, 10))
	}
	body := append(bytes.Join(b.Lines, []byte("\n")), '\n')
	if len(b.Lines) == 0 {
		body = nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gateway"+importPath+"?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		return did, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return did, fmt.Errorf("ask the gateway on %s: %w", c.socket, err)
	}
	defer resp.Body.Close()
	var a importReply
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return did, fmt.Errorf("read the answer of the gateway: %s: %w", resp.Status, err)
	}
	switch {
	case a.Error != "" && a.Line > 0:
		return a.Imported, &LineError{a.Line, errors.New(a.Error)}
	case a.Error != "":
		return a.Imported, &AnswerError{resp.StatusCode, a.Error}
	}
	return a.Imported, nil
}

// AnswerError is what the gateway answers to an import that it does not do.
type AnswerError struct {
	Status int // of HTTP
	Text   string
}

func (e *AnswerError) Error() string { return e.Text }

// Refused reports whether nothing was done for sure.
func (e *AnswerError) Refused() bool {
	return e.Status < http.StatusInternalServerError || e.Status == http.StatusInsufficientStorage
}
