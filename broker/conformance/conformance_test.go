// Package conformance holds the broker against the normative statements of
// MQTT 5.0 and 3.1.1, byte by byte over real sockets: what the client of these
// tests sends and reads is put together and taken apart here, without the
// codec that is under test.
//
// Each case of a chapter's table names the statements that it shows, for each
// version by itself, as the same number means different things: "3.1.2-2" of
// 5.0 is not that of 3.1.1. docs/conformance.md is made of these tables:
//
//	go test ./broker/conformance -update                      # write it again
//	go test ./broker/conformance -addr 127.0.0.1:1883         # hold another broker against the cases
//	go test ./broker/conformance -run 'TestWill/3.1.1/' -v
package conformance

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"packetboat/broker"
)

var (
	addr   = flag.String("addr", "", "run against the broker at `host:port`, as far as cases need no broker of their own")
	update = flag.Bool("update", false, "write docs/conformance.md")
)

// The versions of the protocol, as they stand in CONNECT.
const (
	v311 byte = 4
	v5   byte = 5
)

func versionName(v byte) string {
	if v == v5 {
		return "5.0"
	}
	return "3.1.1"
}

// chapter is a table of cases, run by the test function Test + name.
type chapter struct {
	name  string
	cases []testCase
}

// testCase runs once for each version for which it names statements; what the
// bytes look like in a version is the client's to know.
type testCase struct {
	name      string                // a sentence
	of5       string                // statements of 5.0 that it shows, separated by spaces
	of311     string                // and of 3.1.1
	pending   string                // why it fails; when it does not any more, that is an error
	own       func(*broker.Options) // the case gets a broker of its own, with these options
	ownBroker bool                  // the case gets one with the default options
	run       func(w *world)
}

func (c *testCase) shows(v byte) []string {
	if v == v5 {
		return strings.Fields(c.of5)
	}
	return strings.Fields(c.of311)
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Cases that wait for a will delay or a keep alive do nothing meanwhile.
	if err := flag.Set("test.parallel", "16"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// runChapter runs the cases of a chapter side by side.
func runChapter(t *testing.T, ch chapter) {
	t.Parallel()
	shared := newServer(t, nil)
	for _, v := range []byte{v5, v311} {
		t.Run(versionName(v), func(t *testing.T) {
			t.Parallel()
			for i := range ch.cases {
				c := &ch.cases[i]
				if len(c.shows(v)) == 0 {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.do(t, v, shared)
				})
			}
		})
	}
}

func (c *testCase) do(t *testing.T, v byte, shared *server) {
	w := &world{t: t, v: v, s: shared, name: fmt.Sprintf("c%d", worlds.Add(1))}
	if c.own != nil || c.ownBroker {
		if *addr != "" {
			t.Skip("needs a broker of its own")
		}
		w.s = newServer(t, c.own)
	}
	failed := c.try(w)
	switch {
	case failed == "" && (c.pending == "" || *addr != ""):
	case failed == "":
		t.Errorf("passes now: it is not pending any more (%s)", c.pending)
	case c.pending != "" && *addr == "":
		t.Logf("PENDING, %s: %s", c.pending, failed)
	default:
		t.Error(failed)
	}
}

// try runs the case and says what failed.
func (c *testCase) try(w *world) (failed string) {
	defer w.close()
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(failure)
			if !ok {
				panic(r)
			}
			failed = string(f)
		}
	}()
	c.run(w)
	return ""
}

// failure ends a case; it is a panic because a pending case may fail, which a
// testing.T does not forget.
type failure string

// rigFiles are skipped when the place of a failure is looked for.
var rigFiles = []string{"conformance_test.go", "world_test.go", "client_test.go", "wire_test.go", "lint_test.go", "frame_test.go"}

func (w *world) fatalf(format string, args ...any) {
	place := ""
	var callers [32]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers[:])])
	for {
		f, more := frames.Next()
		rig := false
		for _, r := range rigFiles {
			rig = rig || filepath.Base(f.File) == r
		}
		if !rig {
			place = fmt.Sprintf("%s:%d: ", filepath.Base(f.File), f.Line)
			break
		}
		if !more {
			break
		}
	}
	panic(failure(place + fmt.Sprintf(format, args...)))
}

var worlds atomic.Int64
