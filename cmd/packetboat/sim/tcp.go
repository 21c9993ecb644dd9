package sim

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"
)

// TCP is a device that writes lines to a socket. It keeps each line until the
// gateway has acknowledged it with a line of its own, at most Window of them,
// and after a cut sends again what was not: nothing is lost, something may
// come twice.
type TCP struct {
	Addr   string
	Source *Source
	Rate   int    // lines a second; 0: as fast as acknowledgements come
	Count  uint64 // lines to write; 0: until Stop is closed
	Window int    // lines without an acknowledgement; 0 is 16
	Stop   <-chan struct{}

	// Line is called with every line that is no acknowledgement; may be nil.
	// Without Ack every line is one.
	Line func(line string)
	Ack  string // the acknowledgement, without the line end

	written uint64
	flying  []uint64
}

// Run writes until Count or Stop, and all of it is acknowledged; or until ctx
// ends, which is an error.
func (d *TCP) Run(ctx context.Context) error {
	if d.Window == 0 {
		d.Window = 16
	}
	if err := redial(ctx, d.session); err != nil {
		return fmt.Errorf("device %s with %d lines unacknowledged: %w", d.Source.Name, len(d.flying), err)
	}
	return nil
}

func (d *TCP) session(ctx context.Context) (done bool, err error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", d.Addr)
	if err != nil {
		return false, err
	}
	lines := make(chan string, 64)
	gone := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() { gone <- readLines(ctx, c, lines) }()
	ended := false
	defer func() {
		cancel()
		_ = c.Close()
		if !ended {
			<-gone
		}
	}()
	var pace <-chan time.Time
	if d.Rate > 0 {
		t := time.NewTicker(time.Second / time.Duration(d.Rate))
		defer t.Stop()
		pace = t.C
	}
	var out []byte
	for _, n := range d.flying { // from the last connection
		out = append(append(out, d.Source.Payload(n)...), '\n')
	}
	write := func() {
		d.written++
		n := d.Source.Next()
		d.flying = append(d.flying, n)
		out = append(append(out, d.Source.Payload(n)...), '\n')
	}
	for {
		if d.over() && len(d.flying) == 0 {
			return true, nil
		}
		for d.Rate == 0 && !d.over() && len(d.flying) < d.Window {
			write()
		}
		if len(out) > 0 {
			if _, err := c.Write(out); err != nil {
				return false, err
			}
			out = out[:0]
		}
		stop := d.Stop
		if d.over() {
			stop = nil
		}
		select {
		case l := <-lines:
			d.take(l)
		case <-pace:
			if !d.over() && len(d.flying) < d.Window {
				write()
			}
		case <-stop:
		case err := <-gone:
			ended = true
			return false, err
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// take uses a line from the gateway. Acknowledgements come in the order of the
// lines that they are for.
func (d *TCP) take(line string) {
	if d.Ack != "" && line != d.Ack {
		if d.Line != nil {
			d.Line(line)
		}
		return
	}
	if len(d.flying) > 0 {
		d.Source.Acked(d.flying[0])
		d.flying = d.flying[1:]
	}
}

func (d *TCP) over() bool {
	if d.Count > 0 && d.written >= d.Count {
		return true
	}
	select {
	case <-d.Stop:
		return true
	default:
		return false
	}
}

func readLines(ctx context.Context, c net.Conn, to chan<- string) error {
	sc := bufio.NewScanner(c)
	for sc.Scan() {
		select {
		case to <- sc.Text():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := sc.Err(); err != nil {
		return err
	}
	return fmt.Errorf("the gateway has closed the connection")
}
