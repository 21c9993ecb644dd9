package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"packetboat/adapters/frame"
)

// A wire is how requests and replies stand on a line or connection.
type wire interface {
	// appendFrame appends the frame of a request; id is its number, where
	// frames have one.
	appendFrame(dst []byte, id uint16, unit byte, pdu []byte) []byte

	// find looks in b, what was received so far, for the reply to a request.
	// used bytes of b need not be looked at again, stale frames among them
	// were replies to others. reply is nil while it is not there.
	//
	// An error means that b makes no sense: a garbled error is worth trying
	// again, after any other nothing on this connection can be understood.
	find(b []byte, id uint16, unit byte, request []byte) (reply []byte, used, stale int, err error)

	// framed reports whether frames can be told apart whatever was received
	// before: then nothing of that may be dropped.
	framed() bool
}

// garbled is a reply that is no good.
type garbled struct {
	why string
	crc bool // of the checksum
}

func (e garbled) Error() string { return e.why }

// rtu is Modbus over serial lines:
//
//	unit | PDU | CRC-16, low byte first          [Serial Line 2.5.1]
//
// Frames bear no number and their ends are silences, which neither USB
// adapters nor a scheduler keep. So a reply is found by what it must look like:
// unit, function and length are known from the request, and the CRC fits. What
// stands before it (a glitch when the line's driver switches, another unit's
// late reply) is passed over.
type rtu struct{}

// rtuOverhead is the unit and the CRC.
const rtuOverhead = 3

func (rtu) appendFrame(dst []byte, _ uint16, unit byte, pdu []byte) []byte {
	start := len(dst)
	dst = append(append(dst, unit), pdu...)
	return binary.LittleEndian.AppendUint16(dst, crc16(dst[start:]))
}

func (rtu) find(b []byte, _ uint16, unit byte, request []byte) (reply []byte, used, stale int, err error) {
	for i := 0; i+rtuOverhead+exceptionLength <= len(b); i++ {
		if b[i] != unit {
			continue
		}
		n := 0
		switch b[i+1] {
		case request[0]:
			n = replyLength(request) + rtuOverhead
		case request[0] | exceptionFlag:
			n = exceptionLength + rtuOverhead
		}
		if n == 0 || i+n > len(b) || !sound(b[i:i+n]) {
			continue
		}
		pdu := b[i+1 : i+n-2]
		if _, err := checkReply(request, pdu); errors.Is(err, errMismatch) {
			continue
		}
		_, stale = staleFrames(b[:i])
		return pdu, i + n, stale, nil
	}
	used, stale = staleFrames(b)
	return nil, used, stale, nil
}

func (rtu) framed() bool { return false }

// sound reports whether a frame's CRC fits.
func sound(b []byte) bool {
	n := len(b) - 2
	return binary.LittleEndian.Uint16(b[n:]) == crc16(b[:n])
}

// staleFrames counts the replies, whole and with their CRC, that b begins with,
// and the bytes that they are.
func staleFrames(b []byte) (used, n int) {
	for len(b)-used >= rtuOverhead+exceptionLength {
		f, length := b[used:], 0
		switch function := f[1]; {
		case function&exceptionFlag != 0:
			length = exceptionLength + rtuOverhead
		case function >= readCoils && function <= readInput:
			length = 2 + int(f[2]) + rtuOverhead
		case function == writeCoil, function == writeRegister, function == writeCoils, function == writeRegisters:
			length = 5 + rtuOverhead
		}
		if length == 0 || length > len(f) || !sound(f[:length]) {
			break
		}
		used += length
		n++
	}
	return used, n
}

// crc16 is the check sum of a frame [Serial Line 6.2.2].
func crc16(b []byte) uint16 { return frame.CRCModbus(0xFFFF, b) }

// mbap is Modbus over TCP:
//
//	transaction | 0 | length | unit | PDU        [Messaging on TCP/IP 3.1.3]
//
// two bytes each but for the unit; the length counts unit and PDU. A reply
// bears its request's transaction number, so a late one is known for what it is.
type mbap struct{}

const mbapHeader = 7

func (mbap) appendFrame(dst []byte, id uint16, unit byte, pdu []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, id)
	dst = append(dst, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(1+len(pdu)))
	return append(append(dst, unit), pdu...)
}

func (mbap) find(b []byte, id uint16, unit byte, request []byte) (reply []byte, used, stale int, err error) {
	for {
		f := b[used:]
		if len(f) < mbapHeader {
			return nil, used, stale, nil
		}
		length := int(binary.BigEndian.Uint16(f[4:]))
		if binary.BigEndian.Uint16(f[2:]) != 0 || length < 1+exceptionLength || length > 1+maxPDU {
			return nil, used, stale, fmt.Errorf("what comes is not Modbus TCP: % x", f[:mbapHeader])
		}
		end := mbapHeader - 1 + length
		if len(f) < end {
			return nil, used, stale, nil
		}
		used += end
		if binary.BigEndian.Uint16(f) != id {
			stale++
			continue
		}
		if f[6] != unit {
			return nil, used, stale, garbled{why: fmt.Sprintf("the reply is of unit %d", f[6])}
		}
		pdu := f[mbapHeader:end]
		if _, err := checkReply(request, pdu); errors.Is(err, errMismatch) {
			return nil, used, stale, garbled{why: err.Error()}
		}
		return pdu, used, stale, nil
	}
}

func (mbap) framed() bool { return true }

// timing is what a serial line's characters take; zero for connections.
type timing struct {
	char    time.Duration // one character
	silence time.Duration // at least, between two frames
}

// timingOf gives the timing of a line: a character has 11 bits, whatever its
// format. Above 19200 baud the silence is not 3.5 characters but fixed
// [Serial Line 2.5.1.1].
func timingOf(baud int) timing {
	t := timing{char: 11 * time.Second / time.Duration(baud), silence: 1750 * time.Microsecond}
	if baud <= 19200 {
		t.silence = 7 * t.char / 2
	}
	return t
}

// sending is how long n bytes take.
func (t timing) sending(n int) time.Duration { return time.Duration(n) * t.char }
