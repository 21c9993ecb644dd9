package broker

import (
	"math"
	"time"
)

// loads are moving averages of how much happens in a minute, over the last 1,
// 5 and 15 minutes, as Mosquitto's users know them.
type loads struct {
	at   time.Time // of the last sample
	last [len(loadNames)]uint64
	avg  [len(loadNames)][len(loadSpans)]float64
}

var loadNames = [...]string{
	"bytes/received", "bytes/sent", "connections", "messages/received", "messages/sent",
	"publish/dropped", "publish/received", "publish/sent", "sockets",
}

var loadSpans = [...]struct {
	name string
	span time.Duration
}{{"1min", time.Minute}, {"5min", 5 * time.Minute}, {"15min", 15 * time.Minute}}

// sample takes in what the counters show at now.
func (l *loads) sample(now time.Time, s *Stats) {
	counts := [len(loadNames)]uint64{
		s.BytesReceived, s.BytesSent, s.Connects, s.PacketsReceived, s.PacketsSent,
		s.dropped(), s.PublishReceived, s.PublishSent, s.Sockets,
	}
	passed := now.Sub(l.at)
	if passed <= 0 {
		return
	}
	for i, n := range counts {
		rate := float64(n-l.last[i]) / passed.Minutes()
		for j := range loadSpans {
			keep := math.Exp(-float64(passed) / float64(loadSpans[j].span))
			l.avg[i][j] = rate + keep*(l.avg[i][j]-rate)
		}
	}
	l.last, l.at = counts, now
}
