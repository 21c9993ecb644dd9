package serial

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"

	"packetboat/adapters"
)

// Line is how a serial line is set up. The zero Line is 9600 baud 8N1 without
// flow control, with DTR and RTS low.
type Line struct {
	Baud   int    // 0 is 9600
	Data   int    // data bits, 5 to 8; 0 is 8
	Parity byte   // N, E, O, M, S; 0 is N
	Stop   string // 1, 1.5, 2; "" is 1
	Flow   string // none, rtscts, xonxoff; "" is none
	DTR    bool   // state while open
	RTS    bool   // likewise; with rtscts the driver's
}

const defaultBaud = 9600

// check says what is wrong with l, by key.
func (l Line) check() error {
	if _, err := l.mode(); err != nil {
		return err
	}
	switch l.Flow {
	case "", "none", "rtscts", "xonxoff":
		return nil
	}
	return wrong("flow", fmt.Sprintf("%q is not none, rtscts or xonxoff", l.Flow))
}

// mode is l in the words of go.bug.st/serial.
func (l Line) mode() (*serial.Mode, error) {
	m := &serial.Mode{BaudRate: l.Baud, DataBits: l.Data}
	if m.BaudRate == 0 {
		m.BaudRate = defaultBaud
	}
	if m.DataBits == 0 {
		m.DataBits = 8
	}
	if m.BaudRate < 0 {
		return nil, wrong("baud", "must be more than 0")
	}
	if m.DataBits < 5 || m.DataBits > 8 {
		return nil, wrong("mode", "data bits are 5 to 8")
	}
	switch l.Parity {
	case 0, 'N':
		m.Parity = serial.NoParity
	case 'E':
		m.Parity = serial.EvenParity
	case 'O':
		m.Parity = serial.OddParity
	case 'M':
		m.Parity = serial.MarkParity
	case 'S':
		m.Parity = serial.SpaceParity
	default:
		return nil, wrong("mode", "parity is N, E, O, M or S")
	}
	switch l.Stop {
	case "", "1":
		m.StopBits = serial.OneStopBit
	case "1.5":
		// The one bit in the port's settings for "more than one stop bit"
		// means 1.5 with five data bits and 2 with more.
		if m.DataBits != 5 {
			return nil, wrong("mode", "1.5 stop bits exist with 5 data bits only")
		}
		m.StopBits = serial.TwoStopBits
	case "2":
		if m.DataBits == 5 {
			return nil, wrong("mode", "with 5 data bits, stop bits are 1 or 1.5")
		}
		m.StopBits = serial.TwoStopBits
	default:
		return nil, wrong("mode", "stop bits are 1, 1.5 or 2")
	}
	return m, nil
}

func wrong(key, what string) error {
	return &adapters.KeyError{Key: key, Err: errors.New(what)}
}

// Port is an open serial port. It is an adapters.Link.
//
// go.bug.st/serial sets the line up; the bytes go through a descriptor of our
// own, which the runtime polls. The library's Read selects, which ends with a
// panic above descriptor 1023, and its Write can be released neither by a
// deadline nor by Close.
type Port struct {
	file  *os.File
	stuck atomic.Bool // a write has timed out
	base  uint64      // overruns before we opened

	// The reader's: after a read the next one waits until gather has passed. A
	// UART hands over eight bytes at a time, a thousand times a second at 115,200
	// baud, and to wake up costs more than to read a hundred bytes.
	gather time.Duration
	wait   time.Duration // of now, at most gather
	hurry  chan struct{} // one slot
	last   time.Time
}

// closeDrain is how long Close waits for what was written to leave. The
// kernel would wait for up to 30 s when the other side holds us up.
const closeDrain = time.Second

// Open opens path for ourselves alone and sets it up. Its error says what to
// do about it.
func Open(path string, l Line) (*Port, error) {
	mode, err := l.mode()
	if err != nil {
		return nil, err
	}
	// Not blocking, so that a line without carrier opens, too.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, explain(path, err)
	}
	p := &Port{file: os.NewFile(uintptr(fd), path), hurry: make(chan struct{}, 1)}
	if err := p.setUp(fd, path, l, mode); err != nil {
		_ = p.file.Close() // nothing was written
		return nil, explain(path, err)
	}
	p.base = p.count()
	return p, nil
}

// errNotATerminal is for files that are no ports.
var errNotATerminal = errors.New("not a serial port")

func (p *Port) setUp(fd int, path string, l Line, mode *serial.Mode) error {
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
		return errNotATerminal
	}
	// TIOCEXCL (below) refuses others, but never root; the lock is between
	// programs that ask for it, as another gateway does.
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	if err := p.file.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("the port cannot be polled: %w", err)
	}

	port, err := serial.Open(path, mode)
	if err != nil {
		return err
	}
	// The lines are high since the port was opened. Pseudo-terminals have none.
	if !l.DTR {
		err = ignoreNoLines(port.SetDTR(false))
	}
	if err == nil && !l.RTS {
		err = ignoreNoLines(port.SetRTS(false))
	}
	// The settings stay: we hold the port open.
	if closeErr := port.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := setFlow(fd, l.Flow); err != nil {
		return err
	}
	return unix.IoctlSetInt(fd, unix.TIOCEXCL, 0)
}

func ignoreNoLines(err error) error {
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// setFlow sets the flow control that the library leaves off.
func setFlow(fd int, flow string) error {
	if flow == "" || flow == "none" {
		return nil
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	switch flow {
	case "rtscts":
		t.Cflag |= unix.CRTSCTS
	case "xonxoff":
		t.Iflag |= unix.IXON | unix.IXOFF
		t.Cc[unix.VSTART], t.Cc[unix.VSTOP] = 0x11, 0x13
	}
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return err
	}
	// Drivers drop what they cannot do without an error.
	got, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	if got.Cflag&unix.CRTSCTS != t.Cflag&unix.CRTSCTS {
		return errors.New("the port's driver has no rtscts flow control; set flow = \"none\"")
	}
	return nil
}

// Read waits for bytes. The end of a port that was unplugged is io.EOF or EIO.
func (p *Port) Read(b []byte) (int, error) {
	if p.gather == 0 {
		return p.file.Read(b)
	}
	hurried := p.pause(p.wait - time.Since(p.last))
	began := time.Now()
	n, err := p.file.Read(b)
	p.last = time.Now()
	if hurried || p.last.Sub(began) > p.wait { // an answer, or the end of a silence
		p.wait = min(minGather, p.gather)
	} else {
		p.wait = min(2*p.wait, p.gather)
	}
	return n, err
}

// pause is too short for Close and deadlines to matter. hurried: Hurry has ended it.
func (p *Port) pause(d time.Duration) (hurried bool) {
	if d <= 0 {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-p.hurry:
		return true
	}
}

// Hurry has what comes next read at once: an answer is waited for.
func (p *Port) Hurry() {
	select {
	case p.hurry <- struct{}{}:
	default:
	}
}

// How long bytes may wait for others to come along: less for the answer to a
// command than in a stream that does not end.
const (
	minGather = 5 * time.Millisecond
	maxGather = 50 * time.Millisecond
)

// gatherTime is how long to gather bytes on the line at most: not so long that the
// kernel's buffer of 4 KiB would be more than a quarter full.
func (l Line) gatherTime() time.Duration {
	return min(maxGather, 1024*10*time.Second/time.Duration(cmp.Or(l.Baud, defaultBaud)))
}

// Write writes all of b to the driver, or fails by the deadline.
func (p *Port) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.stuck.Store(true)
	}
	return n, err
}

// SetReadDeadline implements adapters.Link.
func (p *Port) SetReadDeadline(t time.Time) error { return p.file.SetReadDeadline(t) }

// SetWriteDeadline implements adapters.Link.
func (p *Port) SetWriteDeadline(t time.Time) error { return p.file.SetWriteDeadline(t) }

// Close closes the port. What was written still leaves, for a second at most;
// what stood in a write that timed out does not.
func (p *Port) Close() error {
	p.control(func(fd int) {
		// Else it stays refused while somebody else, who is allowed to, has it open.
		_ = unix.IoctlSetInt(fd, unix.TIOCNXCL, 0)
		for end := time.Now().Add(closeDrain); !p.stuck.Load() && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if n, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ); err != nil || n == 0 {
				return
			}
		}
		_ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCOFLUSH) // a port that is gone has nothing to flush
	})
	return p.file.Close()
}

// control calls f with the descriptor, unless the port is closed.
func (p *Port) control(f func(fd int)) {
	if raw, err := p.file.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) }) // closed: nothing to do
	}
}

// DiscardInput drops what was received and not yet read.
func (p *Port) DiscardInput() (err error) {
	p.control(func(fd int) { err = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) })
	return err
}

// explain adds to an error of opening path what it means and what to do.
func explain(path string, err error) error {
	var pe *serial.PortError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("port %s does not exist: is the device plugged in?", path)
	case errors.Is(err, fs.ErrPermission), errors.As(err, &pe) && pe.Code() == serial.PermissionDenied:
		return permission(path)
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EBUSY), errors.As(err, &pe) && pe.Code() == serial.PortBusy:
		if who := holder(path); who != "" {
			return fmt.Errorf("port %s is in use by %s", path, who)
		}
		return fmt.Errorf("port %s is in use by another program", path)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO), errors.Is(err, unix.EIO):
		return fmt.Errorf("port %s has no device behind it: %w", path, err)
	}
	return fmt.Errorf("port %s: %w", path, err)
}
