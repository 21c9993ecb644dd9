package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/gateway/admin"
)

// fillLane makes a data directory in which n messages wait for bridge/cloud/0.
func fillLane(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	c, err := s.Consumer("bridge/cloud/0", store.LaneIDs(0))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		m := &store.Message{Topic: fmt.Sprint("t/", i%3), Payload: fmt.Appendf(nil, "message %d", i), QoS: byte(i % 3)}
		if i%5 == 0 {
			m.Payload = append(m.Payload, 0xff)
			m.Props = packet.AppendUserProp(packet.AppendStringProp(nil, packet.PropCorrelationData, []byte{0, 0xfe}), "site", "north")
		}
		if _, err := s.Publish(m, []store.Target{{Consumer: c, QoS: m.QoS, KeepRetain: i%7 == 0}}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return dir
}

// exportTo exports a queue into a file.
func exportTo(t *testing.T, args ...string) (file, text string) {
	t.Helper()
	code, out, errOut := queue(t, append([]string{"export"}, args...)...)
	if code != 0 {
		t.Fatalf("export: exit code %d: %s", code, errOut)
	}
	file = filepath.Join(t.TempDir(), "export.jsonl")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, out
}

var ofSeq = regexp.MustCompile(`"seq":\d+,`)

// withoutSeqs is what an import keeps of an export.
func withoutSeqs(text string) string { return ofSeq.ReplaceAllString(text, "") }

// TestAQueueMovesFromADeadGatewayToAnother is the way that docs/maintenance.md has:
// export from the old card, import on the gateway that runs, or that is stopped.
func TestAQueueMovesFromADeadGatewayToAnother(t *testing.T) {
	const n = 2500 // more than two batches
	old := fillLane(t, n)
	file, want := exportTo(t, "bridge/cloud/0", "-dir", old)
	for _, way := range []string{"to the gateway that runs", "to one that is stopped", "to a directory"} {
		t.Run(way, func(t *testing.T) {
			g := newBridged(t)
			stop := g.run() // the first start makes the queues
			at := []string{"-config", g.config}
			if way != "to the gateway that runs" {
				stop()
				stop = func() {}
			}
			if way == "to a directory" {
				at = []string{"-dir", g.data}
			}
			defer stop()
			code, out, errOut := queue(t, append([]string{"import", "bridge/cloud/0", file}, at...)...)
			if code != 0 || out != fmt.Sprintf("bridge/cloud/0: %d messages queued\n", n) || errOut != "" {
				t.Fatalf("exit code %d: %s%s", code, out, errOut)
			}
			if _, got := exportTo(t, append([]string{"bridge/cloud/0"}, at...)...); withoutSeqs(got) != withoutSeqs(want) {
				t.Errorf("exported there as other messages, or in another order")
			}
			if code, out, errOut := queue(t, append([]string{"verify"}, at...)...); code != 0 {
				t.Errorf("verify: %s%s", out, errOut)
			}
			if code, out, errOut = queue(t, append([]string{"import", "bridge/cloud/0", file, "-from", fmt.Sprint(n - 9), "-json"}, at...)...); code != 0 ||
				!strings.HasSuffix(out, fmt.Sprintf("{\"queue\":\"bridge/cloud/0\",\"lines\":10,\"queued\":10,\"next_line\":%d,\"end\":true}\n", n+1)) {
				t.Errorf("from a line on: exit code %d: %s%s", code, out, errOut)
			}
		})
	}
}

func TestWhatIsWrongWithAnImport(t *testing.T) {
	dir := fillLane(t, 3)
	good := `{"topic":"t","qos":1,"text":"x"}`
	file := func(lines ...string) string {
		name := filepath.Join(t.TempDir(), "x.jsonl")
		if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	damaged := file(good, `{"topic":"a/#","text":""}`, "", good, `{"topic":"t","te`)
	for _, tt := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"each wrong line is named, and nothing is queued", []string{"import", "bridge/cloud/0", damaged}, 1,
			[]string{damaged + `:2: "topic" has a wildcard`, damaged + ":5: the line is cut off", "2 lines are wrong in " + damaged + "; nothing was queued"}},
		{"a check says the same", []string{"import", "bridge/cloud/0", damaged, "-check"}, 1, []string{damaged + ":2:", damaged + ":5:"}},
		{"only the first of many", []string{"import", "bridge/cloud/0", file(strings.Split(strings.Repeat("x\n", 30), "\n")...)}, 1, []string{":10:", "30 lines of", "these are the first"}},
		{"lines before -from are not looked at", []string{"import", "bridge/cloud/0", file("x", good), "-from", "2", "-check"}, 0, []string{"1 message,"}},
		{"behind the end", []string{"import", "bridge/cloud/0", file(good), "-from", "3"}, 1, []string{"has 1 lines, and -from says 3"}},
		{"no such line", []string{"import", "bridge/cloud/0", file(good), "-from", "0"}, 1, []string{"count from 1 on"}},
		{"a check of what is fine", []string{"import", "bridge/cloud/0", file(good, good), "-check"}, 0, []string{"2 messages", "nothing is wrong"}},
		{"a check for a program", []string{"import", "bridge/cloud/0", file(good, "", good), "-check", "-json"}, 0, []string{`"lines":3,"messages":2,"bytes":`, `"wrong_lines":0`}},
		{"no such queue", []string{"import", "bridge/none/0", file(good)}, 1, []string{"no such queue: bridge/none/0; there are bridge/cloud/0"}},
		{"no such file", []string{"import", "bridge/cloud/0", "/nowhere/x"}, 1, []string{"no such file"}},
		{"a directory", []string{"import", "bridge/cloud/0", t.TempDir()}, 1, []string{"is a directory"}},
		{"no queue given", []string{"import"}, 2, []string{"usage: packetboat queue import QUEUE [FILE]"}},
		{"too many words", []string{"import", "bridge/cloud/0", "a", "b"}, 2, []string{"usage: packetboat queue import QUEUE [FILE]"}},
		{"more than the directory may have", []string{"import", "bridge/cloud/0", file(good), "-config", tooSmall(t)}, 2, []string{"max_size"}},
		{"what the export says of itself", []string{"import", "bridge/cloud/0", file(`{"message":`+good+`}`, `{"error":"2 messages of a are damaged; those are not shown"}`)}, 0,
			[]string{"1 message queued", "the export is not complete, it says at its end: 2 messages of a are damaged"}},
		{"an empty file", []string{"import", "bridge/cloud/0", file()}, 0, []string{"0 messages queued"}},
		{"all the same, three wait, and the one that was said", []string{"ls"}, 0, []string{"bridge/cloud/0  4"}},
	} {
		code, out, errOut := queue(t, append(tt.args, "-dir", dir)...)
		if code != tt.code {
			t.Errorf("%s: exit code %d, want %d: %s%s", tt.name, code, tt.code, out, errOut)
		}
		for _, w := range tt.want {
			if !strings.Contains(out+errOut, w) {
				t.Errorf("%s: %q is not in\n%s%s", tt.name, w, out, errOut)
			}
		}
	}
}

// tooSmall is a configuration with a max_size that no gateway would start with.
func tooSmall(t *testing.T) string {
	name := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(name, []byte("[gateway]\nid = \"a\"\n[queue]\nmax_size = \"1KiB\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestTheBoundsOfAStoppedGatewayHoldForAnImport: else it would drop its oldest
// messages when it starts.
func TestTheBoundsOfAStoppedGatewayHoldForAnImport(t *testing.T) {
	for _, tt := range []struct{ name, more, lane, want string }{
		{"those of the queue", "max_size = \"16MiB\"", "", "max_size (16777216) leaves"},
		{"those of the lane", "", "max_size = \"64KiB\"", "may have 65536"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newBridged(t)
			text, err := os.ReadFile(g.config)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(text), "[queue]\n", "[queue]\n"+tt.more+"\n", 1) + tt.lane + "\n"
			if err := os.WriteFile(g.config, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			g.run()()
			name := filepath.Join(t.TempDir(), "x.jsonl")
			line := `{"topic":"t","qos":1,"text":"` + strings.Repeat("x", 10_000) + "\"}\n"
			if err := os.WriteFile(name, []byte(strings.Repeat(line, 2000)), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, errOut := queue(t, "import", "bridge/cloud/0", name, "-config", g.config)
			if code != 1 || !strings.Contains(errOut, "it does not fit") || !strings.Contains(errOut, tt.want) {
				t.Errorf("exit code %d: %s%s", code, out, errOut)
			}
		})
	}
}

// program is packetboat in a process of its own.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner // of what it prints
}

func runProgram(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(os.Args[0], "-test.run=^TestAsTheProgram$")}
	p.cmd.Env = append(os.Environ(), runIt+"="+strings.Join(args, " "))
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	p.cmd.Stdout, p.cmd.Stderr, p.lines = w, w, bufio.NewScanner(out)
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(p.kill)
	return p
}

// await returns the first line that ok accepts.
func (p *program) await(ok func(line string) bool) string {
	p.t.Helper()
	var all []string
	for p.lines.Scan() {
		if all = append(all, p.lines.Text()); ok(p.lines.Text()) {
			return p.lines.Text()
		}
	}
	p.t.Fatalf("it ended before it said that; it said:\n%s", strings.Join(all, "\n"))
	return ""
}

// kill ends it at once.
func (p *program) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill() // it may have ended by itself
		_ = p.cmd.Wait()
	}
}

func numberedLine(i int) string {
	return fmt.Sprintf(`{"topic":"t","qos":1,"text":"%d"}`+"\n", i)
}

// TestAKilledImportLosesNothingThatItReported: the client is killed, or the gateway.
// From the line that it said last on, all arrives, in its order, and no more than
// a batch twice.
func TestAKilledImportLosesNothingThatItReported(t *testing.T) {
	const reported, all = 4000, 7000
	for _, victim := range []string{"the client", "the gateway"} {
		t.Run(victim, func(t *testing.T) {
			g := newBridged(t)
			runs := func(line string) bool { return strings.Contains(line, "gateway runs") }
			gw := runProgram(t, "run", "-config", g.config)
			gw.await(runs)
			client := runProgram(t, "queue", "import", "bridge/cloud/0", "-json", "-config", g.config)
			fed := make(chan struct{})
			go func() {
				defer close(fed)
				for i := range all { // until it is killed
					if _, err := io.WriteString(client.in, numberedLine(i)); err != nil {
						return
					}
				}
			}()
			var state importState
			client.await(func(line string) bool {
				if err := json.Unmarshal([]byte(line), &state); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				return state.Queued >= reported
			})
			if victim == "the client" {
				client.kill()
			} else {
				gw.kill()
				// It may have been told of more before; what it says last counts.
				for client.lines.Scan() {
					if strings.HasPrefix(client.lines.Text(), "{") {
						if err := json.Unmarshal(client.lines.Bytes(), &state); err != nil {
							t.Fatal(err)
						}
					}
				}
				if state.Error == "" || !strings.Contains(state.Error, fmt.Sprintf("go on with -from %d", state.Next)) {
					t.Errorf("it says %+v", state)
				}
				gw = runProgram(t, "run", "-config", g.config)
				gw.await(runs)
			}
			<-fed
			if state.Next != int(state.Queued)+1 || state.End {
				t.Fatalf("it says %+v", state)
			}
			if victim == "the client" {
				gw.kill() // or the other import would have to wait
				gw = runProgram(t, "run", "-config", g.config)
				gw.await(runs)
			}
			var rest strings.Builder
			for i := range all {
				rest.WriteString(numberedLine(i))
			}
			file := filepath.Join(t.TempDir(), "x.jsonl")
			if err := os.WriteFile(file, []byte(rest.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			if code, out, errOut := queue(t, "import", "bridge/cloud/0", file, "-from", fmt.Sprint(state.Next), "-config", g.config); code != 0 {
				t.Fatalf("exit code %d: %s%s", code, out, errOut)
			}
			_, got := exportTo(t, "bridge/cloud/0", "-config", g.config)
			next, twice := 0, 0
			for line := range strings.Lines(got) {
				var m struct{ Text string }
				if err := json.Unmarshal([]byte(line), &m); err != nil {
					t.Fatal(err)
				}
				var i int
				fmt.Sscan(m.Text, &i)
				switch {
				case i == next:
					next++
				case i == state.Next-1 && i < next: // of the batch that it was not told of
					twice, next = next-i, i+1
				default:
					t.Fatalf("message %d, not %d", i, next)
				}
			}
			if next != all || twice > importLines {
				t.Errorf("%d of %d are there, %d twice", next, all, twice)
			}
			t.Logf("reported %d, %d came twice", state.Queued, twice)
		})
	}
}

// TestAnImportOfAPipeStopsAtAWrongLine, and says what is in.
func TestAnImportOfAPipeStopsAtAWrongLine(t *testing.T) {
	dir := fillLane(t, 1)
	p := runProgram(t, "queue", "import", "bridge/cloud/0", "-", "-dir", dir)
	var text strings.Builder
	for i := range 1500 {
		text.WriteString(numberedLine(i))
	}
	text.WriteString("{}\n" + numberedLine(1))
	if _, err := io.WriteString(p.in, text.String()); err != nil {
		t.Fatal(err)
	}
	p.in.Close()
	p.await(func(line string) bool {
		return strings.Contains(line, `standard input:1501: there is no payload`) && strings.Contains(line, "1500 messages are queued; go on with -from 1501")
	})
	_ = p.cmd.Wait()
	if code := p.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if _, got := exportTo(t, "bridge/cloud/0", "-dir", dir); strings.Count(got, "\n") != 1501 {
		t.Errorf("%d are there", strings.Count(got, "\n"))
	}
}

// TestAnImportOfASilentPipeCanBeInterrupted.
func TestAnImportOfASilentPipeCanBeInterrupted(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close() // ends the reader
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	i := &importing{env: &env{err: os.Stderr, out: os.Stdout}, queue: "bridge/cloud/0", file: &exportFile{name: "pipe", file: r, from: 8}}
	if err := i.run(ctx); err == nil || err.Error() != "interrupted; 0 messages are queued; go on with -from 8" {
		t.Error(err)
	}
}

// TestTheLinesOfAnExport: as long as they may be, and longer.
func TestTheLinesOfAnExport(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "a\n\n%s\nb", strings.Repeat(" ", admin.MaxLine+1))
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	l := (&exportFile{file: f}).lines()
	var got []string
	for {
		text, err := l.next()
		if err == io.EOF {
			break
		}
		got = append(got, fmt.Sprintf("%d %.5s %v", l.line, text, err == errLong))
	}
	if want := "1 a false,2  false,3  true,4 b false"; strings.Join(got, ",") != want {
		t.Errorf("%q", got)
	}
}
