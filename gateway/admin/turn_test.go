package admin

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestOneVerificationAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var x turn
		if !x.take(t.Context()) {
			t.Fatal("the first has to wait")
		}
		gone, leave := context.WithCancel(t.Context())
		second, third := make(chan bool, 1), make(chan bool, 1)
		go func() { second <- x.take(gone) }()
		go func() { third <- x.take(t.Context()) }()
		synctest.Wait()
		if len(second)+len(third) > 0 {
			t.Error("two at a time")
		}
		leave()
		if <-second {
			t.Error("who has gone has the turn")
		}
		x.give()
		if !<-third {
			t.Error("who waits does not get it")
		}
	})
}
