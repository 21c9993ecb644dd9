//go:build race

package broker

// Under the race detector sync.Pool drops a part of what it is given.
const allowedAllocs = 20
