package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"packetboat/broker/packet"
)

// witness is a client that does nothing but what it should: it publishes at QoS 1,
// a hundred times a second at most, and notes how long each PUBACK takes. An
// answer that does not come at all fails the test.
func witness(t *testing.T, address string) (stop func() string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(packet.AppendConnect(nil, &packet.Connect{Version: packet.V311, ClientID: "witness", CleanStart: true})); err != nil {
		t.Fatal(err)
	}
	if err := answered(conn); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var took []time.Duration
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		b := packet.AppendPublish(nil, packet.V311, &packet.Publish{Topic: "witness/1", QoS: 1, ID: 1, Payload: []byte("here")})
		for ctx.Err() == nil {
			began := time.Now()
			if _, err := conn.Write(b); err != nil {
				t.Errorf("one who behaves cannot publish: %v", err)
				return
			}
			if err := answered(conn); err != nil {
				t.Errorf("one who behaves has no answer: %v", err)
				return
			}
			took = append(took, time.Since(began))
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	end := sync.OnceFunc(func() {
		cancel()
		done.Wait()
		_ = conn.Close()
	})
	t.Cleanup(end)
	return func() string {
		end()
		slices.Sort(took)
		if len(took) == 0 {
			return "none"
		}
		at := func(part int) time.Duration { return took[len(took)*part/100].Round(10 * time.Microsecond) }
		return fmt.Sprintf("%d, median %v, p99 %v, longest %v", len(took), at(50), at(99), took[len(took)-1].Round(10*time.Microsecond))
	}
}

// answered reads a packet of four bytes, which CONNACK and PUBACK are in 3.1.1.
func answered(conn net.Conn) error {
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	_, err := io.ReadFull(conn, make([]byte, 4))
	return err
}
