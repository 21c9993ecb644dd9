package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"packetboat/broker/store"
)

// fillQueue makes a data directory in which n messages wait for session/a.
func fillQueue(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	c, err := s.Consumer("session/a", store.SessionIDs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		m := &store.Message{Topic: "t", Payload: fmt.Appendf(nil, "message %d", i), QoS: 1}
		if _, err := s.Publish(m, []store.Target{{Consumer: c, QoS: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return dir
}

// queue runs packetboat queue and returns what it printed on both ends.
func queue(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	dir := t.TempDir()
	o, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	e, err := os.Create(filepath.Join(dir, "err"))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	code = dispatch(context.Background(), append([]string{"queue"}, args...), o, e)
	a, err := os.ReadFile(o.Name())
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(e.Name())
	if err != nil {
		t.Fatal(err)
	}
	return code, string(a), string(b)
}

func TestQueueShowsChecksAndChangesWhatWaits(t *testing.T) {
	dir := fillQueue(t, 20)
	for _, step := range []struct {
		name string
		args []string
		code int
		want []string // in what is printed
	}{
		{"ls names the queue and its ledger", []string{"ls"}, 0, []string{"session/a", "20"}},
		{"tail shows the newest", []string{"tail", "session/a", "-n", "2"}, 0, []string{"message 18", "message 19"}},
		{"export shows the oldest first", []string{"export", "session/a"}, 0, []string{`"seq":0,"topic":"t","qos":1`, "message 19"}},
		{"verify agrees", []string{"verify"}, 0, []string{"session/a: 20 waiting, all there"}},
		{"an unknown queue is named with those there are", []string{"export", "session/b"}, 1, []string{"no such queue: session/b; there are session/a"}},
		{"purge wants to be sure", []string{"purge", "session/a"}, 1, []string{"20 messages wait", "-yes"}},
		{"rename keeps what waits", []string{"rename", "session/a", "session/c"}, 0, []string{"session/c"}},
		{"purge counts what it ends", []string{"purge", "session/c", "-yes"}, 0, []string{"20 messages purged"}},
		{"the ledger tells of it", []string{"ls"}, 0, []string{"20 purged"}},
		{"verify still agrees", []string{"verify"}, 0, []string{"session/c: 0 waiting, all there"}},
		{"an unknown verb gives the usage", []string{"eat"}, 2, []string{"usage: packetboat queue ls"}},
	} {
		code, out, errOut := queue(t, append(step.args, "-dir", dir)...)
		if code != step.code {
			t.Errorf("%s: exit code %d, want %d: %s%s", step.name, code, step.code, out, errOut)
		}
		for _, w := range step.want {
			if !strings.Contains(out+errOut, w) {
				t.Errorf("%s: %q is not in\n%s%s", step.name, w, out, errOut)
			}
		}
	}
}

// A mistyped directory is refused and nothing is made in it.
func TestQueueChangesNothingWhereThereIsNoQueue(t *testing.T) {
	dir := t.TempDir()
	code, out, errOut := queue(t, "purge", "session/a", "-yes", "-dir", dir)
	if code != 1 || !strings.Contains(errOut, "holds no queue") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left in the directory: %v %v", entries, err)
	}
}

// A log with flipped bytes is told, and the exit code says so.
func TestQueueVerifyFindsDamage(t *testing.T) {
	dir := fillQueue(t, 5)
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	b, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-3] ^= 0xff
	if err := os.WriteFile(logs[0], b, 0o640); err != nil {
		t.Fatal(err)
	}
	if code, out, errOut := queue(t, "verify", "-dir", dir); code != 1 {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
}

func TestQueueExportReadsToTheEnd(t *testing.T) {
	const n = 70_000 // more than there are packet identifiers
	dir := fillQueue(t, n)
	code, out, errOut := queue(t, "export", "session/a", "-dir", dir)
	if lines := strings.Count(out, "\n"); code != 0 || lines != n {
		t.Errorf("%d messages exported, exit code %d, want %d: %s", lines, code, n, errOut)
	}
}
