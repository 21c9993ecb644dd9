package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"packetboat/broker/store"
)

// setClock is a machine's whose wall clock stands.
type setClock struct {
	wall   time.Time
	synced bool
}

func (c setClock) BootID() [16]byte        { return [16]byte{1} }
func (c setClock) Uptime() time.Duration   { return time.Hour }
func (c setClock) Wall() (time.Time, bool) { return c.wall, c.synced }

// batchOf is lines of that text, numbered where it has a verb.
func batchOf(queue, text string, n int) *Batch {
	b := &Batch{Queue: queue, ID: "x", End: true}
	for i := range n {
		line := text
		if strings.Contains(text, "%d") {
			line = fmt.Sprintf(text, i)
		}
		b.Lines = append(b.Lines, []byte(line))
	}
	return b
}

const aLine = `{"topic":"t","qos":1,"received":"2026-05-04T10:00:00Z","received_trusted":true,"text":"%d"}`

// both runs a test of an import in this process and one through the socket.
func both(t *testing.T, opt store.Options, f func(t *testing.T, r *rig, s source)) {
	t.Helper()
	for _, name := range []string{"in this process", "through the socket"} {
		t.Run(name, func(t *testing.T) {
			r := newRigWith(t, opt)
			if name == "in this process" {
				f(t, r, r.local)
			} else {
				f(t, r, r.client)
			}
		})
	}
}

func TestAnImportGoesBehindWhatWaits(t *testing.T) {
	both(t, store.Options{}, func(t *testing.T, r *rig, s source) {
		r.publish("bridge/b/0", 3)
		if did, err := s.Import(t.Context(), batchOf("bridge/b/0", aLine, 4)); err != nil || did != (Imported{Lines: 4, Queued: 4}) {
			t.Fatalf("%+v, %v", did, err)
		}
		r.publish("bridge/b/0", 1)
		if got, err := texts(t, s, "bridge/b/0", 0); err != nil || strings.Join(got, " ") != "m0 ff00 m2 0 1 2 3 m0" {
			t.Errorf("%q, %v", got, err)
		}
		q, err := s.Queues(t.Context())
		if err != nil || q.Queues[0].Accepted != 8 || q.Queues[0].Messages != 8 {
			t.Errorf("%+v, %v", q, err)
		}
	})
}

func TestAWrongLineOfAnImportIsNamedAndThoseBeforeItAreIn(t *testing.T) {
	both(t, store.Options{}, func(t *testing.T, r *rig, s source) {
		r.publish("bridge/b/0", 1)
		b := batchOf("bridge/b/0", aLine, 5)
		b.Lines[1], b.Lines[3] = nil, []byte(`{"topic":"a/#","text":"x"}`)
		did, err := s.Import(t.Context(), b)
		var of *LineError
		if !errors.As(err, &of) || of.Line != 4 || !strings.Contains(of.Error(), `"topic" has a wildcard`) || did != (Imported{Lines: 3, Queued: 2}) {
			t.Fatalf("%+v, %v", did, err)
		}
		if got, err := texts(t, s, "bridge/b/0", 0); err != nil || strings.Join(got, " ") != "m0 0 2" {
			t.Errorf("%q, %v", got, err)
		}
		b.Lines = b.Lines[4:] // another may begin at once
		b.ID = "y"
		if did, err := s.Import(t.Context(), b); err != nil || did.Queued != 1 {
			t.Errorf("%+v, %v", did, err)
		}
	})
}

func TestWhatAnImportRefuses(t *testing.T) {
	both(t, store.Options{MaxSize: 4 << 20}, func(t *testing.T, r *rig, s source) {
		r.publish("bridge/b/0", 1)
		r.publish("bridge/b/dead", 1)
		for _, tt := range []struct {
			name string
			b    *Batch
			want string
		}{
			{"a queue that there is not", batchOf("bridge/x/0", aLine, 1), "there are bridge/b/0, bridge/b/dead; a gateway makes the queues"},
			{"dead letters", batchOf("bridge/b/dead", aLine, 1), "bridge/NAME/0 to bridge/NAME/3"},
			{"more than fits", &Batch{Queue: "bridge/b/0", ID: "x", Messages: 10, Bytes: 8 << 20}, "it does not fit: 8388608 bytes, and max_size (4194304) leaves"},
		} {
			if did, err := s.Import(t.Context(), tt.b); err == nil || !strings.Contains(err.Error(), tt.want) || did != (Imported{}) {
				t.Errorf("%s: %+v, %v", tt.name, did, err)
			}
		}
		if got, err := texts(t, s, "bridge/b/0", 0); err != nil || len(got) != 1 {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// TestAnImportStopsWhenTheQueueIsFull: of a size that nobody had told before, a pipe
// say. Nothing that waits is lost for it.
func TestAnImportStopsWhenTheQueueIsFull(t *testing.T) {
	both(t, store.Options{MaxSize: 4 << 20}, func(t *testing.T, r *rig, s source) {
		r.publish("bridge/b/0", 10)
		large := `{"topic":"t","qos":1,"text":"%d ` + strings.Repeat("x", 4000) + `"}`
		all := Imported{}
		var err error
		for err == nil && all.Queued < 2000 {
			var did Imported
			did, err = s.Import(t.Context(), batchOf("bridge/b/0", large, 100))
			all.Add(did)
		}
		var of *LineError
		if !errors.As(err, &of) || !strings.Contains(err.Error(), "the queue is full") || !strings.Contains(err.Error(), "not pushed out") {
			t.Fatalf("after %d: %v", all.Queued, err)
		}
		if all.Queued < 500 {
			t.Errorf("only %d of 4,000 bytes in 4 MiB", all.Queued)
		}
		q, err := s.Queues(t.Context())
		if err != nil || q.Queues[0].Messages != 10+all.Queued || len(q.Queues[0].Lost) > 0 {
			t.Errorf("%d were queued: %+v, %v", all.Queued, q, err)
		}
	})
}

// TestWhatIsLeftOfAnExpiry: what has expired is counted and not queued, the rest
// goes on expiring from when it was received.
func TestWhatIsLeftOfAnExpiry(t *testing.T) {
	now := time.Date(2026, 5, 4, 11, 0, 0, 0, time.UTC) // an hour later
	line := func(expiry int, trusted bool) string {
		return fmt.Sprintf(`{"topic":"t","qos":1,"received":"2026-05-04T10:00:00Z","received_trusted":%v,"expiry_seconds":%d,"text":"%d"}`, trusted, expiry, expiry)
	}
	for _, tt := range []struct {
		name   string
		synced bool // here
		lines  []string
		want   Imported
		texts  string
	}{
		{"by two clocks that are right", true, []string{line(3599, true), line(3600, true), line(3601, true), aLine}, Imported{Lines: 4, Queued: 2, Expired: 2}, "3601 %d"},
		{"by a clock that was not set", true, []string{line(5, false)}, Imported{Lines: 1, Queued: 1, Ageless: 1}, "5"},
		{"where the clock is not set", false, []string{line(5, true), aLine}, Imported{Lines: 2, Queued: 2, Ageless: 1}, "5 %d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			both(t, store.Options{Clock: setClock{now, tt.synced}}, func(t *testing.T, r *rig, s source) {
				r.publish("bridge/b/0", 0)
				b := &Batch{Queue: "bridge/b/0", ID: "x", End: true}
				for _, l := range tt.lines {
					b.Lines = append(b.Lines, []byte(l))
				}
				if did, err := s.Import(t.Context(), b); err != nil || did != tt.want {
					t.Errorf("%+v, %v", did, err)
				}
				if got, err := texts(t, s, "bridge/b/0", 0); err != nil || strings.Join(got, " ") != tt.texts {
					t.Errorf("%q, %v", got, err)
				}
				if tt.synced && tt.want.Ageless == 0 {
					if q, err := s.Queues(t.Context()); err != nil || q.Queues[0].Oldest != 3600 {
						t.Errorf("%+v, %v", q, err)
					}
				}
			})
		})
	}
}

// TestADeviceGetsNoCommandOfUnknownAge.
func TestADeviceGetsNoCommandOfUnknownAge(t *testing.T) {
	for _, synced := range []bool{true, false} {
		both(t, store.Options{Clock: setClock{time.Date(2026, 5, 4, 11, 0, 0, 0, time.UTC), synced}}, func(t *testing.T, r *rig, s source) {
			r.publish("adapter/a", 0)
			did, err := s.Import(t.Context(), batchOf("adapter/a", aLine, 2))
			if synced && (err != nil || did.Queued != 2) || !synced && (err == nil || !strings.Contains(err.Error(), "its age is not known") || did.Queued > 0) {
				t.Errorf("synchronised: %v: %+v, %v", synced, did, err)
			}
		})
	}
}

// TestDeadLettersOfAnotherGatewayGoToALane as a replay would send them.
func TestDeadLettersOfAnotherGatewayGoToALane(t *testing.T) {
	r := newRig(t)
	r.deadLetters(3)
	lines := exported(t, r.local, "bridge/b/dead")
	if !strings.Contains(string(lines[0]), `"user_properties":[["site","north"]],"dead_letter":{"reason":"refused: not authorized","queue":"bridge/b/0"`) {
		t.Fatalf("exported as %s", lines[0])
	}
	r.publish("bridge/c/0", 0)
	if did, err := r.client.Import(t.Context(), &Batch{Queue: "bridge/c/0", ID: "x", Lines: lines, End: true}); err != nil || did.Queued != 6 {
		t.Fatalf("%+v, %v", did, err)
	}
	got := exported(t, r.local, "bridge/c/0")
	if len(got) != 6 || !strings.Contains(string(got[0]), `"user_properties":[["site","north"],["dead-letter-received",`) || strings.Contains(string(got[0]), "reason") || !strings.Contains(string(got[0]), `"retain":true`) {
		t.Errorf("queued as %s", got[0])
	}
}

// TestOneImportAtATime: two would mix. One whose client is gone is over after a while.
func TestOneImportAtATime(t *testing.T) {
	var i imports
	at := time.Unix(1e9, 0)
	step := func(id string, after time.Duration, wantErr bool, end bool) {
		t.Helper()
		at = at.Add(after)
		_, err := i.begin(id, "bridge/b/0", at)
		if (err != nil) != wantErr || err != nil && !errors.Is(err, ErrInUse) {
			t.Fatalf("%s: %v", id, err)
		}
		if err == nil {
			i.end(Imported{}, end, at)
		}
	}
	step("a", 0, false, false)
	step("b", time.Second, true, false)
	step("a", 5*time.Second, false, false)
	step("b", 9*time.Second, true, false)
	step("b", time.Second, false, false) // a is silent since 10 s
	step("a", time.Second, true, false)
	step("b", time.Second, false, true) // over
	step("a", 0, false, false)
	if _, err := i.begin("a", "bridge/b/0", at); err != nil {
		t.Fatal(err)
	}
	if _, err := i.begin("a", "bridge/b/0", at); !errors.Is(err, ErrInUse) { // a request that is not answered yet
		t.Error(err)
	}

	r := newRig(t)
	r.publish("bridge/b/0", 1)
	b := batchOf("bridge/b/0", aLine, 5000) // its answer is read although it is refused
	b.End = false
	if did, err := r.client.Import(t.Context(), b); err != nil || did.Queued != 5000 {
		t.Fatal(did, err)
	}
	b.ID = "another"
	var answer *AnswerError
	if did, err := r.client.Import(t.Context(), b); !errors.As(err, &answer) || answer.Status != http.StatusConflict || !answer.Refused() || did.Queued > 0 {
		t.Error(did, err)
	}
}

// TestAnImportThatNobodyAwaits: what was answered is on the disk whatever comes, and
// a client that is gone ends its import.
func TestAnImportThatNobodyAwaits(t *testing.T) {
	r := newRig(t)
	r.publish("bridge/b/0", 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range []source{r.local, r.client} {
		if did, err := s.Import(ctx, batchOf("bridge/b/0", aLine, 10)); !errors.Is(err, context.Canceled) || did.Queued > 0 {
			t.Errorf("%+v, %v", did, err)
		}
	}
}

// TestTheRequestsOfAnImport: over the network they are larger than others, need the
// header, and are in the log.
func TestTheRequestsOfAnImport(t *testing.T) {
	var log bytes.Buffer
	w := newWeb(t, "127.0.0.1:8580", "ann")
	api := w.opt.API
	api.Log = slog.New(slog.NewTextHandler(&log, nil))
	if _, err := api.Store.Consumer("bridge/b/0", store.LaneIDs(0)); err != nil {
		t.Fatal(err)
	}
	ask := func(query, body string, header bool) *httptest.ResponseRecorder {
		req := httptest.NewRequest("POST", "http://localhost/v1/import?"+query, strings.NewReader(body))
		req.SetBasicAuth("ann", "ann")
		req.RemoteAddr = "127.0.0.1:1"
		if header {
			req.Header.Set(ownHeader, "1")
		}
		rec := httptest.NewRecorder()
		w.routes.ServeHTTP(rec, req)
		return rec
	}
	large := strings.Repeat(fmt.Sprintf(aLine, 7)+"\n", 2000)
	if len(large) < 2*maxRequest {
		t.Fatal("the test tests nothing")
	}
	for _, tt := range []struct {
		name, query, body string
		header            bool
		status            int
		want              string
	}{
		{"without the header", "queue=bridge/b/0&import=1", large, false, 403, "X-Packetboat"},
		{"without a name", "queue=bridge/b/0", large, true, 400, "a name of its own"},
		{"with a wrong number", "queue=bridge/b/0&import=1&bytes=-1", large, true, 400, "bytes: not a number"},
		{"for no queue", "queue=bridge/x/0&import=1", large, true, 404, "no such queue"},
		{"the first", "queue=bridge/b/0&import=1", large, true, 200, `{"lines":2000,"queued":2000}`},
		{"with a line that is wrong", "queue=bridge/b/0&import=1", aLine + "\n{}\n", true, 400, `{"lines":1,"queued":1,"line":2,"error":"there is no payload: neither`},
		{"the last, with no line", "queue=bridge/b/0&import=2&end", "", true, 200, `{"lines":0,"queued":0}`},
		{"a line end is missing", "queue=bridge/b/0&import=3&end", aLine, true, 200, `{"lines":1,"queued":1}`},
		{"that does not end", "queue=bridge/b/0&import=1", strings.Repeat("x", maxBatch+1), true, 400, "too large"},
	} {
		rec := ask(tt.query, tt.body, tt.header)
		if rec.Code != tt.status || !strings.Contains(rec.Body.String(), tt.want) {
			t.Errorf("%s: %d %s", tt.name, rec.Code, rec.Body)
		}
	}
	for _, want := range []string{
		`"an import by an operator has begun" queue=bridge/b/0`,
		`"an import by an operator has failed" queue=bridge/b/0 messages=2001 expired=0 error="line 2:`,
		`"messages were imported by an operator" queue=bridge/b/0 messages=1 expired=0`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, &log)
		}
	}
}
