package admin

import (
	"encoding/json"
	"testing"
	"time"

	"packetboat/adapters"
)

// silentAdapter is one whose port is not there.
type silentAdapter struct{ fakeAdapter }

func (silentAdapter) Stats() adapters.Stats {
	return adapters.Stats{Undecoded: 3, Problem: "no such port"}
}

func TestAdaptersAreShownWithTheirLastFrames(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	gone := silentAdapter{fakeAdapter{new(adapters.Recent)}}
	list := append(w.opt.Sources.Adapters(), gone)
	w.opt.Sources.Adapters = func() []adapters.Adapter { return list }
	ask := func() (list AdapterList) {
		t.Helper()
		if err := json.NewDecoder(w.do(asks{path: "/v1/adapters"}).Body).Decode(&list); err != nil || len(list.Adapters) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		return list
	}
	scale := list[0].Recent()
	now := time.Now()
	scale.Frame(now, "ttyUSB0", []byte("nobody looks"), "t")
	scale.Wrong(now, "ttyUSB0", []byte("W\x00\xff €"), "not decoded: no number")
	asked := ask()
	s, g := asked.Adapters[0], asked.Adapters[1]
	if s.Kind != "serial" || !s.Ready || s.Error != "" || s.LastFrame != time.Unix(5, 0).UTC() || s.Counters["published_frames"] != 7 {
		t.Errorf("%+v", s)
	}
	if g.Ready || g.Error != "no such port" || !g.LastFrame.IsZero() || g.Counters["undecoded_frames"] != 3 || g.Frames == nil {
		t.Errorf("%+v", g)
	}
	if len(s.Frames) != 1 || s.Frames[0].Hex != "5700ff20e282ac" || s.Frames[0].Text != "W.. €" || s.Frames[0].Bytes != 7 || s.Frames[0].Error != "not decoded: no number" {
		t.Errorf("%+v", s.Frames)
	}
	scale.Frame(now.Add(time.Second), "ttyUSB0", []byte("12"), "gw/scale")
	if f := ask().Adapters[0].Frames; len(f) != 2 || f[0].Topic != "gw/scale" || f[0].Error != "" || f[1].Error == "" {
		t.Errorf("once somebody looks: %+v", f)
	}
}
