package bridge

import (
	"math"
	"time"
)

// bucket lets so much through a second: messages, or bytes. The zero bucket lets
// everything through. Not for concurrent use.
type bucket struct {
	rate  float64 // a second; 0 = no limit
	burst float64 // what may gather while nothing goes
	left  float64
	at    time.Time
}

func newBucket(rate, burst float64) bucket {
	burst = math.Max(burst, 1)
	return bucket{rate: rate, burst: burst, left: burst}
}

// wait is how long until something may go; 0: now.
func (b *bucket) wait(now time.Time) time.Duration {
	if b.rate == 0 {
		return 0
	}
	if !b.at.IsZero() {
		b.left = math.Min(b.left+b.rate*now.Sub(b.at).Seconds(), b.burst)
	}
	b.at = now
	if b.left > 0 {
		return 0
	}
	// A hundredth of a second at once, so that slow timers do not make it slower and
	// fast ones no system call for each message.
	enough := math.Max(math.Min(b.rate/100, b.burst), 1e-3)
	return time.Duration((enough - b.left) / b.rate * float64(time.Second))
}

// take notes that n went. More than there is may go at once; the next waits for it.
func (b *bucket) take(n int) {
	if b.rate > 0 {
		b.left -= float64(n)
	}
}

// backlogAge is how old a message is that belongs to the backlog: rate holds for
// those, not for what is sent as it comes.
const backlogAge = 10 * time.Second

// pace holds a bridge to the rates of the configuration and of the profile.
// Bridge.mu guards it.
type pace struct {
	on       bool   // there are any
	backlog  bucket // messages that are older than backlogAge
	messages bucket // all, by the profile
	bytes    bucket

	// old tells of each lane whether its last message belonged to the backlog: then
	// the next one is taken to do so, too, before it is looked at.
	old [lanes]bool

	timer *time.Timer // wakes the pump
	kick  func()      // of the connection that there is
}

func newPace(rate int, p *profile) pace {
	return pace{
		on: rate > 0 || p.rate > 0,
		// What may go at once and what goes in a second together keep a profile's rate.
		backlog: newBucket(float64(rate), float64(rate)/10), messages: newBucket(float64(p.rate)*0.9, float64(p.rate)/10),
		bytes: newBucket(float64(p.byteRate)*0.75, float64(p.byteRate)/8),
	}
}

// mayGo reports whether a message of a lane may go now; if not, the pump is woken
// when it may. What goes again, a window at most, is not held back as backlog:
// others wait for its room.
func (p *pace) mayGo(lane int, again bool) bool {
	if !p.on {
		return true
	}
	now := time.Now()
	wait := p.profileWait(now)
	if p.old[lane] && !again {
		wait = max(wait, p.backlog.wait(now))
	}
	if wait > 0 {
		p.wakeIn(wait)
	}
	return wait == 0
}

func (p *pace) profileWait(now time.Time) time.Duration {
	return max(p.messages.wait(now), p.bytes.wait(now))
}

// liveMayGo is mayGo for a QoS 0 message of so many bytes that comes at this moment,
// and notes that it went.
func (p *pace) liveMayGo(bytes int) bool {
	if p.on && p.profileWait(time.Now()) > 0 {
		return false
	}
	p.messages.take(1)
	p.bytes.take(bytes)
	return true
}

// went notes that a message went.
func (p *pace) went(lane, bytes int) {
	if !p.on {
		return
	}
	p.messages.take(1)
	p.bytes.take(bytes)
	if p.old[lane] {
		p.backlog.take(1)
	}
}

func (p *pace) wakeIn(wait time.Duration) {
	if p.timer == nil {
		p.timer = time.AfterFunc(wait, p.kick)
		return
	}
	p.timer.Reset(wait)
}

// stop ends the timer; there may be another one for the next connection.
func (p *pace) stop() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// drainRate estimates how fast a backlog goes.
type drainRate struct {
	acked  uint64
	at     time.Time
	second float64 // messages, of late
}

// sample takes in how many were acknowledged in all, every now and then.
func (d *drainRate) sample(acked uint64, now time.Time) {
	past := now.Sub(d.at).Seconds()
	if !d.at.IsZero() && past > 0 {
		rate := float64(acked-d.acked) / past
		if d.second == 0 {
			d.second = rate
		} else {
			d.second += (rate - d.second) / 4
		}
	}
	d.acked, d.at = acked, now
}

// Drain is how fast what waits is sent, in messages a second of late, and how long
// it will take until nothing waits, if nothing comes in meanwhile; 0 for not known,
// or not connected.
func (b *Bridge) Drain() (rate float64, left time.Duration) {
	if s := b.State(); s.Phase != Online && s.Phase != Stalled {
		return 0, 0
	}
	waiting := uint64(0)
	for _, l := range b.Lag() {
		waiting += l.Messages
	}
	b.mu.Lock()
	rate = b.drained.second
	b.mu.Unlock()
	if rate < 0.01 {
		return 0, 0
	}
	return rate, time.Duration(float64(waiting) / rate * float64(time.Second)).Round(time.Second)
}
