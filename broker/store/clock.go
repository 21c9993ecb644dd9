package store

import (
	"bytes"
	"math"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/broker/store/wal"
)

// Stamp is a moment that needs no wall clock: the boot it was taken in and the
// time since that boot.
type Stamp struct {
	Boot uint32 // counted by the log; 0 = no stamp
	// Up is CLOCK_BOOTTIME in µs, as two's complement: what was appended from
	// another queue may have been received before the boot.
	Up uint64
}

// IsZero reports whether t is no stamp.
func (t Stamp) IsZero() bool { return t.Boot == 0 && t.Up == 0 }

// Clock is where the store gets its time from.
type Clock interface {
	BootID() [16]byte        // changes with every boot of the machine
	Uptime() time.Duration   // since boot, sleep included
	Wall() (time.Time, bool) // the wall clock and whether it is synchronised
}

// SystemClock returns the clock of this machine.
func SystemClock() Clock {
	c := systemClock{base: new(atomic.Pointer[uptimeBase])}
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err == nil {
		n := 0
		for _, h := range bytes.ReplaceAll(bytes.TrimSpace(text), []byte("-"), nil) {
			v := h - '0'
			if h >= 'a' {
				v = h - 'a' + 10
			}
			if n < 32 {
				c.id[n/2] = c.id[n/2]<<4 | v&15
			}
			n++
		}
	}
	return c
}

type systemClock struct {
	id   [16]byte
	base *atomic.Pointer[uptimeBase]
}

// uptimeBase is an uptime that was read from the kernel, and when.
type uptimeBase struct {
	up time.Duration
	at time.Time
}

func (c systemClock) BootID() [16]byte { return c.id }

// Uptime asks the kernel once a second and counts on from there: CLOCK_BOOTTIME
// costs a system call, for each message more than all the rest of storing it.
// A suspended machine is noticed within that second.
func (c systemClock) Uptime() time.Duration {
	b := c.base.Load()
	if b != nil {
		if d := time.Since(b.at); d < time.Second {
			return b.up + d
		}
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	c.base.Store(&uptimeBase{time.Duration(ts.Nano()), time.Now()})
	return time.Duration(ts.Nano())
}

func (systemClock) Wall() (time.Time, bool) {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	return time.Now(), err == nil && state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0
}

// boot is what the log knows of one boot of the machine.
type boot struct {
	id     [16]byte
	lastUp uint64  // µs: the latest moment of it that was recorded
	wallAt int64   // wall clock in µs at uptime 0, from its latest clock record
	synced bool    // ... taken when the clock was synchronised
	since  wal.Pos // where its records begin
}

// clocks maps stamps to ages and wall time. Guarded by the store's lock.
type clocks struct {
	src   Clock
	boots []boot // boot number - 1
}

func (c *clocks) current() uint32 { return uint32(len(c.boots)) }

func (c *clocks) now() Stamp {
	return Stamp{c.current(), uint64(c.src.Uptime() / time.Microsecond)}
}

// lastKnown is the latest moment on record.
func (c *clocks) lastKnown() Stamp {
	if len(c.boots) == 0 {
		return Stamp{}
	}
	return Stamp{c.current(), c.boots[len(c.boots)-1].lastUp}
}

// note remembers that boot t.Boot lasted at least until t.
func (c *clocks) note(t Stamp) {
	if t.Boot >= 1 && int(t.Boot) <= len(c.boots) {
		b := &c.boots[t.Boot-1]
		b.lastUp = uint64(max(int64(b.lastUp), int64(t.Up)))
	}
}

// apply takes in a clock record.
func (c *clocks) apply(r clockRecord, since wal.Pos) {
	if r.boot == 0 || r.boot > uint32(len(c.boots))+1<<16 {
		return
	}
	for uint32(len(c.boots)) < r.boot {
		c.boots = append(c.boots, boot{since: since})
	}
	n, id, up, wall, synced := r.boot, r.id, r.up, r.wall, r.synced
	b := &c.boots[n-1]
	b.id = id
	b.lastUp = max(b.lastUp, up)
	if synced || !b.synced {
		b.wallAt, b.synced = wall-int64(up), synced
	}
}

// age is a lower bound of the time since t: time within a boot, the recorded
// uptimes of the boots after it, and more only where the wall clock was
// synchronised at both ends.
func (c *clocks) age(t Stamp) time.Duration {
	if t.Boot == 0 || int(t.Boot) > len(c.boots) {
		return 0
	}
	now := c.now()
	if t.Boot == now.Boot {
		return micros(max(int64(now.Up)-int64(t.Up), 0))
	}
	b := c.boots[t.Boot-1]
	sum := max(int64(b.lastUp)-int64(t.Up), 0) + int64(now.Up)
	for i := int(t.Boot); i < int(now.Boot)-1; i++ {
		sum += int64(c.boots[i].lastUp)
	}
	age := micros(sum)
	cur := c.boots[now.Boot-1]
	if b.synced && cur.synced {
		age = max(age, micros(cur.wallAt+int64(now.Up)-b.wallAt-int64(t.Up)))
	}
	return age
}

// wall is the wall time of t; trusted only if that boot's clock was ever
// synchronised.
func (c *clocks) wall(t Stamp) (time.Time, bool) {
	if t.Boot == 0 || int(t.Boot) > len(c.boots) {
		return time.Time{}, false
	}
	b := c.boots[t.Boot-1]
	return time.UnixMicro(b.wallAt + int64(t.Up)), b.synced
}

// micros is n microseconds, or as much of them as a Duration can be.
func micros(n int64) time.Duration {
	const most = int64(math.MaxInt64 / time.Microsecond)
	return time.Duration(min(max(n, -most), most)) * time.Microsecond
}

// received is when a gateway took m in.
func (c *clocks) received(m *Message) (time.Time, bool) {
	if !m.Earlier.IsZero() {
		return time.UnixMicro(m.Earlier.Micro), m.Earlier.Trusted
	}
	return c.wall(m.Received)
}

// since is how long ago a time of another clock was; known only when both clocks
// were synchronised.
func (c *clocks) since(w Wall) (age time.Duration, known bool) {
	now, ok := c.wall(c.now())
	if w.IsZero() || !w.Trusted || !ok {
		return 0, false
	}
	return max(micros(now.UnixMicro()-w.Micro), 0), true
}

// Since is how long ago w was. known is false, and the age 0, when one of the two
// clocks was not synchronised.
func (s *Store) Since(w Wall) (age time.Duration, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clocks.since(w)
}

// Now returns the present moment.
func (s *Store) Now() Stamp {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clocks.now()
}

// Age returns a lower bound of the time since t. It never needs a synchronised
// clock and is not moved by clock steps.
func (s *Store) Age(t Stamp) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clocks.age(t)
}

// AgeKnown reports whether Age(t) is the age itself and not just a lower bound:
// t is of this boot, or both clocks were synchronised.
func (s *Store) AgeKnown(t Stamp) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.clocks.current()
	if t.Boot == n || t.Boot == 0 || t.Boot > n {
		return t.Boot == n
	}
	return s.clocks.boots[t.Boot-1].synced && s.clocks.boots[n-1].synced
}

// Wall returns the wall time of t; ok is false when the clock of that boot was
// never known to be synchronised.
func (s *Store) Wall(t Stamp) (w time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clocks.wall(t)
}

// at returns the boot in which the record at p was written.
func (c *clocks) at(p wal.Pos) uint32 {
	n := len(c.boots)
	for n > 1 && c.boots[n-1].since > p {
		n--
	}
	return uint32(n)
}

// recordClock stages a clock record: at start, at segment starts, and when the
// clock becomes synchronised.
func (s *Store) recordClockLocked() {
	r := s.clocks.read()
	p := s.appendLocked(appendClock(s.scratch[:0], r, 0))
	s.clocks.apply(r, wal.Pos(p.pos))
}

// read makes the clock record of this moment.
func (c *clocks) read() clockRecord {
	now := c.now()
	wall, synced := c.src.Wall()
	return clockRecord{now.Boot, c.src.BootID(), now.Up, wall.UnixMicro(), synced}
}

// begin finds out whether the machine was booted since the log was last
// written, and makes room for a new boot if so. known: it was not.
func (c *clocks) begin(p wal.Pos) (known bool) {
	n := len(c.boots)
	up := uint64(c.src.Uptime()/time.Microsecond) + 1_000_000
	// Without a boot id (an old container) the uptime shows it.
	if n == 0 || c.boots[n-1].id != c.src.BootID() || up < c.boots[n-1].lastUp {
		c.boots = append(c.boots, boot{id: c.src.BootID(), since: p})
		return false
	}
	return true
}

// checkClock notes when the wall clock has become synchronised, so that receive
// times stamped before can be told right.
func (s *Store) checkClock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clocks.now()
	s.clocks.note(now)
	if _, synced := s.clocks.src.Wall(); synced && !s.clocks.boots[now.Boot-1].synced {
		s.recordClockLocked()
	}
}
