package admin

import (
	"encoding/hex"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"packetboat/adapters"
)

// adapterDetails looks at an adapter, and has its frames kept for a while.
func adapterDetails(a adapters.Adapter, now time.Time) AdapterDetails {
	st := a.Stats()
	seen := a.Recent().Look(now)
	d := AdapterDetails{
		Name: a.Name(), Kind: a.Kind(), Ready: st.Ready, Links: st.Open, LastFrame: st.LastFrame.UTC(),
		Counters: map[string]uint64{}, Frames: make([]Frame, 0, len(seen)),
	}
	if st.LastFrame.IsZero() {
		d.LastFrame = time.Time{}
	}
	if !st.Ready {
		if d.Error = st.Problem; d.Error == "" {
			d.Error = "not open yet"
		}
	}
	for i := range adapterRows { // called as in /metrics
		if name, ok := strings.CutSuffix(adapterRows[i].name, "_total"); ok {
			d.Counters[strings.TrimPrefix(name, "packetboat_adapter_")] = uint64(adapterRows[i].value(&st))
		}
	}
	for i := range seen {
		s := &seen[i]
		d.Frames = append(d.Frames, Frame{
			At: s.At.UTC(), Link: strings.ToValidUTF8(s.Link, "?"), Hex: hex.EncodeToString(s.Head), Text: printable(s.Head), Bytes: s.Bytes, Topic: s.Topic, Error: s.Error,
		})
	}
	return d
}

// printable is bytes as text, with dots for what cannot be shown.
func printable(b []byte) string {
	var text strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			r = '.'
		}
		text.WriteRune(r)
		b = b[n:]
	}
	return text.String()
}

func (s *Server) adapters(w http.ResponseWriter, _ *http.Request) {
	out := AdapterList{Adapters: []AdapterDetails{}}
	now := time.Now()
	for _, a := range s.Adapters() {
		out.Adapters = append(out.Adapters, adapterDetails(a, now))
	}
	reply(w, out)
}
