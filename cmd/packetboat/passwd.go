package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"packetboat/broker/users"
	"packetboat/config"
)

const passwdHelp = `It adds the user NAME to the users file (auth.users), or gives the user another
password, or removes the user. On a terminal the password is asked for, twice;
else it is the first line of standard input:

  head -c 18 /dev/urandom | base64 | tee meter-7.password | packetboat passwd meter-7

The gateway that runs takes the change in by itself. Clients of a user that is
removed are disconnected, those whose password has changed are not.

A new file has mode 0600. Made by root, it belongs to the owner of the gateway's
data directory. Lines of Mosquitto's password files may be in it.
`

type passwdFlags struct {
	config, file *string
	remove, list *bool
}

func passwdCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	p := passwdFlags{
		config: configFlag(f),
		file:   f.String("file", "", "users `FILE`, instead of that of a configuration"),
		remove: f.Bool("delete", false, "remove the user"),
		list:   f.Bool("list", false, "list the users"),
	}
	words, code, ok := e.parseWords(f, args)
	if !ok {
		return code
	}
	if *p.list && (len(words) > 0 || *p.remove) || !*p.list && len(words) != 1 {
		fmt.Fprintf(e.err, "packetboat passwd: usage: packetboat passwd %s (packetboat help passwd)\n", e.cmd.args)
		return exitUsage
	}
	path, owner, err := p.where()
	if err != nil {
		fmt.Fprintln(e.err, err)
		return exitUsage
	}
	switch {
	case *p.list:
		err = listUsers(e, path)
	case *p.remove:
		err = removeUser(e, path, words[0])
	default:
		err = setUser(ctx, e, path, owner, words[0])
	}
	if err != nil {
		return e.fail(err)
	}
	return exitFine
}

// where is the file, and whom it is to belong to when it is made; nil: to whoever
// makes it.
func (p *passwdFlags) where() (path string, owner *users.Owner, err error) {
	if *p.file != "" {
		return *p.file, nil, nil
	}
	cfg, err := config.Load(*p.config, config.Options{})
	if err != nil {
		return "", nil, fmt.Errorf("%w\npacketboat passwd: -file FILE needs no configuration", err)
	}
	if cfg.Auth.Users == "" {
		return "", nil, cfg.Errorf("auth.users", "is empty, so there is no users file")
	}
	if st, err := os.Stat(cfg.Gateway.DataDir); err == nil && os.Geteuid() == 0 {
		if s, ok := st.Sys().(*syscall.Stat_t); ok {
			owner = &users.Owner{UID: int(s.Uid), GID: int(s.Gid)}
		}
	}
	return cfg.Auth.Users, owner, nil
}

func listUsers(e *env, path string) error {
	l, err := users.Read(path)
	if err != nil {
		return err
	}
	for _, p := range l.Problems {
		fmt.Fprintf(e.err, "%s: %v\n", path, p)
	}
	for _, name := range l.Names() {
		fmt.Fprintln(e.out, name)
	}
	return nil
}

func removeUser(e *env, path, name string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	if err := users.Edit(path, nil, func(l *users.List) error {
		if !l.Remove(name) {
			return fmt.Errorf("there is no user %q in %s", name, path)
		}
		return nil
	}); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "user %s was removed from %s\n", name, path)
	return nil
}

func setUser(ctx context.Context, e *env, path string, owner *users.Owner, name string) error {
	if err := users.CheckName(name); err != nil {
		return err
	}
	password, err := readPassword(ctx, e, os.Stdin, name)
	if err != nil {
		return err
	}
	defer clear(password)
	_, missing := os.Stat(path)
	text := "user %s was added to %s\n"
	if err := users.Edit(path, owner, func(l *users.List) error {
		if l.Has(name) {
			text = "user %s has another password now, in %s\n"
		}
		return l.Set(name, password)
	}); err != nil {
		return err
	}
	fmt.Fprintf(e.out, text, name, path)
	if missing != nil && owner == nil && os.Geteuid() == 0 {
		fmt.Fprintf(e.err, "packetboat passwd: %s belongs to root, and nobody else may read it: give it to the user that runs the gateway (chown packetboat: %[1]s)\n", path)
	}
	return nil
}

// readPassword asks for a password, or takes the first line of what is no
// terminal.
func readPassword(ctx context.Context, e *env, in *os.File, name string) ([]byte, error) {
	if !term.IsTerminal(int(in.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(in, 1<<17)).ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read the password: %w", err)
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
	}
	shown, err := hideInput(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	defer shown()
	first, err := askPassword(ctx, e, in, "Password for "+name+": ")
	if err != nil {
		return nil, err
	}
	second, err := askPassword(ctx, e, in, "Once more: ")
	if err != nil {
		return nil, err
	}
	defer clear(second)
	if !bytes.Equal(first, second) {
		return nil, errors.New("the two passwords differ; nothing was changed")
	}
	return first, nil
}

// hideInput turns the terminal's echo off, before anything is asked for: who types
// ahead, or is a program, is not shown either. shown turns it on.
func hideInput(fd int) (shown func(), err error) {
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	hidden := *was
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, was) }, nil
}

// askPassword asks on a terminal whose echo is off. A signal gives up.
func askPassword(ctx context.Context, e *env, in *os.File, prompt string) ([]byte, error) {
	fd := int(in.Fd())
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	fmt.Fprint(e.err, prompt)
	go func() { // after a signal it ends with the process
		text, err := term.ReadPassword(fd)
		answered <- answer{text, err}
	}()
	select {
	case a := <-answered:
		fmt.Fprintln(e.err)
		if a.err != nil {
			return nil, fmt.Errorf("read the password: %w", a.err)
		}
		return a.text, nil
	case <-ctx.Done():
		fmt.Fprintln(e.err)
		return nil, errors.New("given up; nothing was changed")
	}
}
