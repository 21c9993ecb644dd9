package store

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/store/wal/simdisk"
)

// TestAHangingDiskIsNoticedWhateverElseHangs: the housekeeping writes, too.
func TestAHangingDiskIsNoticedWhateverElseHangs(t *testing.T) {
	for _, file := range []string{".log", "snapshot.tmp", "pool.tmp"} {
		t.Run(file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBox(t).open()
				stop := b.run()
				b.publish("one", 1, "c")
				synctest.Wait()
				hold := make(chan struct{})
				b.disk.Fault = func(op simdisk.Op, name string) error {
					if op == simdisk.OpSync && (strings.HasSuffix(name, file) || strings.HasSuffix(name, ".log")) {
						<-hold
					}
					return nil
				}
				b.s.mu.Lock()
				b.s.snap.due = file == "snapshot.tmp"
				b.s.mu.Unlock()
				time.Sleep(2 * time.Second) // the housekeeping hangs
				b.publish("two", 1, "c")
				time.Sleep(hangLimit + 2*time.Second)
				if b.s.Failed() == nil {
					t.Error("nobody noticed")
				}
				close(hold)
				synctest.Wait()
				if err := b.s.Failed(); err != nil {
					t.Errorf("still failed: %v", err)
				}
				stop()
			})
		})
	}
}
