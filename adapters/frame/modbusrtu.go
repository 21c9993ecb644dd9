package frame

import (
	"fmt"
	"time"
)

// ModbusRTU listens to a Modbus RTU line: the frames of requests and replies,
// unit, function and data, without their CRC.
//
// The protocol ends a frame by a silence of 3.5 characters. No program behind
// an operating system and an adapter sees that well, so a longer Gap separates
// bursts, and a burst is cut by what the functions say of their sizes and by the
// CRC: a request with the reply close behind it, or the stray byte that a bus
// makes when its driver is switched. What fits nowhere is
// counted, in Garbage when it is shorter than a frame, else in Checksum.
type ModbusRTU struct {
	Gap time.Duration // 0 is DefaultGap
}

// Frames with their CRC.
const (
	rtuMin = 4
	rtuMax = 256
)

var _ Framing = ModbusRTU{}

// Check implements Framing.
func (f ModbusRTU) Check() error {
	if f.Gap < 0 {
		return &ParamError{"gap", "must be positive"}
	}
	return nil
}

// NewDecoder implements Framing.
func (f ModbusRTU) NewDecoder() Decoder {
	if f.Gap == 0 {
		f.Gap = DefaultGap
	}
	return &rtuDecoder{gap: f.Gap, buf: make([]byte, 0, 2*rtuMax)}
}

// Append implements Framing. The silence is the writer's duty.
func (f ModbusRTU) Append(dst, payload []byte) ([]byte, error) {
	switch n := len(payload) + 2; {
	case n > rtuMax:
		return dst, tooLong(len(payload), rtuMax-2)
	case n < rtuMin:
		return dst, fmt.Errorf("%w: a Modbus frame has a unit and a function", ErrEncode)
	}
	return CRC16Modbus.Append(append(dst, payload...), payload), nil
}

// rtuDecoder gathers a burst. Only when buf is full, so that a frame at its
// front is there as a whole, it is cut before the silence: what is cut does not
// depend on how the bytes came.
type rtuDecoder struct {
	gap time.Duration

	in   []byte // what Next has not looked at of the chunk
	buf  []byte // from off on: the burst; room for two frames
	off  int
	lost uint64 // bytes dropped since the last frame
	c    Counters
}

func (d *rtuDecoder) Push(chunk []byte) {
	d.in = chunk
	d.c.Bytes += uint64(len(chunk))
}

func (d *rtuDecoder) Next() ([]byte, bool) {
	for {
		if d.off > 0 {
			d.buf = d.buf[:copy(d.buf, d.buf[d.off:])]
			d.off = 0
		}
		n := min(len(d.in), cap(d.buf)-len(d.buf))
		d.buf = append(d.buf, d.in[:n]...)
		d.in = d.in[n:]
		if len(d.buf) < cap(d.buf) {
			return nil, false
		}
		if f, ok := d.cut(false); ok {
			return f, true
		}
	}
}

// Flush cuts what is left of the burst.
func (d *rtuDecoder) Flush() ([]byte, bool) {
	for len(d.buf) > d.off {
		if f, ok := d.cut(true); ok {
			return f, true
		}
	}
	d.buf, d.off = d.buf[:0], 0
	d.found()
	return nil, false
}

// cut takes a frame off the front, or a byte that begins none.
func (d *rtuDecoder) cut(ended bool) ([]byte, bool) {
	p := d.buf[d.off:]
	n := rtuSize(p, ended, d.lost > 0)
	if n == 0 {
		d.off++
		d.lost++
		d.c.Discarded++
		return nil, false
	}
	d.found()
	d.off += n
	d.c.Frames++
	return p[:n-2], true
}

// found counts what was dropped before the place where it ends.
func (d *rtuDecoder) found() {
	switch {
	case d.lost >= rtuMin:
		d.c.Checksum++
	case d.lost > 0:
		d.c.Garbage++
	}
	d.lost = 0
}

func isRTU(p []byte) bool { return len(p) >= rtuMin && CRCModbus(0xFFFF, p) == 0 }

// rtuSize gives the size of the frame at the front of p, 0: there is none. The
// whole of p may be one if the burst has ended; but a frame with zeros behind it
// has the right CRC, so the sizes that its function allows come first.
//
// Functions whose sizes are not known have any that makes the CRC fit, but not
// among garbage, where one would fit by chance too often.
func rtuSize(p []byte, ended, lost bool) int {
	if len(p) < rtuMin || p[0] > 247 {
		return 0
	}
	request, reply := rtuSizes(p)
	if ended && len(p) == reply {
		request, reply = reply, request // the least likely to be chance
	}
	for _, n := range [2]int{request, reply} {
		if n <= min(len(p), rtuMax) && isRTU(p[:n]) {
			return n
		}
	}
	switch {
	case ended && len(p) <= rtuMax && isRTU(p):
		return len(p)
	case request == 0 && !lost:
		return firstFit(p)
	}
	return 0
}

// rtuSizes gives what the frame's size is as a request and as a reply, by its
// function [Modbus Application Protocol 1.1b3, 6]; 0: unknown.
func rtuSizes(p []byte) (request, reply int) {
	switch function := p[1]; {
	case function >= 0x80: // an exception
		return 5, 5
	case function >= 1 && function <= 4: // read bits and registers
		return 8, 5 + int(p[2])
	case function == 5 || function == 6: // write one: the reply is an echo
		return 8, 8
	case function == 15 || function == 16: // write several
		if len(p) > 6 {
			return 9 + int(p[6]), 8
		}
		return 8, 8
	}
	return 0, 0
}

// firstFit gives the size of the shortest frame at the front of p.
func firstFit(p []byte) int {
	crc := CRCModbus(0xFFFF, p[:rtuMin-1])
	for n := rtuMin; n <= min(len(p), rtuMax); n++ {
		if crc = CRCModbus(crc, p[n-1:n]); crc == 0 {
			return n
		}
	}
	return 0
}

func (d *rtuDecoder) Idle() time.Duration { return d.gap }

func (d *rtuDecoder) Reset() {
	left := len(d.buf) - d.off + len(d.in)
	if left > 0 {
		d.c.Unfinished++
		d.c.Discarded += uint64(left)
	}
	d.found()
	d.in, d.buf, d.off = nil, d.buf[:0], 0
}

func (d *rtuDecoder) Counters() Counters { return d.c }
