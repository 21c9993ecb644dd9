// Package store is the offline disk queue: messages, the durable consumers that
// wait for them, sessions and retained messages, all of it the result of
// applying the records of one append-only log in order.
//
// # Promise
//
// What Publish, Set, Forget or Release return a [Receipt] for is on the disk
// when Wait on it returns: it survives a crash and a power cut at any later
// moment. A consumer is only ever given what is on the disk.
//
// # Consumers
//
// A message names its consumers in its own record, each with the consumer's
// next seq. The seq fixes the packet identifier (id = first + seq % n), so a
// message is sent under the same identifier after any crash. A consumer keeps a
// floor below which all is finished, a window of 1,024 bits above it, and spans:
// "so many of my messages from this position on". Memory does not grow with the
// backlog.
//
// FORMAT.md describes the bytes.
//
// # Concurrency
//
// All methods may be called from any goroutine, except that TryNext, Next,
// Rewind and Restart of one Consumer belong to one caller at a time. Functions
// given to OnDurable and OnReady are called by the committer and must be short
// and never block.
package store
