package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/store"
)

// watch asks for the events and gives them, with their data; the end of the stream
// ends the channel.
func watch(t *testing.T, conn net.Conn, header string) (status int, events <-chan [2]string) {
	t.Helper()
	go func() { _, _ = io.WriteString(conn, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\n") }()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	found := make(chan [2]string, 10_000)
	go func() {
		defer close(found)
		kind := ""
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			if k, ok := strings.CutPrefix(s.Text(), "event: "); ok {
				kind = k
			} else if d, ok := strings.CutPrefix(s.Text(), "data: "); ok {
				found <- [2]string{kind, d}
			}
		}
	}()
	return resp.StatusCode, found
}

func TestTheStateComesOnceASecondAndLinesOfTheLogAtOnce(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	taken := Sample{}
	w.opt.API.Recorder.Take = func() Sample {
		taken.In += 5
		taken.Bridges = []BridgeSample{{Name: "cloud", Out: taken.In * 2}}
		return taken
	}
	if _, err := w.opt.Sources.Store.Consumer("session/a", store.SessionIDs); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(w.opt.API.Logs.Handler(slog.NewTextHandler(io.Discard, nil)))
		dial, stop := serving(w.Web)
		conn := dial()
		status, events := watch(t, conn, "")
		if status != 200 {
			t.Fatal(status)
		}
		time.Sleep(2*writeTime + readTime + time.Second/2) // of the bubble: beyond all bounds of a request
		log.Warn("the card is slow", "sync", time.Second, "why", errors.New("an old card"), slog.Group("disk", "free", 5))
		synctest.Wait()
		var states []State
		var lines []LogLine
		for len(events) > 0 {
			e := <-events
			var s State
			var l LogLine
			var err error
			if e[0] == "state" {
				err = json.Unmarshal([]byte(e[1]), &s)
				states = append(states, s)
			} else {
				err = json.Unmarshal([]byte(e[1]), &l)
				lines = append(lines, l)
			}
			if err != nil {
				t.Errorf("%s: %v", e[1], err)
			}
		}
		if n := len(states); n < 75 || n > 77 {
			t.Fatalf("%d states", n)
		}
		last := states[len(states)-1]
		if last.Rates.In != 5 || last.Rates.Bridges["cloud"].Out != 10 || last.Status.ID != "gw" {
			t.Errorf("rates %+v", last.Rates)
		}
		if len(last.Queues) != 1 || last.Queues[0].Queue != allSessions {
			t.Errorf("queues %+v", last.Queues)
		}
		if len(lines) != 1 || lines[0].Message != "the card is slow" || lines[0].Level != "WARN" || lines[0].Attrs["sync"] != "1s" ||
			lines[0].Attrs["why"] != "an old card" || lines[0].Attrs["disk"].(map[string]any)["free"] != float64(5) {
			t.Errorf("log %+v", lines)
		}
		began := time.Now()
		if err := stop(); err != nil || time.Since(began) > time.Second/2 {
			t.Errorf("the end of the gateway: %v, after %v", err, time.Since(began))
		}
		for range events { // the stream ends
		}
		conn.Close()
	})
}

func TestAStreamOfEventsEndsAndAsksForTheLoginAgain(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580", "ann")
	_, cookie := w.logIn("ann", "ann", asks{})
	synctest.Test(t, func(t *testing.T) {
		dial, stop := serving(w.Web)
		conn := dial()
		if status, _ := watch(t, conn, ""); status != 401 {
			t.Errorf("without a login: %d", status)
		}
		conn.Close()
		conn = dial()
		began := time.Now()
		status, events := watch(t, conn, "Cookie: "+cookie+"\r\n")
		for range events {
		}
		if took := time.Since(began); status != 200 || took != streamTime {
			t.Errorf("%d, ended after %v", status, took)
		}
		conn.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestWatchersAreBoundedAndOneWhoReadsNothingIsCutOff(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	synctest.Test(t, func(t *testing.T) {
		dial, stop := serving(w.Web)
		var conns []net.Conn
		for range mostWatchers {
			conn := dial()
			conns = append(conns, conn)
			_, _ = io.WriteString(conn, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n") // and reads nothing
		}
		synctest.Wait()
		conn := dial()
		if status, _ := watch(t, conn, ""); status != 503 {
			t.Errorf("one more: %d", status)
		}
		conn.Close()
		time.Sleep(writeTime + 2*stateEvery)
		synctest.Wait()
		conn = dial()
		if status, _ := watch(t, conn, ""); status != 200 {
			t.Errorf("after the idle ones were cut off: %d", status)
		}
		conn.Close()
		for _, c := range conns {
			c.Close()
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestTheClientReadsEvents: by the socket, of the command line's tools.
func TestTheClientReadsEvents(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	socket := filepath.Join(t.TempDir(), "a.sock")
	ln, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.opt.API.Serve(ctx, ln) }()
	c, err := Dial(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(w.opt.API.Logs.Handler(slog.NewTextHandler(io.Discard, nil)))
	enough := errors.New("enough")
	err = c.Events(ctx, func(e Event) error {
		switch {
		case e.State != nil:
			log.Info("seen")
		case e.Log.Message == "seen":
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Error(err)
	}
	lines, err := c.LogLines(ctx, 1)
	if err != nil || len(lines.Lines) != 1 || lines.Lines[0].Message != "seen" {
		t.Errorf("%+v, %v", lines, err)
	}
	if h, err := c.History(ctx); err != nil || h.Step != 10 {
		t.Errorf("%+v, %v", h, err)
	}
	c.Close()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
