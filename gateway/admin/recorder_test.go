package admin

import (
	"encoding/json"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

// show writes samples, with dots for those that there are none of.
func show(s Samples) string {
	var parts []string
	for _, v := range s {
		if math.IsNaN(float64(v)) {
			parts = append(parts, ".")
		} else {
			parts = append(parts, strconv.FormatFloat(float64(v), 'g', -1, 32))
		}
	}
	return strings.Join(parts, " ")
}

func TestTheHistoryHasGapsWhereSamplesWereMissed(t *testing.T) {
	var r Recorder
	now := time.Now().Add(-time.Hour)
	take := func(after time.Duration, in uint64, bridges ...BridgeSample) {
		now = now.Add(after)
		r.add(now, Sample{QueueBytes: 1 << 20, QueueLimit: 1 << 30, In: in, Bridges: bridges})
	}
	if h := r.History(); len(h.Series.In) != 0 || h.Series.Bridges == nil {
		t.Errorf("%+v", h)
	}
	take(0, 100)
	take(historyStep, 200, BridgeSample{Name: "cloud", Waiting: 7, Out: 50})
	take(historyStep+time.Second, 310, BridgeSample{Name: "cloud", Waiting: 5, Out: 160})
	take(3*historyStep-time.Second, 339, BridgeSample{Name: "cloud", Waiting: 3, Out: 160})
	take(historyStep, 9) // the counter began anew
	h := r.History()
	for _, c := range []struct {
		name string
		got  Samples
		want string
	}{
		{"in", h.Series.In, "0 10 10 . . 1 0"},
		{"waiting", h.Series.Bridges["cloud"].Waiting, ". 7 5 . . 3 ."},
		{"out", h.Series.Bridges["cloud"].Out, ". 0 10 . . 0 ."},
		{"limit", h.Series.QueueLimit, "1.0737418e+09 1.0737418e+09 1.0737418e+09 . . 1.0737418e+09 1.0737418e+09"},
	} {
		if got := show(c.got); got != c.want {
			t.Errorf("%s: %s, not %s", c.name, got, c.want)
		}
	}
	if d := now.Sub(h.From) - 6*historyStep; d < -time.Second || d > time.Second {
		t.Errorf("from %v, now %v", h.From, now)
	}
	b, err := json.Marshal(h.Series.Bridges["cloud"])
	if want := `{"waiting":[null,7,5,null,null,3,null],"out":[null,0,10,null,null,0,null]}`; err != nil || string(b) != want {
		t.Errorf("%s, %v, not %s", b, err, want)
	}
	var back BridgeSeries
	if err := json.Unmarshal(b, &back); err != nil || show(back.Out) != ". 0 10 . . 0 ." {
		t.Errorf("%v, %v", back, err)
	}
}

func TestTheHistoryIsADayAndBounded(t *testing.T) {
	var r Recorder
	now := time.Now()
	var bridges []BridgeSample
	for i := range 2 * historyBridges {
		bridges = append(bridges, BridgeSample{Name: strconv.Itoa(i)})
	}
	for i := range historyLength + 100 {
		r.add(now.Add(time.Duration(i)*historyStep), Sample{QueueBytes: int64(i), Bridges: bridges})
	}
	h := r.History()
	if n := len(h.Series.QueueBytes); n != historyLength || h.Series.QueueBytes[0] != 100 || h.Series.QueueBytes[n-1] != historyLength+99 {
		t.Errorf("%d samples, from %v", n, h.Series.QueueBytes[0])
	}
	size := 4 * (3 + 2*len(r.bridges)) * historyLength
	if len(h.Series.Bridges) != historyBridges || size > 1<<20 {
		t.Errorf("%d bridges, %d bytes", len(h.Series.Bridges), size)
	}
	from := h.From
	h.cut(historyLength + 1)
	h.cut(30)
	if n := len(h.Series.In); n != 30 || len(h.Series.QueueBytes) != n || len(h.Series.QueueLimit) != n || len(h.Series.Bridges["0"].Out) != n || len(h.Series.Bridges["0"].Waiting) != n ||
		h.Series.QueueBytes[n-1] != historyLength+99 || h.From.Sub(from) != (historyLength-30)*historyStep {
		t.Errorf("the newest %d samples, %v after the first", n, h.From.Sub(from))
	}
	// A month later all of it is over, and the bridges that are gone with it.
	r.add(now.Add(30*24*time.Hour), Sample{QueueBytes: 7})
	r.add(now.Add(30*24*time.Hour+historyStep), Sample{QueueBytes: 8})
	h = r.History()
	if got := strings.Trim(show(h.Series.QueueBytes), ". "); got != "7 8" || len(h.Series.QueueBytes) != historyLength || len(h.Series.Bridges) != 0 {
		t.Errorf("%q, bridges %v", got, len(h.Series.Bridges))
	}
}

func TestTheLogsLinesAreKeptAndBounded(t *testing.T) {
	var r LogRing
	log := slog.New(r.Handler(slog.NewTextHandler(discard{}, nil)))
	log.Debug("below the level")
	log.With("adapter", "scale").WithGroup("g").With("x", 1).Warn("first", "y", []string{"a", "b"}, "nan", math.NaN(), "long", strings.Repeat("x", 3*mostText))
	lines, n, next := r.Since(0)
	if len(lines) != 1 || n != 1 {
		t.Fatalf("%+v", lines)
	}
	b, err := json.Marshal(lines[0].Attrs)
	want := `{"adapter":"scale","g":{"long":"` + strings.Repeat("x", mostText) + `…","nan":"NaN","x":1,"y":"a, b"}}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	for i := range mostLines + 5 {
		log.Info(strconv.Itoa(i))
	}
	<-next
	lines, n, _ = r.Since(n)
	if len(lines) != mostLines || lines[0].Message != "5" || lines[mostLines-1].Message != strconv.Itoa(mostLines+4) || n != mostLines+6 {
		t.Errorf("%d lines of %d, from %s", len(lines), n, lines[0].Message)
	}
	if lines, _, _ := r.Since(n); lines != nil {
		t.Errorf("%+v", lines)
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
