package frame

import (
	"encoding/binary"
	"hash/crc32"
)

// Sum is a kind of check sum that stands at the end of a frame.
type Sum int

// The check sums, with their value for "123456789". Nothing about them can be
// varied: what a device does otherwise is another check sum.
const (
	NoSum       Sum = iota
	CRC16Modbus     // polynomial 8005 reflected, from FFFF; low byte first, as in Modbus: 37 4B
	CRC16CCITT      // polynomial 1021, from FFFF ("CCITT-FALSE"); high byte first: 29 B1
	CRC32           // that of Ethernet, zip and PNG; high byte first: CB F4 39 26
	XOR             // one byte, all others combined by exclusive or (LRC, BCC): 31
	Sum8            // one byte, all others added up modulo 256: DD
)

// Size is how many bytes it has.
func (s Sum) Size() int {
	switch s {
	case CRC16Modbus, CRC16CCITT:
		return 2
	case CRC32:
		return 4
	case XOR, Sum8:
		return 1
	}
	return 0
}

// Append appends the check sum of p.
func (s Sum) Append(dst, p []byte) []byte {
	switch s {
	case CRC16Modbus:
		return binary.LittleEndian.AppendUint16(dst, CRCModbus(0xFFFF, p))
	case CRC16CCITT:
		return binary.BigEndian.AppendUint16(dst, crcCCITT(p))
	case CRC32:
		return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(p))
	case XOR:
		var x byte
		for _, b := range p {
			x ^= b
		}
		return append(dst, x)
	case Sum8:
		var x byte
		for _, b := range p {
			x += b
		}
		return append(dst, x)
	}
	return dst
}

// Valid reports whether p ends with the check sum of what comes before it.
func (s Sum) Valid(p []byte) bool {
	n := len(p) - s.Size()
	if n < 0 {
		return false
	}
	var buf [4]byte
	return string(s.Append(buf[:0], p[:n])) == string(p[n:])
}

// CRCModbus is CRC-16/MODBUS: it goes on with crc, at first 0xFFFF, over p. Over a
// whole frame with its check sum, low byte first, it is 0.
func CRCModbus(crc uint16, p []byte) uint16 {
	for _, b := range p {
		crc = crc>>8 ^ modbusTable[byte(crc)^b]
	}
	return crc
}

func crcCCITT(p []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, b := range p {
		crc = crc<<8 ^ ccittTable[byte(crc>>8)^b]
	}
	return crc
}

// Never changed.
var (
	modbusTable = makeModbusTable()
	ccittTable  = makeCCITTTable()
)

func makeModbusTable() (t [256]uint16) {
	for i := range t {
		crc := uint16(i)
		for range 8 {
			low := crc & 1
			crc = crc>>1 ^ low*0xA001
		}
		t[i] = crc
	}
	return t
}

func makeCCITTTable() (t [256]uint16) {
	for i := range t {
		crc := uint16(i) << 8
		for range 8 {
			high := crc >> 15
			crc = crc<<1 ^ high*0x1021
		}
		t[i] = crc
	}
	return t
}
