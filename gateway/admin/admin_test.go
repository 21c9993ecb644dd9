package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"packetboat/broker/store"
)

// source is what Local and Client have in common.
type source interface {
	Queues(ctx context.Context) (*Queues, error)
	Messages(ctx context.Context, queue string, last uint64, f func(m *Message) error) error
	Verify(ctx context.Context, progress func(done, total int64)) (*Verification, error)
	Rename(ctx context.Context, from, to string) ([]string, error)
	Purge(ctx context.Context, queue string) (uint64, error)
	Replay(ctx context.Context, queue string) (uint64, error)
	Import(ctx context.Context, b *Batch) (Imported, error)
	ResetBridge(ctx context.Context, name string) (Reset, error)
}

// rig is a store that runs and a server for it.
type rig struct {
	t      *testing.T
	local  *Local
	client *Client
	socket string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigWith(t, store.Options{})
}

func newRigWith(t *testing.T, opt store.Options) *rig {
	t.Helper()
	s, err := store.Open(t.TempDir(), opt)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, socket: filepath.Join(t.TempDir(), "run", "a.sock")}
	r.local = &Local{Store: s, InUse: func(owner string) bool { return owner == "bridge/live" }}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	ln, err := Listen(r.socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &Server{Local: *r.local, Log: slog.New(slog.DiscardHandler), Status: func() *Status { return &Status{ID: "gw", Disk: DiskOf(s)} }, Reset: r.local.ResetBridge}
	all.Go(func() {
		if err := srv.Serve(ctx, ln); err != nil {
			t.Error(err)
		}
	})
	if r.client, err = Dial(ctx, r.socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.client.Close()
		stop()
		all.Wait()
	})
	return r
}

func (r *rig) publish(queue string, n int) {
	r.t.Helper()
	c, err := r.local.Store.Consumer(queue, store.SessionIDs)
	if err != nil {
		r.t.Fatal(err)
	}
	var last store.Receipt
	for i := range n {
		m := &store.Message{Topic: fmt.Sprint("t/", i%3), Payload: fmt.Appendf(nil, "m%d", i), QoS: 1}
		if i == 1 {
			m.Payload = []byte{0xff, 0}
		}
		if last, err = r.local.Store.Publish(m, []store.Target{{Consumer: c, QoS: 1}}); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := r.local.Store.Wait(r.t.Context(), last); err != nil {
		r.t.Fatal(err)
	}
}

func texts(t *testing.T, s source, queue string, last uint64) (got []string, err error) {
	t.Helper()
	err = s.Messages(t.Context(), queue, last, func(m *Message) error {
		if m.Text != nil {
			got = append(got, *m.Text)
		} else {
			got = append(got, fmt.Sprintf("%x", m.Base64))
		}
		return nil
	})
	return got, err
}

// TestTheClientDoesWhatTheStoreDoes: each operation in this process and through
// the socket.
func TestTheClientDoesWhatTheStoreDoes(t *testing.T) {
	for _, through := range []string{"this process", "the socket"} {
		t.Run(through, func(t *testing.T) {
			r := newRig(t)
			var s source = r.local
			if through == "the socket" {
				s = r.client
			}
			ctx := t.Context()
			r.publish("bridge/old/0", 7)
			r.publish("bridge/old/3", 1)
			r.publish("bridge/live/0", 1)

			if got, err := texts(t, s, "bridge/old/0", 0); err != nil || strings.Join(got, " ") != "m0 ff00 m2 m3 m4 m5 m6" {
				t.Errorf("messages: %q, %v", got, err)
			}
			if got, err := texts(t, s, "bridge/old/0", 2); err != nil || strings.Join(got, " ") != "m5 m6" {
				t.Errorf("the newest: %q, %v", got, err)
			}
			if _, err := texts(t, s, "bridge/none/0", 0); err == nil || !strings.Contains(err.Error(), "no such queue: bridge/none/0; there are bridge/live/0, bridge/old/0") {
				t.Errorf("an unknown queue: %v", err)
			}
			stop := errors.New("enough")
			if err := s.Messages(ctx, "bridge/old/0", 0, func(*Message) error { return stop }); !errors.Is(err, stop) {
				t.Errorf("the error of the caller: %v", err)
			}
			progress := int64(0)
			v, err := s.Verify(ctx, func(done, total int64) { progress = max(progress, done) })
			if err != nil || !v.OK || !v.Derived || len(v.Ledgers) != 3 || v.Messages != 9 || progress == 0 {
				t.Errorf("verify: %+v, %v, progress %d", v, err, progress)
			}
			for _, tt := range [][3]string{
				{"bridge/live", "bridge/x", "bridge/live is part of the gateway that runs; stop it"},
				{"bridge/live/0", "bridge/x/0", "bridge/live is part of the gateway that runs"},
				{"bridge/old", "bridge/live", "bridge/live is part of the gateway that runs"},
				{"session/a", "session/b", "session/a is part of the gateway that runs"},
				{"bridge/old", "adapter/old", "a queue stays what it is"},
				{"bridge/gone", "bridge/new", "no such queue: bridge/gone"},
			} {
				if _, err := s.Rename(ctx, tt[0], tt[1]); err == nil || !strings.Contains(err.Error(), tt[2]) {
					t.Errorf("rename %s to %s: %v", tt[0], tt[1], err)
				}
			}
			r.local.Store.Set(store.Key("upstream", "old"), []byte("u"))
			names, err := s.Rename(ctx, "bridge/old", "bridge/new")
			if err != nil || !reflect.DeepEqual(names, []string{"bridge/new/0", "bridge/new/3"}) {
				t.Errorf("rename: %q, %v", names, err)
			}
			if v, _ := r.local.Store.Get(store.Key("upstream", "new")); string(v) != "u" {
				t.Errorf("the session at the cloud stayed behind: %q", v)
			}
			if did, err := s.ResetBridge(ctx, "new"); err != nil || did != (Reset{Bridge: "new", HadSession: true, Waiting: 8}) {
				t.Errorf("reset: %+v, %v", did, err)
			}
			if _, ok := r.local.Store.Get(store.Key("upstream", "new")); ok {
				t.Error("the session is still on record")
			}
			if did, err := s.ResetBridge(ctx, "new"); err != nil || did.HadSession {
				t.Errorf("reset again: %+v, %v", did, err)
			}
			if _, err := s.ResetBridge(ctx, "old"); err == nil || !strings.Contains(err.Error(), "no such bridge: old; there are live, new") {
				t.Errorf("reset of a bridge that is none: %v", err)
			}
			if n, err := s.Purge(ctx, "bridge/new/0"); err != nil || n != 7 {
				t.Errorf("purged %d, %v", n, err)
			}
			if _, err := s.Purge(ctx, "bridge/old/0"); err == nil {
				t.Error("purged what is not there")
			}
			q, err := s.Queues(ctx)
			if err != nil || len(q.Queues) != 3 || q.Queues[1].Queue != "bridge/new/0" || q.Queues[1].Lost["purged"] != 7 || q.Queues[1].Messages != 0 {
				t.Fatalf("queues: %+v, %v", q, err)
			}
			want := []TopicCount{{"t/0", 3}, {"t/1", 2}, {"t/2", 2}}
			if len(q.Gaps) != 1 || q.Gaps[0].Queue != "bridge/new/0" || q.Gaps[0].Count != 7 || !reflect.DeepEqual(q.Gaps[0].Topics, want) || q.Gaps[0].More {
				t.Fatalf("gaps: %+v", q.Gaps)
			}
		})
	}
}

func TestBadRequestsGetOneClearError(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "nothing", "", 404, "there is no GET /v1/nothing"},
		{"GET", "purge", "", 404, "there is no GET /v1/purge"},
		{"POST", "purge", "{", 400, "the request is no such JSON"},
		{"POST", "purge", `{"queu": "x"}`, 400, "unknown field"},
		{"POST", "purge", `{"queue": "` + strings.Repeat("x", 1<<20) + `"}`, 400, "too large"},
		{"POST", "purge", `{"queue": "x"}`, 404, "no such queue"},
		{"POST", "bridges/reset", `{"bridge": "x"}`, 404, "no such bridge: x, nor any other"},
		{"POST", "rename", `{"from": "session/a", "to": "session/b"}`, 409, "in use"},
		{"GET", "messages?queue=x&last=-1", "", 400, "last"},
		{"GET", "messages", "", 404, "no such queue"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://gateway/v1/"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := r.client.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		n, _ := resp.Body.Read(b)
		resp.Body.Close()
		if resp.StatusCode != tt.status || !strings.Contains(string(b[:n]), tt.want) || !strings.HasPrefix(string(b[:n]), `{"error":"`) {
			t.Errorf("%s %s: %d %s, want %d %s", tt.method, tt.path, resp.StatusCode, b[:n], tt.status, tt.want)
		}
	}
}

func TestTheSocket(t *testing.T) {
	r := newRig(t)
	info, err := os.Stat(r.socket)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Listen(r.socket); err == nil || !strings.Contains(err.Error(), "another gateway answers there") {
		t.Errorf("a socket in use: %v", err)
	}
	stale := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	if ln, err = Listen(stale); err != nil {
		t.Fatalf("a socket that a dead process has left: %v", err)
	}
	ln.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil {
		t.Error("a file that is no socket was replaced")
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("the file: %q, %v", b, err)
	}
	if _, err := Dial(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no socket: %v", err)
	}
	r.publish("session/a", 1)
	st, err := r.client.Status(t.Context())
	if err != nil || st.ID != "gw" || st.Disk.Bytes == 0 {
		t.Errorf("status %+v, %v", st, err)
	}
}
