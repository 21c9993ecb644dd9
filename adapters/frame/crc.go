package frame

import (
	"fmt"
	"time"
)

// Checked is a Framing whose payloads end with a check sum: a decoder verifies
// it and cuts it off, Append adds it. Frames where it is wrong are counted in
// Checksum.
//
// The check sum is over the payload alone, not over headers and markers, and it
// counts for the framing's Max and Size, and in a length field. Its bytes are
// escaped where the framing escapes; where it does not, an end marker that they
// happen to hold cuts the frame.
type Checked struct {
	Of  Framing
	Sum Sum
}

var _ Framing = Checked{}

// resyncing is a Framing without markers, which finds by the check sum where
// frames begin.
type resyncing interface {
	newChecked(s Sum) Decoder
}

// Check implements Framing.
func (f Checked) Check() error {
	if f.Sum.Size() == 0 {
		return &ParamError{"crc", "is none that there is"}
	}
	if err := f.Of.Check(); err != nil {
		return err
	}
	switch of := f.Of.(type) {
	case Line:
		if of.Trim {
			return &ParamError{"crc", "needs trim = false: white space could be a part of the check sum"}
		}
	case Fixed:
		if of.Size <= f.Sum.Size() {
			return &ParamError{"size", fmt.Sprintf("must be more than the %d bytes of the check sum", f.Sum.Size())}
		}
	case ModbusRTU:
		return &ParamError{"crc", "must not be set: modbus-rtu has its own"}
	case Checked:
		return &ParamError{"crc", "is there twice"}
	}
	return nil
}

// NewDecoder implements Framing.
func (f Checked) NewDecoder() Decoder {
	if of, ok := f.Of.(resyncing); ok {
		return of.newChecked(f.Sum)
	}
	return &checkedDecoder{of: f.Of.NewDecoder(), sum: f.Sum}
}

// Append implements Framing.
func (f Checked) Append(dst, payload []byte) ([]byte, error) {
	with := make([]byte, 0, len(payload)+f.Sum.Size())
	with = append(with, payload...)
	return f.Of.Append(dst, f.Sum.Append(with, payload))
}

// checkedDecoder looks at the frames of another decoder.
type checkedDecoder struct {
	of  Decoder
	sum Sum
	bad Counters // what of has taken for a frame and is none
}

func (d *checkedDecoder) Push(chunk []byte) { d.of.Push(chunk) }

func (d *checkedDecoder) Next() ([]byte, bool) {
	for {
		f, ok := d.of.Next()
		if !ok {
			return nil, false
		}
		if p, ok := d.verify(f); ok {
			return p, true
		}
	}
}

func (d *checkedDecoder) Flush() ([]byte, bool) {
	for {
		f, ok := d.of.Flush()
		if !ok {
			return nil, false
		}
		if p, ok := d.verify(f); ok {
			return p, true
		}
	}
}

// verify gives the payload of f, if it is a frame and not empty.
func (d *checkedDecoder) verify(f []byte) ([]byte, bool) {
	if !d.sum.Valid(f) {
		d.bad.Frames--
		d.bad.Checksum++
		d.bad.Discarded += uint64(len(f))
		return nil, false
	}
	p := f[:len(f)-d.sum.Size()]
	if len(p) == 0 {
		d.bad.Frames--
		d.bad.Blank++
		return nil, false
	}
	return p, true
}

func (d *checkedDecoder) Idle() time.Duration { return d.of.Idle() }

func (d *checkedDecoder) Reset() { d.of.Reset() }

func (d *checkedDecoder) Counters() Counters { return d.of.Counters().Plus(d.bad) }
