package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"packetboat/config"
	"packetboat/gateway/admin"
)

const topHelp = `A live screen of the gateway that runs, drawn anew each second: is it flowing, how
many messages a second come and go, what waits, bridges, adapters, clients, and what
is wrong. q or Ctrl-C ends it. With -once, or when the output is no terminal, it is
printed once, with the rates of one second.
`

// topEvery is how often the screen is drawn.
const topEvery = time.Second

func topCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	path := configFlag(f)
	once := f.Bool("once", false, "print one screen and end")
	if code, ok := e.parse(f, args); !ok {
		return code
	}
	cfg, err := config.Load(*path, config.Options{})
	if err != nil {
		fmt.Fprintln(e.err, err)
		return exitUsage
	}
	if *once || !term.IsTerminal(int(e.out.Fd())) || !term.IsTerminal(int(os.Stdin.Fd())) {
		err = topOnce(ctx, e.out, cfg)
	} else {
		err = topLive(ctx, e.out, os.Stdin, cfg)
	}
	if err != nil {
		return e.fail(err)
	}
	return exitFine
}

// view is what a gateway has told at a moment.
type view struct {
	at      time.Time
	status  *admin.Status
	queues  *admin.Queues
	bridges *admin.Bridges
}

// look asks for a view.
func look(ctx context.Context, cfg *config.Config) (v view, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := dialGateway(ctx, cfg)
	if err != nil {
		return v, err
	}
	defer c.Close()
	v.at = time.Now()
	if v.status, err = c.Status(ctx); err != nil {
		return v, err
	}
	if v.queues, err = c.Queues(ctx); err != nil {
		return v, err
	}
	v.bridges, err = c.Bridges(ctx)
	return v, err
}

// topOnce prints one screen, after the second that rates need.
func topOnce(ctx context.Context, out io.Writer, cfg *config.Config) error {
	before, err := look(ctx, cfg)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(topEvery):
	}
	now, err := look(ctx, cfg)
	if err != nil {
		return err
	}
	lines := topLines(before, now)
	for i := range lines {
		lines[i] = visible(lines[i])
	}
	_, err = fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}

// The codes of a terminal (ECMA-48, and xterm's alternate screen).
const (
	screenOn  = "\x1b[?1049h\x1b[?25l" // another screen, without a cursor
	screenOff = "\x1b[?25h\x1b[?1049l"
	toTop     = "\x1b[H"
	lineEnd   = "\x1b[K" // clears what was behind it
	restClear = "\x1b[J"
)

// topLive draws the screen until ctx ends or q is typed, and leaves the terminal as
// it was.
func topLive(ctx context.Context, out, in *os.File, cfg *config.Config) (err error) {
	restore, err := typedAtOnce(in)
	if err != nil {
		return err
	}
	defer restore()
	if _, err := io.WriteString(out, screenOn); err != nil {
		return err
	}
	defer func() {
		_, e := io.WriteString(out, screenOff)
		err = errors.Join(err, e)
	}()
	ctx, cancel := context.WithCancel(ctx)
	var keys sync.WaitGroup
	keys.Go(func() { awaitQ(ctx, in, cancel) })
	defer keys.Wait()
	defer cancel()
	tick := time.NewTicker(topEvery)
	defer tick.Stop()
	var before view
	for {
		now, err := look(ctx, cfg)
		if ctx.Err() != nil {
			return nil
		}
		lines := []string{"packetboat top", "", fmt.Sprint(err), "", "it is tried again; q ends"}
		if err == nil {
			lines = topLines(before, now)
			before = now
		}
		if err := draw(out, lines); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// typedAtOnce has keys read as they are typed, not line by line, and a read return
// after a tenth of a second without any. Ctrl-C stays a signal; Ctrl-Z is off: the
// screen would be left behind. restore puts everything back.
func typedAtOnce(in *os.File) (restore func(), err error) {
	fd := int(in.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read the terminal's settings: %w", err)
	}
	now := *was
	now.Lflag &^= unix.ICANON | unix.ECHO
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 0, 1
	now.Cc[unix.VSUSP] = 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &now); err != nil {
		return nil, fmt.Errorf("set the terminal: %w", err)
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, was) }, nil // a terminal that is gone needs none
}

// awaitQ calls quit when q is typed, or nothing can be any more; it returns soon
// after ctx has ended.
func awaitQ(ctx context.Context, in *os.File, quit func()) {
	var key [16]byte
	for ctx.Err() == nil {
		began := time.Now()
		n, err := unix.Read(int(in.Fd()), key[:])
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		gone := n == 0 && time.Since(began) < 10*time.Millisecond // that was no tenth of a second
		if err != nil || gone || bytes.ContainsAny(key[:max(n, 0)], "qQ\x03") {
			quit()
			return
		}
	}
}

// draw puts lines on the screen, cut to its size, in one piece: it must not flicker.
func draw(out *os.File, lines []string) error {
	width, height, err := term.GetSize(int(out.Fd()))
	if err != nil || width == 0 {
		width, height = 80, 24
	}
	var b strings.Builder
	b.WriteString(toTop)
	for i, l := range lines[:min(len(lines), height)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(cutTo(l, width) + lineEnd)
	}
	b.WriteString(restClear)
	_, err = io.WriteString(out, b.String())
	return err
}

// visible is a text in which nothing controls the terminal: client ids and topics
// are chosen by others.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '·'
		}
		return r
	}, s)
}

// cutTo is at most so many characters of a line.
func cutTo(l string, width int) string {
	l = visible(l)
	if utf8.RuneCountInString(l) <= width {
		return l
	}
	return string([]rune(l)[:max(width-1, 0)]) + "…"
}
