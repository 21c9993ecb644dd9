package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"packetboat/adapters"
)

const (
	// nameTimeout is how long a peer may take to say its name.
	nameTimeout = 10 * time.Second

	// maxName is the longest name, in bytes.
	maxName = 128
)

var (
	errNoName  = errors.New("no name came in time: a device must say it first (identity = \"first-frame\")")
	errBadName = errors.New("the first frame, which is the name, is damaged or too long")
)

// readName reads the first frame of a connection, its name. The link that it
// returns goes on behind it.
func (a *Adapter) readName(ctx context.Context, link adapters.Link) (adapters.Link, string, error) {
	stop := context.AfterFunc(ctx, func() { _ = link.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	limit := nameTimeout
	if idle := a.opt.Stream.IdleTimeout; idle > 0 {
		limit = min(limit, idle)
	}
	var (
		framing = a.opt.Stream.Framing.NewDecoder()
		quiet   = framing.Idle()
		end     = time.Now().Add(limit)
		buf     = make([]byte, a.opt.Stream.ReadBuffer)
		pending = false // bytes came since the last silence
	)
	for {
		deadline := end
		if d := time.Now().Add(quiet); quiet > 0 && pending && d.Before(end) {
			deadline = d
		}
		if err := link.SetReadDeadline(deadline); err != nil {
			return nil, "", err
		}
		if ctx.Err() != nil { // after the deadline was set: a later end sets its own
			return nil, "", ctx.Err()
		}
		n, err := link.Read(buf)
		// Byte by byte, as what comes behind the name is the Stream's.
		for i := range n {
			framing.Push(buf[i : i+1])
			if f, ok := framing.Next(); ok {
				return behind(link, f, buf[i+1:n])
			}
			if framing.Counters().Bad() > 0 { // the next frame is a reading, perhaps
				return nil, "", errBadName
			}
		}
		pending = pending || n > 0
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, "", fmt.Errorf("it ended before its name: %w", err)
		case !time.Now().Before(end):
			return nil, "", errNoName
		case quiet > 0 && pending:
			pending = false
			if f, ok := framing.Flush(); ok {
				return behind(link, f, nil)
			}
			if framing.Counters().Bad() > 0 {
				return nil, "", errBadName
			}
		}
	}
}

// behind is link with the bytes that came with its name.
func behind(link adapters.Link, name, rest []byte) (adapters.Link, string, error) {
	text, err := checkName(string(name))
	if err != nil {
		return nil, "", fmt.Errorf("the first frame %w", err)
	}
	if err := link.SetReadDeadline(time.Time{}); err != nil {
		return nil, "", err
	}
	return &started{link, rest}, text, nil
}

// checkName gives a name as {remote} has it, or says why it is none.
func checkName(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", errors.New("is no name: it is empty")
	case len(name) > maxName:
		return "", fmt.Errorf("is no name: it has more than %d bytes", maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "", errors.New("is no name: it is not UTF-8 text, or has control characters")
	}
	return adapters.Level(name), nil
}

// started is a link of which something was read already.
type started struct {
	adapters.Link
	rest []byte
}

func (s *started) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		return s.Link.Read(b)
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// names holds the connection of each name. The zero value is ready.
type names struct {
	mu  sync.Mutex
	now map[string]*holder
}

// holder is the connection that has a name.
type holder struct {
	addr  net.Addr
	end   context.CancelFunc
	ended chan struct{}
}

// join gives the name to a connection from addr: who has it is told to end, and
// has ended when join returns, so that frames of the two never mix. The context
// ends when the next one wants the name; leave is called when the connection
// has closed.
func (n *names) join(ctx context.Context, name string, addr net.Addr, replaces func(name string, old, new net.Addr)) (_ context.Context, leave func()) {
	ctx, end := context.WithCancel(ctx)
	mine := &holder{addr, end, make(chan struct{})}
	n.mu.Lock()
	before := n.now[name]
	if n.now == nil {
		n.now = map[string]*holder{}
	}
	n.now[name] = mine
	n.mu.Unlock()
	if before != nil {
		replaces(name, before.addr, addr)
		before.end()
		<-before.ended // bounded, as is the end of a link; whoever comes next waits for us
	}
	return ctx, func() {
		end()
		n.mu.Lock()
		if n.now[name] == mine {
			delete(n.now, name)
		}
		n.mu.Unlock()
		close(mine.ended)
	}
}
