package users

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// helpVariable has a process of these tests be a helper.
const helpVariable = "-help-with-hashes"

func TestMain(m *testing.M) {
	if slices.Contains(os.Args, helpVariable) {
		if err := Help(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestLoginsByAHelper(t *testing.T) {
	s := open(t, Options{Helper: []string{os.Args[0], helpVariable}}).run()
	s.want("bob", "bob1", Right, 1)
	s.want("bob", "bob1", Right, 0)
	s.want("bob", "bob2", Wrong, 1)
	s.want("nobody", "bob1", Wrong, 1)
	s.want("eve", "eve1", Right, 1)
	s.stop()
	if s.log.Len() > 0 {
		t.Errorf("the log says: %s", s.log.String())
	}
}

func TestAHelperThatDoesNotHelp(t *testing.T) {
	for name, command := range map[string][]string{
		"it is not there":         {"/nonexistent/packetboat"},
		"it ends at once":         {"/bin/false"},
		"it says something else":  {"/bin/echo", "hello"},
		"its answer is too short": {"/bin/echo", `{"Sum":"AAAA"}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Options{Helper: command}).run()
			s.want("bob", "bob1", Right, 1)
			s.want("bob", "bob2", Wrong, 1)
			s.stop()
			if !strings.Contains(s.log.String(), "passwords are verified by the gateway itself") {
				t.Errorf("the log does not say so: %s", s.log.String())
			}
		})
	}
}

// A helper that is killed is started again; one whose time has come is gone.
func TestAHelperComesAndGoes(t *testing.T) {
	h, err := parseHash(newHash([]byte("secret")).String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := helper{command: []string{os.Args[0], helpVariable}}
	sum := func() (right bool, err error) {
		b, err := p.sum(ctx, h, []byte("secret"))
		return h.is(b), err
	}
	if right, err := sum(); !right || err != nil {
		t.Fatal(right, err)
	}
	first := p.cmd.Process
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if right, err := sum(); !right || err == nil || p.cmd != nil {
		t.Fatalf("after a kill: %v, %v", right, err)
	}
	if right, err := sum(); !right || err != nil || p.cmd.Process.Pid == first.Pid {
		t.Fatalf("a new one: %v, %v", right, err)
	}
	p.stop()
	if right, err := sum(); !right || err != nil {
		t.Fatalf("after it was ended: %v, %v", right, err)
	}
	cancel()
	if right, err := sum(); right || err != nil || p.cmd != nil {
		t.Fatalf("after the end: %v, %v", right, err)
	}
}

func TestHelpEndsWithItsInput(t *testing.T) {
	if err := Help(strings.NewReader(""), &bytes.Buffer{}); err != nil {
		t.Error(err)
	}
	if err := Help(strings.NewReader("x"), &bytes.Buffer{}); err == nil {
		t.Error("it takes anything")
	}
}
