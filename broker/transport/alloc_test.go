//go:build !race

package transport

import (
	"io"
	"sync"
	"testing"
)

func TestTheSteadyStateDoesNotAllocate(t *testing.T) {
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			server, client := s.pair(t)
			nc := client
			if c, ok := client.(*wsClient); ok {
				nc = c.Conn
			}
			var wg sync.WaitGroup
			defer wg.Wait()
			defer nc.Close()
			wg.Go(func() { _, _ = io.Copy(io.Discard, nc) })
			message := make([]byte, 100)
			if n := testing.AllocsPerRun(200, func() {
				if _, err := server.TryWrite(message); err != nil {
					t.Error(err)
				}
			}); n >= 1 {
				t.Errorf("a write allocates %v times", n)
			}
		})
	}
}
