package transport

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"packetboat/broker/transport/certtest"
)

const patience = 20 * time.Second

// stack is one combination of layers.
type stack struct {
	name    string
	tls, ws bool
}

var stacks = []stack{{"TLS", true, false}, {"WebSocket", false, true}, {"WebSocket over TLS", true, true}}

// pair gives the two ends of a connection through the layers. Of the client's,
// Read and Write are of the payload.
func (s stack) pair(t *testing.T) (server *Conn, client net.Conn) {
	t.Helper()
	pair := certtest.SelfSigned("device", certtest.Hosts("gateway"), certtest.CA) // for both ends, and its own authority
	cert, pool := pair.TLS(), pair.Pool()
	opt := Options{WebSocket: s.ws}
	if s.tls {
		cfg := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, DynamicRecordSizingDisabled: true}
		opt.TLS, opt.CertUser = func() *tls.Config { return cfg }, true
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := Listen(inner, opt)
	defer ln.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		nc, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		_ = nc.SetDeadline(time.Now().Add(patience))
		client = nc
		if s.tls {
			c := tls.Client(nc, &tls.Config{RootCAs: pool, ServerName: "gateway", Certificates: []tls.Certificate{cert}})
			if err := c.Handshake(); err != nil {
				t.Error(err)
			}
			client = c
		}
		if s.ws {
			d := ws.Dialer{Protocols: []string{"mqtt"}, NetDial: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
			_, _, hs, err := d.Dial(context.Background(), "ws://gateway/mqtt")
			if err != nil || hs.Protocol != "mqtt" {
				t.Errorf("%v, protocol %q", err, hs.Protocol)
			}
			client = &wsClient{Conn: client}
		}
	})
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server = nc.(*Conn)
	_ = server.SetDeadline(time.Now().Add(patience))
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

// wsClient writes frames of random lengths, fragmented, with pings between.
type wsClient struct {
	net.Conn
	r       wsutil.Reader
	reading bool
	wrote   int
}

func (c *wsClient) Write(b []byte) (int, error) {
	n := len(b)
	for first := true; len(b) > 0 || first; first = false {
		k := mathrand.IntN(min(len(b), 300) + 1)
		f := ws.NewBinaryFrame(bytes.Clone(b[:k]))
		f.Header.Fin = k == len(b)
		if !first {
			f.Header.OpCode = ws.OpContinuation
		}
		if err := ws.WriteFrame(c.Conn, ws.MaskFrameInPlace(f)); err != nil {
			return 0, err
		}
		b = b[k:]
		if c.wrote++; c.wrote%7 == 0 {
			if err := ws.WriteFrame(c.Conn, ws.MaskFrameInPlace(ws.NewPingFrame([]byte("?")))); err != nil {
				return 0, err
			}
		}
		if len(b) == 0 && f.Header.Fin {
			break
		}
	}
	return n, nil
}

func (c *wsClient) Read(b []byte) (int, error) {
	c.r.Source, c.r.State = c.Conn, ws.StateClientSide
	for {
		if !c.reading {
			h, err := c.r.NextFrame()
			if err != nil {
				return 0, err
			}
			if h.OpCode.IsControl() {
				payload, err := io.ReadAll(&c.r)
				if err != nil {
					return 0, err
				}
				if h.OpCode == ws.OpClose {
					code, _ := ws.ParseCloseFrameData(payload)
					return 0, closedWith(code)
				}
				continue
			}
			c.reading = true
		}
		n, err := c.r.Read(b)
		if err == io.EOF {
			c.reading, err = false, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

type closedWith uint16

func (c closedWith) Error() string { return "closed" }

// readReady reads as the broker does: it waits without a buffer.
func readReady(c *Conn, b []byte) (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	for n == 0 && err == nil {
		if e := raw.Read(func(fd uintptr) bool {
			n, err = c.ReadReady(fd, b)
			return err != syscall.EAGAIN
		}); e != nil {
			return 0, e
		}
	}
	return n, err
}

func TestBytesComeThroughWholeAndInOrder(t *testing.T) {
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(mathrand.Uint32())
	}
	for _, s := range stacks {
		for _, way := range []string{"blocking", "when ready"} {
			t.Run(s.name+", "+way, func(t *testing.T) {
				server, client := s.pair(t)
				var wg sync.WaitGroup
				defer wg.Wait()
				wg.Go(func() {
					for b := data; len(b) > 0; {
						k := min(len(b), 1+mathrand.IntN(5000))
						if _, err := client.Write(b[:k]); err != nil {
							t.Error(err)
							return
						}
						b = b[k:]
					}
				})
				wg.Go(func() { // back, and more than the socket takes at once
					b := data
					for len(b) > 0 && way == "when ready" {
						n, err := server.TryWrite(b[:min(len(b), 100_000)])
						b = b[n:]
						if err == syscall.EAGAIN {
							n, err = server.Write(b[:min(len(b), 1000)])
							b = b[n:]
						}
						if err != nil {
							t.Error(err)
							return
						}
					}
					if _, err := server.Write(b); err != nil {
						t.Error(err)
					}
				})
				wg.Go(func() {
					got := make([]byte, len(data))
					if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, data) {
						t.Errorf("the client read %v, equal %v", err, bytes.Equal(got, data))
					}
				})
				var got []byte
				buf := make([]byte, 3000)
				for len(got) < len(data) {
					var n int
					var err error
					if way == "blocking" {
						n, err = server.Read(buf)
					} else {
						n, err = readReady(server, buf)
					}
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, buf[:n]...)
				}
				if !bytes.Equal(got, data) {
					t.Error("other bytes")
				}
			})
		}
	}
}

func TestWhatCameBeforeTheEndIsRead(t *testing.T) {
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			server, client := s.pair(t)
			if _, err := client.Write([]byte("last words")); err != nil {
				t.Fatal(err)
			}
			if c, ok := client.(*wsClient); ok {
				if err := ws.WriteFrame(c.Conn, ws.MaskFrameInPlace(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "")))); err != nil {
					t.Fatal(err)
				}
			} else if err := client.Close(); err != nil {
				t.Fatal(err)
			}
			var got []byte
			buf := make([]byte, 1000)
			for {
				n, err := readReady(server, buf)
				got = append(got, buf[:n]...)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if string(got) != "last words" {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestDeadlinesWork(t *testing.T) {
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			server, client := s.pair(t)
			past := time.Unix(1, 0)
			_ = server.SetReadDeadline(past)
			if _, err := readReady(server, make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			_ = server.SetReadDeadline(time.Now().Add(patience))
			if _, err := client.Write([]byte("x")); err != nil { // after a timeout, reading goes on
				t.Fatal(err)
			}
			if n, err := readReady(server, make([]byte, 10)); n != 1 || err != nil {
				t.Error(n, err)
			}
			_ = server.SetWriteDeadline(past)
			if _, err := server.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
		})
	}
}

func TestAHandshakeThatIsNotFinishedEndsAtTheDeadline(t *testing.T) {
	for _, c := range []struct {
		name  string
		stack stack
		sent  string
	}{
		{"nothing at all of TLS", stacks[0], ""},
		{"half a TLS record", stacks[0], "\x16\x03\x01\x02\x00\x01"},
		{"nothing at all of the upgrade", stacks[1], ""},
		{"half a header of the upgrade", stacks[1], "GET /mqtt HTTP/1.1\r\nHost: gate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			opt := Options{WebSocket: c.stack.ws}
			if c.stack.tls {
				opt.TLS = func() *tls.Config { return &tls.Config{} }
			}
			ln := Listen(inner, opt)
			defer ln.Close()
			nc, err := net.Dial("tcp", inner.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := nc.Write([]byte(c.sent)); err != nil {
				t.Fatal(err)
			}
			server, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			_ = server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if err := server.(*Conn).Handshake(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
		})
	}
}

func TestTheCertificateNamesTheUser(t *testing.T) {
	server, _ := stacks[0].pair(t)
	if name, ok := server.CertUser(); name != "device" || !ok {
		t.Error(name, ok)
	}
	server, _ = stacks[1].pair(t)
	if name, ok := server.CertUser(); ok {
		t.Errorf("without TLS, %q", name)
	}
}

func TestUpgradesThatGetNoAnswerTheyCouldUse(t *testing.T) {
	const head = "GET /mqtt HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n"
	for _, c := range []struct{ name, request string }{
		{"frames before the answer are lost, so it is none", head + "\r\n\x82\x80\x00\x00\x00\x00"},
		{"headers without end", head + strings.Repeat("X: y\r\n", maxRequest/6+1) + "\r\n"},
		{"a line without end", head + "X: " + strings.Repeat("y", maxRequest) + "\r\n\r\n"},
	} {
		for _, size := range []int{1, 1000, 1 << 20} {
			var all io.Reader = strings.NewReader(c.request)
			if size == 1 {
				all = iotest.OneByteReader(all)
			}
			read := readerFunc(func(b []byte) (int, error) { return all.Read(b[:min(len(b), size)]) })
			err := upgrade(struct {
				io.Reader
				io.Writer
			}{read, io.Discard})
			if err == nil && !(size == 1 && strings.HasPrefix(c.name, "frames")) { // then the frames were not read
				t.Errorf("%s, in pieces of %d: no error", c.name, size)
			}
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestUpgrades(t *testing.T) {
	const good = "GET %PATH HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	at := func(path string) string { return strings.Replace(good, "%PATH", path, 1) }
	for _, c := range []struct{ name, request, want string }{
		{"the sample of RFC 6455 with MQTT-6.0.0-3 and 6.0.0-4", at("/mqtt") + "Sec-WebSocket-Protocol: mqtt\r\n\r\n", "101 Switching Protocols"},
		{"mqtt among others", at("/") + "Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n\r\n", "101 Switching Protocols"},
		{"MQTT 3.1", at("/mqtt") + "Sec-WebSocket-Protocol: mqttv3.1\r\n\r\n", "101 Switching Protocols, mqttv3.1"},
		{"a query changes nothing", at("/mqtt?x=1") + "Sec-WebSocket-Protocol: mqtt\r\n\r\n", "101 Switching Protocols"},
		{"MQTT-6.0.0-3 without mqtt", at("/mqtt") + "Sec-WebSocket-Protocol: chat\r\n\r\n", "400 Bad Request"},
		{"MQTT-6.0.0-3 without any", at("/mqtt") + "\r\n", "400 Bad Request"},
		{"another path", at("/chat") + "Sec-WebSocket-Protocol: mqtt\r\n\r\n", "404 Not Found"},
		{"a long cookie", at("/mqtt") + "Cookie: " + strings.Repeat("x", 6000) + "\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", "101 Switching Protocols"},
		{"a browser that looks", "GET / HTTP/1.1\r\nHost: gateway\r\n\r\n", "400 Bad Request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var answer bytes.Buffer
			err := upgrade(struct {
				io.Reader
				io.Writer
			}{strings.NewReader(c.request), &answer})
			head, _, _ := strings.Cut(answer.String(), "\r\n")
			want, protocol, _ := strings.Cut(c.want, ", ")
			protocol = cmp.Or(protocol, "mqtt")
			if head != "HTTP/1.1 "+want || (err == nil) != strings.HasPrefix(c.want, "101") {
				t.Errorf("%q, %v", head, err)
			}
			if err == nil && (!strings.Contains(answer.String(), "Sec-WebSocket-Protocol: "+protocol+"\r\n") ||
				!strings.Contains(answer.String(), "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")) {
				t.Errorf("%q", answer.String())
			}
		})
	}
}
