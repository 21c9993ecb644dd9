// Package wal is an append-only, segmented log of opaque records with group
// commit: the one place where the gateway writes to the disk.
//
// # Promise
//
// A record is durable when the commit that carries it has been written and
// synced; [Log.Durable] and [Log.Wait] say so, and never say it earlier. After
// a crash, [Open] hands every durable record to apply, in order, and none that
// was not appended.
//
// # Shape
//
// A log is a range of positions. Records gather in a frame; one frame is one
// commit. Frame n+1 is written only after the sync of frame n returned, so a
// valid frame behind an invalid one proves that the invalid one was damaged
// later, and an invalid frame with nothing valid behind it is a torn tail that
// nobody was ever answered for.
//
// Frames stand in segment files named POS-R.log by the position of their first
// frame. A segment ends where the next one begins, whatever its file still
// holds. A file is never appended to by a later life, and never written or
// synced again after a write or a sync on it failed: the kernel may have
// dropped the pages (the frame goes to a fresh file under the same position).
// FORMAT.md in the folder above describes the bytes.
//
// # Concurrency
//
// Staging (Append, BeforeSeal, BeginSegment) is guarded by the caller's lock,
// [Options.Lock]; everything else may be called from any goroutine. [Log.Run] is
// the committer and the only writer of the files.
package wal
