package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"packetboat/broker/store"
	"packetboat/broker/store/wal/simdisk"
)

// FuzzRequest: whatever is asked for, the answer is JSON, an error has its text,
// and nothing fails inside.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][3]string{
		{"GET", "/v1/status", ""}, {"GET", "/v1/queues", ""}, {"GET", "/v1/bridges", ""},
		{"GET", "/v1/messages?queue=bridge/old/0&last=2", ""}, {"GET", "/v1/messages?queue=%00&last=-1", ""},
		{"GET", "/v1/messages?last=18446744073709551616", ""}, {"POST", "/v1/verify", ""}, {"POST", "/v1/reload", ""},
		{"POST", "/v1/rename", `{"from": "bridge/old", "to": "bridge/new"}`}, {"POST", "/v1/rename", `{"from": "", "to": "/"}`},
		{"POST", "/v1/purge", `{"queue": "bridge/old/0"}`}, {"POST", "/v1/purge", `{"queue": 7}`}, {"POST", "/v1/purge", `[[[[`},
		{"POST", "/v1/bridges/reset", `{"bridge": "x"}`}, {"DELETE", "/v1/../v1/status", ""}, {"PUT", "/", "x"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	s, err := store.Open("", store.Options{FS: simdisk.New()})
	if err != nil {
		f.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	f.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			f.Error(err)
		}
	})
	local := Local{Store: s, InUse: func(owner string) bool { return owner == "bridge/live" }}
	srv := &Server{
		Local: local, Log: slog.New(slog.DiscardHandler), Reset: local.ResetBridge,
		Status:  func() *Status { return &Status{ID: "gw", Disk: DiskOf(s)} },
		Bridges: func() *Bridges { return &Bridges{} },
		Reload:  func(context.Context) (Changes, error) { return Changes{}, errors.New("nothing to read") },
	}
	f.Fuzz(func(t *testing.T, method, target, body string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://gateway/"+strings.TrimPrefix(target, "/"), strings.NewReader(body))
		if err != nil {
			return // what net/http does not take does not get here
		}
		w := httptest.NewRecorder()
		srv.handler().ServeHTTP(w, req)
		if w.Code/100 == 3 {
			return // a path that is written in another way
		}
		if w.Code >= 500 && target != "/v1/reload" {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		lines := json.NewDecoder(w.Body)
		for n := 0; ; n++ {
			var v map[string]any
			err := lines.Decode(&v)
			if err == io.EOF && n > 0 {
				return
			}
			if err != nil {
				t.Fatalf("status %d, not JSON: %v", w.Code, err)
			}
			if text, _ := v["error"].(string); w.Code >= 400 && text == "" {
				t.Errorf("status %d without an error: %v", w.Code, v)
			}
		}
	})
}
