package transport

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
)

// decodeAll gives a stream of frames in pieces of that size to a connection.
func decodeAll(stream []byte, size int) (payload, answers []byte, err error) {
	var out bytes.Buffer
	c := &Conn{opt: &Options{}, framed: true, below: struct {
		io.Reader
		io.Writer
	}{nil, &out}}
	for len(stream) > 0 && c.frames.err == nil {
		b := bytes.Clone(stream[:min(size, len(stream))])
		stream = stream[len(b):]
		payload = append(payload, b[:c.decode(b)]...)
	}
	return payload, out.Bytes(), c.frames.err
}

func TestFrames(t *testing.T) {
	zero := func(op string, payload string) string { // a short frame with the mask 0
		return op + hex.EncodeToString([]byte{0x80 | byte(len(payload)/2)}) + "00000000" + payload
	}
	for _, c := range []struct {
		name, stream string // hex
		payload      string // hex
		answers      string // hex
		status       uint16 // of the error, 0: none
	}{
		{"RFC 6455 5.7, the masked hello in a binary frame", "828537fa213d7f9f4d5158", "48656c6c6f", "", 0},
		{"MQTT-6.0.0-2 a packet across three frames", zero("02", "c0") + zero("00", "") + zero("80", "00"), "c000", "", 0},
		{"MQTT-6.0.0-2 two packets in one frame", zero("82", "c000e000"), "c000e000", "", 0},
		{"a ping between fragments is answered", zero("02", "c0") + zero("89", "6869") + zero("80", "00"), "c000", "8a026869", 0},
		{"a pong is not", zero("8a", "6869"), "", "", 0},
		{"a length of 16 bits", "82fe0003" + "00000000" + "010203", "010203", "", 0},
		{"a length of 64 bits", "82ff0000000000000003" + "00000000" + "010203", "010203", "", 0},
		{"MQTT-6.0.0-1 a text frame", zero("82", "c0") + zero("81", "78"), "c0", "880203eb", 1003},
		{"RFC 6455 5.1, no mask", "8201c0", "", "880203ea", 1002},
		{"RFC 6455 5.2, reserved bits", zero("c2", "c0"), "", "880203ea", 1002},
		{"RFC 6455 5.2, the longest length", "82ffffffffffffffffff00000000", "", "880203ea", 1002},
		{"RFC 6455 5.2, an unknown opcode", zero("83", "c0"), "", "880203ea", 1002},
		{"RFC 6455 5.4, a continuation of nothing", zero("80", "c0"), "", "880203ea", 1002},
		{"RFC 6455 5.4, a message within one", zero("02", "c0") + zero("82", "c0"), "c0", "880203ea", 1002},
		{"RFC 6455 5.5, a fragmented ping", zero("09", ""), "", "880203ea", 1002},
		{"RFC 6455 5.5, a long ping", "89fe007e00000000", "", "880203ea", 1002},
		{"RFC 6455 7.4, a status that must not be sent", zero("88", "03ed"), "", "880203ea", 1002},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream, err := hex.DecodeString(c.stream)
			if err != nil {
				t.Fatal(err)
			}
			for size := 1; size <= len(stream); size++ { // however it is cut
				payload, answers, err := decodeAll(stream, size)
				var bad *frameError
				errors.As(err, &bad)
				if hex.EncodeToString(payload) != c.payload || hex.EncodeToString(answers) != c.answers ||
					(err != nil) != (c.status != 0) || bad != nil && bad.status != c.status {
					t.Fatalf("in pieces of %d: %x, answered %x, %v", size, payload, answers, err)
				}
			}
		})
	}
}

func TestACloseFrameIsAnsweredAndEndsTheStream(t *testing.T) {
	for stream, answer := range map[string]string{
		"888000000000":     "880203e8", // without a status
		"88820000000003e9": "880203e9",
	} {
		b, _ := hex.DecodeString(stream)
		_, answers, err := decodeAll(append(b, 0x82, 0x81), len(b)+2)
		if err != io.EOF || hex.EncodeToString(answers) != answer {
			t.Errorf("%s: %x, %v", stream, answers, err)
		}
	}
}

func TestNothingFollowsACloseFrame(t *testing.T) {
	var out bytes.Buffer
	c := &Conn{opt: &Options{}, framed: true, below: struct {
		io.Reader
		io.Writer
	}{nil, &out}}
	if err := c.writeFrame(binaryFrame, []byte{0xd0, 0}); err != nil {
		t.Fatal(err)
	}
	c.part(closeNormal)
	c.part(closeProtocol)
	if err := c.writeFrame(binaryFrame, []byte{0xd0, 0}); err == nil {
		t.Error("a frame was taken after the close frame")
	}
	if got := hex.EncodeToString(out.Bytes()); got != "8202d000"+"880203e8" {
		t.Error(got)
	}
}

func FuzzFrames(f *testing.F) {
	for _, s := range []string{"828537fa213d7f9f4d5158", "0281" + strings.Repeat("00", 5) + "8980" + "00000000" + "8081" + strings.Repeat("00", 5), "82ff0000000000000003000000000102"} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, 3)
	}
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		if size < 1 {
			return
		}
		// However the stream is cut, it says the same.
		payload, answers, err := decodeAll(stream, len(stream)+1)
		payload2, answers2, err2 := decodeAll(stream, size)
		if !bytes.Equal(payload, payload2) || !bytes.Equal(answers, answers2) || (err == nil) != (err2 == nil) {
			t.Errorf("%x, %x, %v; in pieces of %d: %x, %x, %v", payload, answers, err, size, payload2, answers2, err2)
		}
	})
}
