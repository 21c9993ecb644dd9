package e2e

import (
	"testing"
	"time"
)

// TestConfigurationsInTurmoilOnADiskThatFillsUp: reloads work, and lose nothing, while
// the disk takes nothing.
func TestConfigurationsInTurmoilOnADiskThatFillsUp(t *testing.T) {
	t.Parallel()
	var d *disk
	x := newTurmoilWith(t, false, "", func(x *turmoil) {
		d = newDisk(t, "tmpfs", "")
		x.g = d.gateway
	})
	stop := witness(t, x.g.mqtt)
	for range scale(1, 10) {
		x.round(5, 0)
		d.breakBy("dd if=/dev/zero of="+d.dir+"/fill bs=64k 2>/dev/null; test -e "+d.dir+"/fill", "rm -f "+d.dir+"/fill")
		d.failed(patience)
		began, acked := time.Now(), x.two.Counts().Acked
		for range 15 {
			x.change()
			x.current()
		}
		if took := time.Since(began); took > patience/2 {
			t.Errorf("15 reloads took %v", took)
		}
		if now := x.two.Counts().Acked; now > acked {
			t.Errorf("%d were acknowledged on a disk that takes no writes", now-acked)
		}
		d.inside("rm " + d.dir + "/fill")
		x.flows()
	}
	x.calm()
	x.settled(false)
	t.Logf("a client of a listener that stays, PUBACK: %s", stop())
	x.g.stop()
}
