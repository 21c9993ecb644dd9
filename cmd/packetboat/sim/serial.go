package sim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Serial is a device on a pseudo terminal: it writes lines, and waits for
// nothing, as such devices do. What nobody reads waits in the terminal's buffer
// of some kilobytes, as in a driver; when that is full, lines are not written
// and not counted.
type Serial struct {
	Source *Source
	Rate   int    // lines a second; 0: as fast as they are read
	Count  uint64 // lines to write; 0: until Stop is closed
	Stop   <-chan struct{}

	// Line is called with every line that comes from the gateway; may be nil.
	Line func(line string)

	master  *os.File
	path    string
	written uint64
}

// Open makes the pseudo terminal. The gateway's side is at Path until Close.
func (d *Serial) Open() (err error) {
	d.master, d.path, err = OpenTerminal()
	return err
}

// OpenTerminal makes a pseudo terminal: the device's side, whose Close unplugs
// it, and the path of the gateway's.
func OpenTerminal() (master *os.File, path string, err error) {
	blocking, slave, err := pty.Open()
	if err != nil {
		return nil, "", fmt.Errorf("open a pseudo terminal: %w", err)
	}
	defer blocking.Close()
	// Raw from the start: until the gateway has opened its side, the terminal
	// would echo what we write. The gateway's side is then closed, because who
	// holds it open keeps a killed gateway's exclusive lock alive.
	_, err = term.MakeRaw(int(slave.Fd()))
	path = slave.Name()
	if err := errors.Join(err, slave.Close()); err != nil {
		return nil, "", fmt.Errorf("set up %s: %w", path, err)
	}
	// The library's file blocks; a duplicate of our own is polled, so that
	// deadlines and Close work.
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, "", fmt.Errorf("set up the pseudo terminal: %w", err)
	}
	return os.NewFile(uintptr(fd), "/dev/ptmx"), path, nil
}

// Path is the gateway's side of the terminal.
func (d *Serial) Path() string { return d.path }

// Close unplugs the device.
func (d *Serial) Close() error { return d.master.Close() }

// Run writes until Count, Stop, or ctx ends.
func (d *Serial) Run(ctx context.Context) error {
	if err := d.master.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("device %s: %w", d.Source.Name, err)
	}
	reading, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { d.read(reading) })
	defer func() {
		cancel()
		_ = d.master.SetReadDeadline(time.Unix(1, 0)) // of a closed terminal: then the reader has ended
		wg.Wait()
	}()

	every := time.Millisecond
	if d.Rate > 0 {
		every = time.Second / time.Duration(d.Rate)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var rest []byte // of a line that the buffer had no room for
	for d.Count == 0 || d.written < d.Count || len(rest) > 0 {
		select {
		case <-tick.C:
		case <-d.Stop:
			return nil
		case <-ctx.Done():
			return nil
		}
		for burst := 0; burst == 0 || d.Rate == 0 && burst < 20; burst++ {
			if len(rest) == 0 {
				if d.Count > 0 && d.written >= d.Count {
					break
				}
				d.written++
				rest = append(d.Source.Payload(d.Source.Next()), '\r', '\n')
			}
			if err := d.master.SetWriteDeadline(time.Now().Add(max(every, 20*time.Millisecond))); err != nil {
				return fmt.Errorf("device %s: %w", d.Source.Name, err)
			}
			n, err := d.master.Write(rest)
			rest = rest[n:]
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
			case err != nil:
				return fmt.Errorf("device %s: %w", d.Source.Name, err)
			}
			if len(rest) > 0 {
				break
			}
		}
	}
	return nil
}

// read hands over the lines that come from the gateway.
func (d *Serial) read(ctx context.Context) {
	const absent = 50 * time.Millisecond // between looks while nobody has the other side open
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		sc := bufio.NewScanner(d.master)
		for sc.Scan() {
			if d.Line != nil {
				d.Line(sc.Text())
			}
		}
		if err := sc.Err(); err != nil && !errors.Is(err, syscall.EIO) && !errors.Is(err, io.EOF) {
			return // unplugged
		}
		timer.Reset(absent)
	}
}
