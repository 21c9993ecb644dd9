package wal

// Waiters returns how many wait for a commit.
func (l *Log) Waiters() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiters)
}

// BegunFrame is begunFrame.
func BegunFrame(b []byte, pos Pos) int { return begunFrame(b, pos) }
