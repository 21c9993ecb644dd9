package dial

import (
	"fmt"
	"net"
	"testing"
)

func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{100, 4 << 10, 60 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := newWebSocket(discard{})
			p := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type discard struct{ net.Conn }

func (discard) Write(b []byte) (int, error) { return len(b), nil }
