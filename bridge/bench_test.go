package bridge

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"packetboat/broker"
	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

// BenchmarkDrain sends a backlog of 200,000 messages of 100 bytes to a server
// that does nothing but acknowledge, and to a real one, over loopback.
//
// With the acknowledging server in the same process, cpu-s/M counts both; with
// Mosquitto it is the bridge's (and its store's) alone.
func BenchmarkDrain(b *testing.B) {
	b.Run("acknowledger/QoS1", func(b *testing.B) { drain(b, acknowledger(b), 1) })
	b.Run("acknowledger/QoS2", func(b *testing.B) { drain(b, acknowledger(b), 2) })
	b.Run("mosquitto/QoS1", func(b *testing.B) { drain(b, newMosquitto(b).address, 1) })
	b.Run("mosquitto/QoS2", func(b *testing.B) { drain(b, newMosquitto(b).address, 2) })
}

func drain(b *testing.B, address string, qos byte) {
	const backlog = 200_000
	var cpu, wall time.Duration
	for range b.N {
		s, err := store.Open(b.TempDir(), store.Options{})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		storeDone := make(chan error, 1)
		go func() { storeDone <- s.Run(ctx) }()
		br, err := broker.New(broker.Options{Store: s})
		if err != nil {
			b.Fatal(err)
		}
		br1, err := New(config.Bridge{
			Name: "cloud", Servers: []string{"mqtt://" + address}, ClientID: "bench",
			KeepAlive: 30 * time.Second, SessionExpiry: time.Hour, ConnectTimeout: 5 * time.Second,
			AckTimeout: 10 * time.Second, Inflight: 256,
			Backoff: config.Backoff{Min: time.Millisecond, Max: time.Second},
			Up:      []config.Up{up("bench/#", "cloud/{1}")},
		}, Options{Broker: br, Store: s})
		if err != nil {
			b.Fatal(err)
		}
		payload := make([]byte, 100)
		var last store.Receipt
		for range backlog {
			if last, err = br.Publish(&store.Message{Topic: "bench/t", Payload: payload, QoS: qos}); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Wait(ctx, last); err != nil {
			b.Fatal(err)
		}
		cpu0, began := cpuTime(), time.Now()
		run, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- br1.Run(run) }()
		look := time.NewTicker(5 * time.Millisecond)
		for br1.Stats().Acked < backlog {
			<-look.C
		}
		look.Stop()
		wall += time.Since(began)
		cpu += cpuTime() - cpu0
		stop()
		<-done
		cancel()
		<-storeDone
	}
	n := float64(b.N) * backlog
	b.ReportMetric(n/wall.Seconds(), "msg/s")
	b.ReportMetric(cpu.Seconds()/n*1e6, "cpu-s/M")
	b.ReportMetric(0, "ns/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// acknowledger is a server that answers everything and keeps nothing.
func acknowledger(b *testing.B) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var open atomic.Pointer[net.Conn]
	done := make(chan struct{})
	b.Cleanup(func() {
		_ = ln.Close()
		if c := open.Load(); c != nil {
			_ = (*c).Close()
		}
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(&conn)
			acknowledge(conn)
		}
	}()
	return ln.Addr().String()
}

func acknowledge(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 0, 256<<10)
	var out []byte
	var p packet.Publish
	for {
		n, err := conn.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return
		}
		buf = buf[:len(buf)+n]
		at := 0
		for {
			typ, flags, body, size, err := packet.Next(buf[at:], 0)
			if err != nil || size == 0 {
				break
			}
			switch typ {
			case packet.CONNECT:
				var c packet.Connect
				if packet.ParseConnect(body, &c) != nil {
					return
				}
				out = packet.AppendConnack(out, packet.V5, &packet.Connack{SessionPresent: !c.CleanStart})
			case packet.PUBLISH:
				if packet.ParsePublish(flags, body, packet.V5, &p) != nil {
					return
				}
				out = packet.AppendAck(out, packet.V5, packet.PUBACK+p.QoS-1, p.ID, 0)
			case packet.PUBREL:
				a, _ := packet.ParseAck(typ, flags, body, packet.V5)
				out = packet.AppendAck(out, packet.V5, packet.PUBCOMP, a.ID, 0)
			}
			at += size
		}
		buf = buf[:copy(buf, buf[at:])]
		if _, err := conn.Write(out); err != nil {
			return
		}
		out = out[:0]
	}
}
