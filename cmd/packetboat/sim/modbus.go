package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Modbus is a line of Modbus units (slaves), on a serial line (ServeRTU) or
// behind a TCP connection (ServeTCP). It knows functions 1 to 6, 15 and 16.
//
// It is made from the specification and shares nothing with the gateway's side,
// so that a mistake there is not made twice. Any goroutine may change it while
// it serves, with Lock held.
type Modbus struct {
	sync.Mutex
	Units map[byte]*ModbusUnit

	Requests uint64 // that were for a unit here
	Strange  uint64 // bytes that were no request
}

// ModbusUnit is one of them. What its tables do not have, it has not: reading
// across it is refused.
type ModbusUnit struct {
	Coils, Discrete map[uint16]bool
	Holding, Input  map[uint16]uint16

	Dead  bool          // hears, and says nothing
	Delay time.Duration // before each answer
	// BadCRC: so many of the next answers are damaged.
	BadCRC int
	// Refuse gives the exception for a request, 0 for none; may be nil.
	Refuse func(function byte, address, count uint16) byte

	Requests uint64
}

// Exceptions, for Refuse.
const (
	ModbusIllegalFunction = 1
	ModbusIllegalAddress  = 2
	ModbusIllegalValue    = 3
)

// ServeRTU is one life of a line: it answers until the line or ctx has ended.
// Whoever opened the line closes it when ctx ends.
func (m *Modbus) ServeRTU(ctx context.Context, line io.ReadWriter) error {
	var in []byte
	buf := make([]byte, 256)
	for {
		n, err := line.Read(buf)
		in = append(in, buf[:n]...)
		for {
			frame, rest := cutRTU(in)
			if frame == nil {
				break
			}
			m.strange(len(in) - len(rest) - len(frame))
			in = rest
			if err := m.answerRTU(ctx, line, frame); err != nil {
				return err
			}
		}
		if len(in) > 1024 {
			m.strange(len(in) - 256)
			in = append(in[:0], in[len(in)-256:]...)
		}
		if err != nil {
			return ended(ctx, err)
		}
	}
}

// ServeTerminal is ServeRTU on the device's side of OpenTerminal, for all lives
// that the gateway's side has until ctx ends.
func (m *Modbus) ServeTerminal(ctx context.Context, master *os.File) error {
	const absent = 20 * time.Millisecond                                               // between looks while nobody has the other side open
	stop := context.AfterFunc(ctx, func() { _ = master.SetDeadline(time.Unix(1, 0)) }) // Read says the rest
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := m.ServeRTU(ctx, master); err != nil && !errors.Is(err, syscall.EIO) {
			return err
		}
		timer.Reset(absent)
	}
}

func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (m *Modbus) strange(n int) {
	m.Lock()
	m.Strange += uint64(n)
	m.Unlock()
}

// cutRTU gives the first request in b whose checksum fits.
func cutRTU(b []byte) (frame, rest []byte) {
	for i := range b {
		f := b[i:]
		n := requestLength(f, 1)
		if n == 0 || n+2 > len(f) || binary.LittleEndian.Uint16(f[n:]) != modbusCRC(f[:n]) {
			continue
		}
		return f[:n+2], f[n+2:]
	}
	return nil, b
}

// requestLength is how long the request is whose function is at at; 0: not
// known, or not yet.
func requestLength(b []byte, at int) int {
	if len(b) <= at {
		return 0
	}
	switch b[at] {
	case 1, 2, 3, 4, 5, 6:
		return at + 5
	case 15, 16:
		if len(b) > at+5 {
			return at + 6 + int(b[at+5])
		}
	}
	return 0
}

// modbusCRC is the checksum of RTU frames, by a table of half bytes.
func modbusCRC(b []byte) uint16 {
	var table [16]uint16
	for i := range table {
		v := uint16(i)
		for range 4 {
			low := v & 1
			v >>= 1
			v ^= 0xA001 * low
		}
		table[i] = v
	}
	crc := uint16(1<<16 - 1)
	for _, c := range b {
		crc = crc>>4 ^ table[(crc^uint16(c))&15]
		crc = crc>>4 ^ table[(crc^uint16(c>>4))&15]
	}
	return crc
}

func (m *Modbus) answerRTU(ctx context.Context, line io.Writer, frame []byte) error {
	reply, damaged := m.answer(ctx, frame[0], frame[1:len(frame)-2])
	if reply == nil {
		return nil
	}
	out := append([]byte{frame[0]}, reply...)
	crc := modbusCRC(out)
	if damaged {
		crc ^= 0x0100
	}
	_, err := line.Write(binary.LittleEndian.AppendUint16(out, crc))
	return ended(ctx, err)
}

// Serve accepts connections until ctx ends, and serves each. It closes ln.
func (m *Modbus) Serve(ctx context.Context, ln net.Listener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() }) // Accept says the rest
	defer stop()
	for {
		c, err := ln.Accept()
		if err != nil {
			return ended(ctx, err)
		}
		conns.Go(func() {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // Read says the rest
			defer stop()
			_ = m.ServeTCP(ctx, c) // the peer's end
			_ = c.Close()
		})
	}
}

// ServeTCP is one connection: it answers until that or ctx has ended. A damaged
// answer has another unit's number in it.
func (m *Modbus) ServeTCP(ctx context.Context, c io.ReadWriter) error {
	head := make([]byte, 7)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return ended(ctx, err)
		}
		n := int(binary.BigEndian.Uint16(head[4:]))
		if binary.BigEndian.Uint16(head[2:]) != 0 || n < 2 || n > 254 {
			m.strange(len(head))
			return errors.New("not Modbus TCP")
		}
		pdu := make([]byte, n-1)
		if _, err := io.ReadFull(c, pdu); err != nil {
			return ended(ctx, err)
		}
		reply, damaged := m.answer(ctx, head[6], pdu)
		if reply == nil {
			continue
		}
		out := binary.BigEndian.AppendUint16(append([]byte(nil), head[:4]...), uint16(len(reply)+1))
		out = append(append(out, head[6]), reply...)
		if damaged {
			out[6]++
		}
		if _, err := c.Write(out); err != nil {
			return ended(ctx, err)
		}
	}
}

// answer gives the reply to a request, after the unit's delay; nil: none.
func (m *Modbus) answer(ctx context.Context, id byte, pdu []byte) (reply []byte, damaged bool) {
	m.Lock()
	u := m.Units[id]
	if u == nil {
		m.Unlock()
		return nil, false
	}
	m.Requests++
	u.Requests++
	dead, delay := u.Dead, u.Delay
	if !dead {
		reply = u.reply(pdu)
		if u.BadCRC > 0 {
			u.BadCRC--
			damaged = true
		}
	}
	m.Unlock()
	if delay > 0 && !dead {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return reply, damaged
}

// reply does what a request says.
func (u *ModbusUnit) reply(pdu []byte) []byte {
	function := pdu[0]
	if n := requestLength(pdu, 0); n == 0 {
		return []byte{function | 0x80, ModbusIllegalFunction}
	} else if n != len(pdu) {
		return []byte{function | 0x80, ModbusIllegalValue}
	}
	address, count := binary.BigEndian.Uint16(pdu[1:]), uint16(1)
	if function != 5 && function != 6 {
		count = binary.BigEndian.Uint16(pdu[3:])
	}
	if u.Refuse != nil {
		if e := u.Refuse(function, address, count); e != 0 {
			return []byte{function | 0x80, e}
		}
	}
	if e := u.check(function, address, count, pdu); e != 0 {
		return []byte{function | 0x80, e}
	}
	switch function {
	case 1:
		return readBits(function, u.Coils, address, count)
	case 2:
		return readBits(function, u.Discrete, address, count)
	case 3:
		return readWords(function, u.Holding, address, count)
	case 4:
		return readWords(function, u.Input, address, count)
	case 5:
		u.Coils[address] = pdu[3] == 0xFF
	case 6:
		u.Holding[address] = binary.BigEndian.Uint16(pdu[3:])
	case 15:
		for i := range count {
			u.Coils[address+i] = pdu[6+i/8]>>(i%8)&1 == 1
		}
	case 16:
		for i := range count {
			u.Holding[address+i] = binary.BigEndian.Uint16(pdu[6+2*i:])
		}
	}
	return pdu[:5]
}

// check gives the exception that a request deserves; 0: none.
func (u *ModbusUnit) check(function byte, address, count uint16, pdu []byte) byte {
	has, most := func(a uint16) bool { _, ok := u.Holding[a]; return ok }, uint16(125)
	switch function {
	case 1, 5, 15:
		has, most = func(a uint16) bool { _, ok := u.Coils[a]; return ok }, 2000
	case 2:
		has, most = func(a uint16) bool { _, ok := u.Discrete[a]; return ok }, 2000
	case 4:
		has = func(a uint16) bool { _, ok := u.Input[a]; return ok }
	}
	switch {
	case count == 0 || count > most,
		function == 5 && (pdu[4] != 0 || pdu[3] != 0 && pdu[3] != 0xFF),
		function == 15 && int(pdu[5]) != (int(count)+7)/8,
		function == 16 && int(pdu[5]) != 2*int(count):
		return ModbusIllegalValue
	case int(address)+int(count) > 1<<16:
		return ModbusIllegalAddress
	}
	for i := range count {
		if !has(address + i) {
			return ModbusIllegalAddress
		}
	}
	return 0
}

func readBits(function byte, table map[uint16]bool, address, count uint16) []byte {
	out := make([]byte, 2+(count+7)/8)
	out[0], out[1] = function, byte(len(out)-2)
	for i := range count {
		if table[address+i] {
			out[2+i/8] |= 1 << (i % 8)
		}
	}
	return out
}

func readWords(function byte, table map[uint16]uint16, address, count uint16) []byte {
	out := []byte{function, byte(2 * count)}
	for i := range count {
		out = binary.BigEndian.AppendUint16(out, table[address+i])
	}
	return out
}
