package admin

import (
	"context"
	"sync"
)

// A turn lets one request at a time do what is dear. The zero turn is free.
type turn struct {
	once sync.Once
	slot chan struct{}
}

// take waits for the turn, which give ends; false: ctx has ended first.
func (t *turn) take(ctx context.Context) bool {
	t.once.Do(func() { t.slot = make(chan struct{}, 1) })
	select {
	case t.slot <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t *turn) give() { <-t.slot }
