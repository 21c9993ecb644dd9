package bridge

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"

	"packetboat/bridge/dial"
	"packetboat/broker/packet"
)

// TestAcknowledgementsAreTakenOutOfTheStream however it is split: the caller reads
// all other packets, whole and in order.
func TestAcknowledgementsAreTakenOutOfTheStream(t *testing.T) {
	var stream, others, acks []byte
	for i := range 300 {
		var p []byte
		ack := true
		switch i % 6 {
		case 0:
			p = packet.AppendAck(nil, packet.V5, packet.PUBACK, uint16(i+1), 0)
		case 1:
			p = packet.AppendAck(nil, packet.V5, packet.PUBREC, uint16(i+1), 0x10)
		case 2:
			p, ack = packet.AppendPublish(nil, packet.V5, &packet.Publish{Topic: "t", QoS: 1, ID: 5, Payload: make([]byte, i*200)}), false
		case 3:
			p = append([]byte{packet.PUBACK << 4, 4 + 3 + 100, 0, byte(i), 0x87, 103, 0x1f, 0, 100}, strings.Repeat("x", 100)...)
		case 4:
			p = packet.AppendAck(nil, packet.V5, packet.PUBCOMP, uint16(i+1), 0)
		case 5:
			p, ack = packet.AppendPing(nil, packet.PINGRESP), false
		}
		stream = append(stream, p...)
		if ack {
			acks = append(acks, p...)
		} else {
			others = append(others, p...)
		}
	}
	// One that does not fit into the buffer is left to the caller.
	props := bytes.Repeat([]byte{0x26, 0, 1, 'a', 0, 1, 'b'}, 2871)
	huge := append(binary.AppendUvarint([]byte{0, 1, 0x87}, uint64(len(props))), props...)
	huge = append(binary.AppendUvarint([]byte{packet.PUBACK << 4}, uint64(len(huge))), huge...)
	stream, others = append(stream, huge...), append(others, huge...)
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		here, there := net.Pipe()
		var got []byte
		l := newLink(here, &counters{})
		l.acks = func(b []byte) { got = append(got, b...) }
		go func() {
			rest := slices.Clone(stream)
			for len(rest) > 0 {
				n := min(1+r.IntN(1<<r.IntN(16)), len(rest))
				_, _ = there.Write(rest[:n])
				rest = rest[n:]
			}
			_ = there.Close()
		}()
		read, err := io.ReadAll(l)
		if err != nil || !bytes.Equal(read, others) || !bytes.Equal(got, acks) {
			t.Fatalf("seed %d: read %d bytes of %d, acknowledgements %d of %d, %v", seed, len(read), len(others), len(got), len(acks), err)
		}
	}
}

func TestAMalformedAcknowledgementEndsTheLink(t *testing.T) {
	for name, b := range map[string][]byte{
		"flags":         {packet.PUBACK<<4 | 1, 2, 0, 1},
		"no identifier": {packet.PUBACK << 4, 1, 0},
		"identifier 0":  {packet.PUBACK << 4, 2, 0, 0},
		"properties":    {packet.PUBREC << 4, 5, 0, 1, 0, 9, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, unhurried)
			r.start()
			r.bridge.dial = func(context.Context, dial.Server) (net.Conn, error) { return r.cloud.dial(nil) }
			r.run()
			r.awaitState(Online)
			r.cloud.raw("gw1", b)
			if s := r.awaitState(BackingOff); s.Err == nil || !strings.Contains(s.Err.Error(), "acknowledgement") {
				t.Errorf("state %v", s)
			}
		})
	}
}
