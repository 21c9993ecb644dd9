package serial

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// icount is struct serial_icounter_struct of linux/serial.h.
type icount struct {
	cts, dsr, rng, dcd, rx, tx                 int32
	frame, overrun, parity, brk, bufferOverrun int32
	_                                          [9]int32
}

// count asks the driver how often bytes were lost, in the chip or because the
// kernel's buffer was full. Drivers that do not count, pseudo-terminals among
// them, give 0.
func (p *Port) count() (n uint64) {
	p.control(func(fd int) {
		var c icount
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGICOUNT, uintptr(unsafe.Pointer(&c)))
		if errno == 0 {
			n = uint64(uint32(c.overrun)) + uint64(uint32(c.bufferOverrun))
		}
	})
	return n
}

// Overruns implements adapters.Overruns.
func (p *Port) Overruns() uint64 {
	if n := p.count(); n > p.base {
		return n - p.base
	}
	return 0
}
