package gateway

import (
	"time"

	"packetboat/config"
)

// limits are the values that the configuration leaves to the program.
type limits struct {
	minFree   int64
	segment   int64
	maxPacket int64
	retained  int64
	commit    time.Duration
}

// disk is what the values depend on. The zero disk is a large one that does
// not wear out.
type disk struct {
	size  int64 // of the file system, bytes; 0 = unknown
	space int64 // of data_dir's files and what is free, bytes; 0 = unknown
	card  bool  // an SD card or eMMC
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

func limitsOf(c *config.Config, d disk) limits {
	l := limits{
		minFree:   int64(c.Queue.MinFree),
		segment:   int64(c.Queue.SegmentSize),
		maxPacket: int64(c.Broker.MaxPacketSize),
		retained:  int64(c.Broker.MaxRetainedSize),
		commit:    c.Queue.CommitInterval,
	}
	if l.minFree == config.Auto {
		l.minFree = min(max(d.size/20, 16*mib), 256*mib)
		if d.size > 0 && d.size < 4*l.minFree {
			l.minFree = d.size / 4 // of a file system smaller than 64 MiB
		}
	}
	if l.segment == config.Auto {
		room := int64(c.Queue.MaxSize)
		if d.space > 0 {
			room = min(room, d.space)
		}
		l.segment = min(max(room/64/(4*kib)*(4*kib), 256*kib), 8*mib)
	}
	if l.maxPacket == config.Auto {
		l.maxPacket = min(mib, l.segment/2)
	}
	if l.retained == config.Auto {
		l.retained = min(int64(c.Queue.MaxSize)/64, 16*mib)
	}
	if l.commit == config.Auto {
		l.commit = 0
		if d.card {
			l.commit = 50 * time.Millisecond
		}
	}
	return l
}

// MinFree is how many bytes of data_dir's file system a gateway of that
// configuration keeps free.
func MinFree(c *config.Config) int64 { return limitsOf(c, measure(c.Gateway.DataDir)).minFree }

// CommitInterval is the shortest time between two syncs under load, by what the
// configuration says and the disk below dir is; 0: they follow one another.
func CommitInterval(q config.Queue, dir string) time.Duration {
	return limitsOf(&config.Config{Queue: q}, measure(dir)).commit
}
