package gateway

import (
	"fmt"
	"math"
	"sync/atomic"
	"syscall"

	"packetboat/config"
)

const (
	otherFiles = 100 // segments, ports, bridges
	leastRoom  = 100 // connections of the listeners that set no max_connections
)

// fileRoom is how many connections the listeners without a max_connections of
// their own may have together: a connection is an open file, and the last ones that
// may be open are for the queue. Nil has no bound.
type fileRoom struct{ open, most atomic.Int64 }

func (r *fileRoom) take() bool {
	if r == nil || r.open.Add(1) <= r.most.Load() {
		return true
	}
	r.open.Add(-1)
	return false
}

func (r *fileRoom) giveBack() {
	if r != nil {
		r.open.Add(-1)
	}
}

// share sets what the other files and connections leave of those that may be open.
func (r *fileRoom) share(c *config.Config, files int64) {
	r.most.Store(max(files-otherFiles-int64(connectionsSet(c)), leastRoom))
}

// filesMay is how many files may be open. That the soft limit is raised to the hard
// one, package syscall sees to.
func filesMay() int64 {
	var may syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &may); err != nil {
		return math.MaxInt64
	}
	return int64(min(uint64(may.Cur), math.MaxInt64)) // a limit of none is more than that
}

// checkFiles warns when fewer files may be open than the connections that the
// operator wants.
func (g *Gateway) checkFiles(c *config.Config) {
	if may, need := filesMay(), FilesNeeded(c); may < int64(need) {
		g.log.Warn("fewer files may be open than connections are allowed", "files", may, "connections", need-otherFiles,
			"remedy", fmt.Sprintf("set LimitNOFILE=%d in the systemd unit (ulimit -Hn elsewhere), or lower max_connections", need))
	}
}

// FilesNeeded is how many files may be open at once in a gateway of that
// configuration, with all the connections that it allows. Listeners that set no
// max_connections make do with what is left, but for some.
func FilesNeeded(c *config.Config) uint64 {
	need := connectionsSet(c) + otherFiles
	for i := range c.Listeners {
		if !c.Listeners[i].Limited {
			return need + leastRoom
		}
	}
	return need
}

// connectionsSet adds up the connections that others than such listeners may have.
func connectionsSet(c *config.Config) (most uint64) {
	for i := range c.Listeners {
		if c.Listeners[i].Limited {
			most += uint64(c.Listeners[i].MaxConnections)
		}
	}
	for i := range c.TCP {
		most += uint64(c.TCP[i].MaxConnections)
	}
	return most
}
