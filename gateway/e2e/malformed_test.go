package e2e

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"

	"packetboat/broker/packet"
)

// malformed is a connection that never becomes one of a client.
func (s *soak) malformed(rng *rand.Rand) int64 {
	door := s.doors[rng.IntN(len(s.doors))]
	raw, err := dialFrom(s.from.Add(1), door.address)
	if err != nil {
		s.t.Errorf("connect: %v", err)
		return 0
	}
	defer raw.Close()
	var conn io.ReadWriter = raw
	var b []byte
	// Each layer is met in a third of the cases, those within after the outer ones
	// have been passed, if there are any.
	switch depth := rng.IntN(3); {
	case depth == 0 && rng.IntN(4) == 0:
		_ = raw.SetLinger(0) // connected and gone
		return 1
	case depth == 0:
		b = s.notTLS(rng)
	case depth == 1 && door.web:
		if conn, err = (doorway{tls: door.tls}).through(raw); err == nil {
			b = notUpgrade(rng)
		}
	case depth == 2 && door.web && rng.IntN(2) == 0:
		if conn, err = (doorway{tls: door.tls}).through(raw); err == nil {
			if err = upgraded(conn); err == nil {
				b = notFrames(rng)
			}
		}
	default:
		if conn, err = door.through(raw); err == nil {
			b = notConnect(rng)
		}
	}
	if err != nil {
		s.t.Errorf("%+v: %v", door, err)
		return 0
	}
	if err := exchange(rng, raw, conn, b); err != nil {
		s.t.Errorf("%+v: %v after %.300x", door, err, b)
	}
	return 1
}

// notTLS is what a port can be sent by anybody: what is for other protocols, and
// what was meant for TLS.
func (s *soak) notTLS(rng *rand.Rand) []byte {
	hello := bytes.Clone(s.hello)
	switch rng.IntN(9) {
	case 0:
		return anything(rng)
	case 1:
		return hello[:rng.IntN(len(hello))]
	case 2:
		mutate(rng, hello[5:])
		return hello
	case 3:
		mutate(rng, hello[:5])
		return append(hello, anything(rng)...)
	case 4:
		return append(hello, anything(rng)...)
	case 5:
		return append([]byte{22, 3, 1, 0xff, 0xff}, anything(rng)...) // a record longer than there can be
	case 6:
		return []byte{21, 3, 3, 0, 2, 2, 40} // an alert first
	case 7:
		return []byte("SSH-2.0-OpenSSH_9.2p1\r\n")
	}
	return packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: "plain"})[:10]
}

// notUpgrade is no request for a WebSocket that could be granted.
func notUpgrade(rng *rand.Rand) []byte {
	switch rng.IntN(9) {
	case 0:
		return anything(rng)
	case 1:
		return []byte(upgradeRequest[:rng.IntN(len(upgradeRequest))])
	case 2:
		b := []byte(upgradeRequest)
		mutate(rng, b)
		return b
	case 3:
		return []byte("GET /metrics HTTP/1.1\r\nHost: gateway\r\n\r\n")
	case 4:
		return []byte("POST /mqtt HTTP/1.1\r\nHost: gateway\r\nContent-Length: 99999999999999\r\n\r\n")
	case 5:
		return []byte("GET /mqtt HTTP/1.1\r\n" + strings.Repeat("X-Y: z\r\n", 10_000) + "\r\n")
	case 6:
		return []byte("GET /" + strings.Repeat("a", 100_000) + " HTTP/1.1\r\n\r\n")
	case 7:
		return []byte(strings.ReplaceAll(upgradeRequest, "mqtt\r\n", strings.Repeat("m,", 10_000)+"\r\n"))
	}
	return append([]byte(upgradeRequest), anything(rng)...) // without waiting for the answer
}

// notFrames are no frames that a client may send.
func notFrames(rng *rand.Rand) []byte {
	all := [][]byte{
		{0x82, 0x02, 0x10, 0x00},                                             // not masked
		{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'},                                   // text
		{0x80, 0x80, 0, 0, 0, 0},                                             // goes on with nothing
		{0xf2, 0x80, 0, 0, 0, 0},                                             // reserved bits
		{0x83, 0x80, 0, 0, 0, 0},                                             // a reserved opcode
		{0x09, 0x80, 0, 0, 0, 0},                                             // a ping in parts
		{0x89, 0xfe, 0, 126, 0, 0, 0, 0},                                     // a long ping
		{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},         // longer than can be
		{0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 0x10},               // 4 GiB
		{0x88, 0x81, 0, 0, 0, 0, 3},                                          // a close without a code
		{0x82, 0x80, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0},                     // empty ones
		bytes.Repeat([]byte{0x89, 0x80, 0, 0, 0, 0}, 1+rng.IntN(2000)),       // a flood of pings
		bytes.Repeat([]byte{0x02, 0x80, 0, 0, 0, 0}, 2),                      // two beginnings
		append([]byte{0x82, 0xfe, 0, 200, 1, 2, 3, 4}, anything(rng)...),     // noise within
		append(bytes.Repeat([]byte{0x8a, 0x80, 0, 0, 0, 0}, 20), 0x82, 0x7f), // pongs for nobody
		anything(rng),
	}
	return all[rng.IntN(len(all))]
}

// notConnect is no CONNECT that is granted.
func notConnect(rng *rand.Rand) []byte {
	g := &generator{rng: rng, version: packet.V31 + byte(rng.IntN(3))}
	good := packet.AppendConnect(nil, g.connect())
	switch rng.IntN(8) {
	case 0:
		return anything(rng)
	case 1:
		return good[:rng.IntN(len(good))]
	case 2:
		mutate(rng, good)
		return good // which may be one that is granted; then the connection ends
	case 3:
		return g.packet(nil)
	case 4:
		return append([]byte{0x10, 0xff, 0xff, 0xff, 0x7f}, good[2:]...) // 256 MiB
	case 5:
		return []byte{0x10, 0xff, 0xff, 0xff, 0xff, 0x01}
	}
	all := []string{
		"\x10\x0e\x00\x04MQTT\x04\x03\x00\x00\x00\x02c0",                            // the reserved flag
		"\x10\x0e\x00\x04MQTT\x06\x02\x00\x00\x00\x02c0",                            // an unknown version
		"\x10\x0e\x00\x04MQTT\x04\x1a\x00\x00\x00\x02c0",                            // a will QoS of 3
		"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00",                              // no client identifier
		"\x10\x0e\x00\x04MQTT\x04\xc2\x00\x00\x00\x02c0",                            // no user name where one must be
		"\x10\x0e\xff\xffMQTT\x04\x02\x00\x00\x00\x02c0",                            // a protocol name beyond the end
		"\x10\x0f\x00\x04MQTT\x05\x02\x00\x00\xff\xff\xff\x7f\x00\x00",              // properties beyond the end
		"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x04\x21\x00\x00\x00\x00\x00",          // a receive maximum of 0
		"\x10\x14\x00\x04MQTT\x05\x02\x00\x00\x07\x15\x00\x01x\x16\x00\x00\x00\x00", // authentication of another kind
		"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04\xed\xa0\x80x",                 // no UTF-8
		"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n",
	}
	return []byte(all[rng.IntN(len(all))])
}

// anything is some bytes.
func anything(rng *rand.Rand) []byte {
	b := make([]byte, 1+rng.IntN(300))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}
