package broker

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestABurstOfLogLinesIsCutAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q quiet
		said := 0
		for range 100 {
			if ok, _ := q.allow(); ok {
				said++
			}
		}
		if said != quietLines {
			t.Errorf("%d lines of a burst, want %d", said, quietLines)
		}
		time.Sleep(quietPeriod)
		if ok, missed := q.allow(); !ok || missed != 100-quietLines {
			t.Errorf("after the period: allowed %v, %d not logged, want %d", ok, missed, 100-quietLines)
		}
		if ok, missed := q.allow(); !ok || missed != 0 {
			t.Errorf("the next line: allowed %v, %d not logged", ok, missed)
		}
	})
}
