package bridge

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"

	"packetboat/bridge/dial"
	"packetboat/broker/packet"
)

func TestAnErrorIsTakenApart(t *testing.T) {
	refused := &dial.Error{Stage: "connect", Err: syscall.ECONNREFUSED, Remedy: "start what should listen"}
	for _, c := range []struct {
		name         string
		err          error
		what, remedy string
	}{
		{"none", nil, "", ""},
		{"of the way there", fmt.Errorf("h:1: %w", refused), "h:1: connect: connection refused", "start what should listen"},
		{"the same at two servers is one remedy",
			errors.Join(fmt.Errorf("a:1: %w", refused), fmt.Errorf("b:1: %w", refused)),
			"a:1: connect: connection refused; b:1: connect: connection refused", "start what should listen"},
		{"a refused CONNECT", fmt.Errorf("h:1: %w", &refusedConnect{code: packet.BadUserNameOrPassword}),
			"h:1: bad user name or password (0x86)", "check username and password"},
		{"several mistakes in the files are one line",
			fmt.Errorf("h:1: %w", &dial.Error{Stage: "TLS files", Err: errors.Join(errors.New("x"), errors.New("y"))}),
			"h:1: TLS files: x; y", ""},
		{"an end without a word", io.EOF, "the connection was closed from there: EOF",
			"if it is not back soon, see the server's log, and whether something on the way cuts connections"},
		{"no connection at all is known of", errors.New("some other"), "some other", ""},
	} {
		what, remedy := Diagnose(c.err)
		if what != c.what || remedy != c.remedy {
			t.Errorf("%s: %q, %q\nnot %q, %q", c.name, what, remedy, c.what, c.remedy)
		}
	}
}
