package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"
)

// History is what has been going on, sample by sample.
type History struct {
	Step   float64   `json:"step_seconds"`
	From   time.Time `json:"from"` // of the first sample
	Series Series    `json:"series"`
}

// Series are as long as each other.
type Series struct {
	QueueBytes Samples                 `json:"queue_bytes"`
	QueueLimit Samples                 `json:"queue_limit"`
	In         Samples                 `json:"in"` // messages a second, of devices and clients
	Bridges    map[string]BridgeSeries `json:"bridges"`
}

// BridgeSeries are those of a bridge.
type BridgeSeries struct {
	Waiting Samples `json:"waiting"`
	Out     Samples `json:"out"` // messages a second, to the cloud
}

// cut leaves the newest n samples.
func (h *History) cut(n int) {
	all := len(h.Series.In)
	if n >= all {
		return
	}
	h.From = h.From.Add(time.Duration(float64(all-n) * h.Step * float64(time.Second)))
	s := &h.Series
	for _, list := range []*Samples{&s.QueueBytes, &s.QueueLimit, &s.In} {
		*list = (*list)[all-n:]
	}
	for name, b := range s.Bridges {
		s.Bridges[name] = BridgeSeries{Waiting: b.Waiting[all-n:], Out: b.Out[all-n:]}
	}
}

// Samples are numbers, NaN where there is none: null in JSON. Three figures are
// kept of rates, seven of sizes.
type Samples []float32

// MarshalJSON writes an array of numbers and nulls.
func (s Samples) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, 6*len(s)+2), '[')
	for i, v := range s {
		if i > 0 {
			b = append(b, ',')
		}
		switch {
		case math.IsNaN(float64(v)):
			b = append(b, "null"...)
		case v == float32(int64(v)):
			b = strconv.AppendInt(b, int64(v), 10)
		default:
			b = strconv.AppendFloat(b, float64(v), 'g', 3, 32)
		}
	}
	return append(b, ']'), nil
}

// UnmarshalJSON reads what MarshalJSON has written.
func (s *Samples) UnmarshalJSON(b []byte) error {
	var list []*float32
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&list); err != nil {
		return err
	}
	*s = make(Samples, len(list))
	for i, v := range list {
		(*s)[i] = float32(math.NaN())
		if v != nil {
			(*s)[i] = *v
		}
	}
	return nil
}

// History asks what has been going on since the gateway was started, at most for a
// day.
func (c *Client) History(ctx context.Context) (*History, error) {
	h := new(History)
	return h, c.get(ctx, http.MethodGet, "history", nil, h)
}
