package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The functions that we use [Application Protocol 6].
const (
	readCoils      = 1
	readDiscrete   = 2
	readHolding    = 3
	readInput      = 4
	writeCoil      = 5
	writeRegister  = 6
	writeCoils     = 15
	writeRegisters = 16

	exceptionFlag = 0x80 // in the function of a reply: it is an exception
)

// What one request may ask for [Application Protocol 6.1, 6.3, 6.11, 6.12].
const (
	maxReadBits       = 2000
	maxReadRegisters  = 125
	maxWriteBits      = 1968
	maxWriteRegisters = 123

	maxPDU = 253
)

// appendRead appends the request to read count bits or registers.
func appendRead(dst []byte, function byte, address, count uint16) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, function), address)
	return binary.BigEndian.AppendUint16(dst, count)
}

// appendWriteCoil appends the request to set one coil.
func appendWriteCoil(dst []byte, address uint16, on bool) []byte {
	value := uint16(0)
	if on {
		value = 0xFF00
	}
	dst = binary.BigEndian.AppendUint16(append(dst, writeCoil), address)
	return binary.BigEndian.AppendUint16(dst, value)
}

// appendWriteRegister appends the request to set one holding register, of
// which data are the two bytes.
func appendWriteRegister(dst []byte, address uint16, data []byte) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, writeRegister), address)
	return append(dst, data[:2]...)
}

// appendWriteCoils appends the request to set coils that follow each other, at
// most maxWriteBits.
func appendWriteCoils(dst []byte, address uint16, on []bool) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, writeCoils), address)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(on)))
	dst = append(dst, byte(bitBytes(len(on))))
	start := len(dst)
	dst = append(dst, make([]byte, bitBytes(len(on)))...)
	for i, bit := range on {
		if bit {
			dst[start+i/8] |= 1 << (i % 8)
		}
	}
	return dst
}

// appendWriteRegisters appends the request to set holding registers that follow
// each other, at most maxWriteRegisters; data are their bytes.
func appendWriteRegisters(dst []byte, address uint16, data []byte) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, writeRegisters), address)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(data)/2))
	return append(append(dst, byte(len(data))), data...)
}

// bitBytes is how many bytes n bits take.
func bitBytes(n int) int { return (n + 7) / 8 }

// bit gives the bit of a reply to readCoils or readDiscrete.
func bit(data []byte, i int) bool { return data[i/8]>>(i%8)&1 == 1 }

// replyLength is how long the reply to a request is when it is no exception.
func replyLength(request []byte) int {
	count := int(binary.BigEndian.Uint16(request[3:]))
	switch request[0] {
	case readCoils, readDiscrete:
		return 2 + bitBytes(count)
	case readHolding, readInput:
		return 2 + 2*count
	}
	return 5
}

// exceptionLength is how long an exception reply is.
const exceptionLength = 2

// errMismatch is for a reply that is not one to the request.
var errMismatch = errors.New("the reply is not one to the request")

// checkReply gives the data of a reply to a request: of reads the bytes after
// the count, of writes nothing. The error is an Exception or errMismatch.
func checkReply(request, reply []byte) ([]byte, error) {
	if len(reply) == exceptionLength && reply[0] == request[0]|exceptionFlag {
		return nil, Exception(reply[1])
	}
	if len(reply) != replyLength(request) || reply[0] != request[0] {
		return nil, errMismatch
	}
	switch request[0] {
	case readCoils, readDiscrete, readHolding, readInput:
		if int(reply[1]) != len(reply)-2 {
			return nil, errMismatch
		}
		return reply[2:], nil
	}
	// Address and value, or address and count, come back as they were sent.
	if string(reply[1:5]) != string(request[1:5]) {
		return nil, errMismatch
	}
	return nil, nil
}

// Exception is a unit's refusal of a request [Application Protocol 7].
type Exception byte

// The exceptions that are acted on.
const (
	illegalFunction     Exception = 1
	illegalAddress      Exception = 2
	illegalValue        Exception = 3
	acknowledge         Exception = 5
	deviceBusy          Exception = 6
	gatewayNoPath       Exception = 10
	gatewayTargetSilent Exception = 11
)

// Error names the exception.
func (e Exception) Error() string {
	name := "not in the specification"
	switch e {
	case illegalFunction:
		name = "illegal function"
	case illegalAddress:
		name = "illegal data address"
	case illegalValue:
		name = "illegal data value"
	case 4:
		name = "server device failure"
	case acknowledge:
		name = "acknowledge: the unit needs longer"
	case deviceBusy:
		name = "server device busy"
	case 8:
		name = "memory parity error"
	case gatewayNoPath:
		name = "gateway path unavailable"
	case gatewayTargetSilent:
		name = "gateway target device failed to respond"
	}
	return fmt.Sprintf("exception %d, %s", byte(e), name)
}
