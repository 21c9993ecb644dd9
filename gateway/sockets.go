package gateway

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// sockets are those that systemd has opened and passed on, under their
// FileDescriptorName=; several may have one name. They are kept until the
// gateway ends, so that a listener can be opened anew.
type sockets map[string][]*os.File

// passedSockets takes over what systemd has passed, once.
func passedSockets() sockets {
	s := sockets{}
	for _, f := range activation.Files(true) {
		s[f.Name()] = append(s[f.Name()], f)
	}
	return s
}

func (s sockets) close() {
	for _, files := range s {
		for _, f := range files {
			_ = f.Close()
		}
	}
}

// names lists the names.
func (s sockets) names() []string {
	var list []string
	for name := range s {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// A socketError is about a socket that systemd should have passed.
type socketError struct{ what, remedy string }

// Error says what is wrong.
func (e *socketError) Error() string { return e.what }

// missing is the error for a name that no socket has.
func (s sockets) missing(name string) error {
	e := &socketError{what: fmt.Sprintf("systemd has passed no socket named %q", name)}
	if names := s.names(); len(names) > 0 {
		e.what += "; it has passed " + strings.Join(names, ", ")
		e.remedy = "set FileDescriptorName=" + name + " in the socket unit, or give one of these names"
		return e
	}
	e.what += ", nor any other"
	e.remedy = "make a packetboat.socket unit with ListenStream= and FileDescriptorName=" + name + ", and have it started: systemctl enable --now packetboat.socket. If there is one, systemctl status packetboat.socket says why it does not listen: often mosquitto has the port"
	return e
}

// socketListener listens on a socket that was passed.
func socketListener(f *os.File) (net.Listener, error) {
	ln, err := net.FileListener(f)
	if err == nil && !accepts(f) {
		err = errors.Join(errors.New("it is not open for connections"), ln.Close())
	}
	if err != nil {
		return nil, &socketError{
			what:   fmt.Sprintf("the socket %q of systemd cannot be listened on: %v", f.Name(), err),
			remedy: "the socket unit must have ListenStream= and Accept=no",
		}
	}
	return ln, nil
}

// accepts reports whether it is a listening socket. With Accept=yes systemd
// passes connections, which package net would take for one.
func accepts(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	listening := 0
	err = raw.Control(func(fd uintptr) { listening, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN) })
	return err == nil && listening == 1
}
