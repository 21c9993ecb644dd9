package dial

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// decodeAll gives a stream to frames in pieces of that size. Control frames are
// noted; a close frame ends the stream.
func decodeAll(stream []byte, size int) (payload []byte, controls string, f *frames) {
	f = &frames{control: func(op ws.OpCode, payload []byte) error {
		controls += fmt.Sprintf("%x:%x ", op, payload)
		if op == ws.OpClose {
			return io.EOF
		}
		return nil
	}}
	for len(stream) > 0 && f.err == nil {
		b := bytes.Clone(stream[:min(size, len(stream))])
		stream = stream[len(b):]
		payload = append(payload, b[:f.decode(b)]...)
	}
	return payload, controls, f
}

func TestFrames(t *testing.T) {
	for _, c := range []struct {
		name, stream string // hex
		payload      string // hex
		controls     string
		status       ws.StatusCode // of the error, 0: none
	}{
		{"RFC 6455 5.7, the hello in a binary frame", "820548656c6c6f", "48656c6c6f", "", 0},
		{"MQTT-6.0.0-2, a packet across three frames", "0201d0" + "0000" + "800100", "d000", "", 0},
		{"MQTT-6.0.0-2, two packets in one frame", "8204d000d000", "d000d000", "", 0},
		{"an empty message", "8200" + "8201d0", "d0", "", 0},
		{"RFC 6455 5.5.2, a ping between fragments", "0201d0" + "89026869" + "800100", "d000", "9:6869 ", 0},
		{"pings without and with payload", "8900" + "89023132" + "8900", "", "9: 9:3132 9: ", 0},
		{"a pong", "8a026869", "", "a:6869 ", 0},
		{"a length of 16 bits", "827e0003010203", "010203", "", 0},
		{"a length of 64 bits", "827f0000000000000003010203", "010203", "", 0},
		{"RFC 6455 5.5.1, nothing counts after a close frame", "8201d0" + "880203e8" + "8201e0", "d0", "8:03e8 ", 0},
		{"MQTT-6.0.0-1, a text frame", "8201d0" + "810178", "d0", "", 1003},
		{"RFC 6455 5.1, a masked frame", "828100000000d0", "", "", 1002},
		{"RFC 6455 5.2, a reserved bit", "c201d0", "", "", 1002},
		{"RFC 6455 5.2, the top bit of the length", "827f8000000000000000", "", "", 1002},
		{"RFC 6455 5.2, unknown opcodes", "8301d0", "", "", 1002},
		{"RFC 6455 5.2, unknown control opcodes", "8b00", "", "", 1002},
		{"RFC 6455 5.4, a continuation of nothing", "8001d0", "", "", 1002},
		{"RFC 6455 5.4, a continuation of what is finished", "0201d0" + "8000" + "8001d0", "d0", "", 1002},
		{"RFC 6455 5.4, a message within one", "0201d0" + "8201d0", "d0", "", 1002},
		{"RFC 6455 5.5, a fragmented ping", "0900", "", "", 1002},
		{"RFC 6455 5.5, a long ping", "897e007e", "", "", 1002},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream, err := hex.DecodeString(c.stream)
			if err != nil {
				t.Fatal(err)
			}
			for size := 1; size <= len(stream); size++ { // however it is cut
				payload, controls, f := decodeAll(stream, size)
				var bad *breach
				errors.As(f.err, &bad)
				if hex.EncodeToString(payload) != c.payload || controls != c.controls || (bad != nil) != (c.status != 0) || bad != nil && bad.status != c.status {
					t.Fatalf("in pieces of %d: %x, %s, %v", size, payload, controls, f.err)
				}
			}
		})
	}
}

func TestCloseFrames(t *testing.T) {
	for _, c := range []struct {
		payload, words string
		status         ws.StatusCode
	}{
		{"", "EOF", 1000},
		{"03e8", "EOF", 1000},
		{"03e9627965", "EOF", 1001},
		{"03f06e6f", `the server closes the WebSocket with status 1008 "no": EOF`, 1008},
		{"0fa0", "status 4000", 4000},
		{"03", "a close frame that is none", 0},
		{"03ed", "a close frame that is none", 0},   // must not be sent
		{"03e8ff", "a close frame that is none", 0}, // not UTF-8
	} {
		payload, _ := hex.DecodeString(c.payload)
		status, err := closed(payload)
		if status != c.status || !strings.Contains(err.Error(), c.words) || errors.Is(err, io.EOF) != (c.status != 0) {
			t.Errorf("%s: %d, %v", c.payload, status, err)
		}
	}
}

// readFrame reads a client's frame.
func readFrame(r io.Reader) (ws.Header, []byte, error) {
	h, err := ws.ReadHeader(r)
	if err == nil {
		err = ws.CheckHeader(h, ws.StateServerSide)
	}
	if err == nil && h.Length > 1<<20 {
		err = errors.New("too long")
	}
	if err != nil {
		return h, nil, err
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(r, payload)
	ws.Cipher(payload, h.Mask, 0)
	return h, payload, err
}

func TestFramesOfAClient(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 0xffff, 0x10000, 0x12345} {
		payload := bytes.Repeat([]byte{0x5a, 1, 2}, n/3+1)[:n]
		original := bytes.Clone(payload)
		b := appendFrame([]byte("before"), ws.OpBinary, [4]byte{1, 2, 3, 4}, payload)
		r := bytes.NewReader(bytes.TrimPrefix(b, []byte("before")))
		h, got, err := readFrame(r)
		if err != nil || r.Len() != 0 {
			t.Fatalf("%d bytes: %v, %d are left", n, err, r.Len())
		}
		if !h.Fin || h.OpCode != ws.OpBinary || h.Mask != [4]byte{1, 2, 3, 4} {
			t.Errorf("%d bytes: %+v", n, h)
		}
		if !bytes.Equal(got, original) || !bytes.Equal(payload, original) {
			t.Errorf("%d bytes come as others", n)
		}
	}
	b := appendFrame(nil, ws.OpBinary, [4]byte{0x37, 0xfa, 0x21, 0x3d}, []byte("Hello")) // RFC 6455 5.7
	if got := hex.EncodeToString(b); got != "828537fa213d7f9f4d5158" {
		t.Error(got)
	}
}

// model reads a stream with the frame reader of the dependency.
func model(stream []byte) (payload []byte, controls string, broken bool) {
	state := ws.StateClientSide
	for r := bytes.NewReader(stream); r.Len() > 0; {
		rest := stream[len(stream)-r.Len():]
		h, err := ws.ReadHeader(r)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			// It waits for the mask, which must not be.
			return payload, controls, len(rest) >= 2 && rest[1]&maskBit != 0 && len(rest) >= 2+lengthBytes(rest[1])
		}
		if err != nil {
			return payload, controls, true
		}
		if ws.CheckHeader(h, state) != nil || h.OpCode == ws.OpText || h.OpCode.IsReserved() {
			return payload, controls, true
		}
		b := make([]byte, min(h.Length, int64(r.Len())))
		_, _ = io.ReadFull(r, b)
		whole := int64(len(b)) == h.Length
		switch {
		case !h.OpCode.IsControl():
			payload = append(payload, b...)
			if state = state.Clear(ws.StateFragmented); !h.Fin {
				state = state.Set(ws.StateFragmented)
			}
		case whole:
			controls += fmt.Sprintf("%x:%x ", h.OpCode, b)
			if h.OpCode == ws.OpClose {
				return payload, controls, false
			}
		}
	}
	return payload, controls, false
}

// However a stream is cut, frames make of it what the dependency does.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{
		"820548656c6c6f", "0201d0" + "89026869" + "0000" + "800100", "827e0003010203", "827f0000000000000003010203",
		"8201d0" + "880203e8" + "8201e0", "810178", "c201d0", "827f8000000000000000", "897e007e", "828100000000d0", "8b00", "8000",
	} {
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
		payload, controls, broken := model(stream)
		for _, size := range []int{size, len(stream) + 1} {
			got, gotControls, s := decodeAll(stream, size)
			var bad *breach
			if !bytes.Equal(got, payload) || gotControls != controls || errors.As(s.err, &bad) != broken {
				t.Errorf("in pieces of %d: %x, %s, %v; want %x, %s, broken %v", size, got, gotControls, s.err, payload, controls, broken)
			}
		}
	})
}
