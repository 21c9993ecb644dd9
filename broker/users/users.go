// Package users knows who may log in, by name and password: it reads the file of
// users, follows its changes, and verifies passwords without letting those that
// try wrong ones slow others down.
//
// hash.go has the kinds of hashes, list.go the file, edit.go its changes by a
// person; follow.go reads it again while a gateway runs. A login goes through
// login.go: the guard over addresses that failed too often (guard.go), the memory
// of what was verified before, then a short queue before the few goroutines that
// compute hashes.
package users

import (
	"context"
	"crypto/rand"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the parts and limits of Users. The zero value of a limit is its
// default.
type Options struct {
	Path         string       // of the file; "": there are no users
	Log          *slog.Logger // nil: slog.Default
	FailedLogins int          // of a source address in a minute, then it is refused for a minute; 0: no limit

	// Changed is called by Run, when users may be gone: after the file has changed,
	// and some seconds later again, for logins that were under way. nil: nobody asks.
	Changed func()

	// Helper is the command whose process calls [Help], so that hashes are computed
	// outside of this one; none: they are computed here.
	Helper []string

	Workers   int // hashes computed at a time: half of the processors, at most 2
	Queue     int // logins that may wait for them, 256, some seconds of a Pi 4; more are told to come later
	Addresses int // with failed logins that are remembered, 10,000
}

// Users are the users of a gateway. All methods may be called by any goroutine;
// Run has to run while Login is called.
type Users struct {
	opt   Options
	log   *slog.Logger
	guard guard
	told  quiet
	seed  maphash.Seed
	key   [32]byte      // of proofs
	jobs  chan *job     // the queue; full: the login is answered Busy
	fresh chan struct{} // one slot: the file was read
	large sync.Mutex    // held while a hash that takes much memory is computed

	mu     sync.Mutex // guards the rest
	look   look
	wrong  string // what is wrong with the file, since it last was right
	closed bool   // the file cannot be read: who is in it is not known
	byName map[string]*user
	all    []*user
	decoy  *user // stands in for users when there are none
	calls  map[call]*job

	hashes, right, failed, refused, busy atomic.Uint64
}

// user is a line of the file.
type user struct {
	text   string // of the line: another one is another user
	hash   *hash
	proven bool
	proof  [32]byte // of the password that was right, see proofOf
}

// Stats count logins since the start.
type Stats struct {
	Hashes  uint64 // computed
	Right   uint64 // logins with the right password
	Failed  uint64 // with a wrong name or password
	Refused uint64 // from addresses that failed too often
	Busy    uint64 // told to come later
	Users   int    // in the file
}

// New makes Users of what the file holds now. A file that is not there holds
// nobody. One that cannot be read lets nobody in, and is an error in the log.
func New(opt Options) *Users {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&opt.Workers, min(2, max(1, runtime.GOMAXPROCS(0)/2)))
	def(&opt.Queue, 256)
	def(&opt.Addresses, 10_000)
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	u := &Users{
		opt: opt, log: opt.Log,
		guard: guard{size: opt.Addresses, from: make(map[netip.Addr]*failures)},
		seed:  maphash.MakeSeed(),
		jobs:  make(chan *job, opt.Queue),
		fresh: make(chan struct{}, 1),
		decoy: &user{hash: decoyHash()},
		calls: make(map[call]*job),
	}
	_, _ = rand.Read(u.key[:]) // never fails
	u.SetFailedLogins(opt.FailedLogins)
	u.look = lookAt(opt.Path)
	u.readLocked(true) // nobody else has u yet
	return u
}

// SetFailedLogins changes Options.FailedLogins. An address that is refused already
// stays so for its minute.
func (u *Users) SetFailedLogins(most int) { u.guard.most.Store(int64(most)) }

// lookEvery is how often Run looks whether the file has changed. A login looks,
// too; this is for users that are gone, and do not log in.
const lookEvery = 5 * time.Second

// Run computes the hashes and follows the file until ctx ends; it returns when
// all that it started has ended.
func (u *Users) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range u.opt.Workers {
		wg.Go(func() { u.runWorker(ctx) })
	}
	defer wg.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	again := false // Changed has to be called once more
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-u.fresh:
			again = true
		case <-tick.C:
			u.follow()
			if !again {
				continue
			}
			again = false
		}
		if u.opt.Changed != nil {
			u.opt.Changed()
		}
	}
}

// mostRest is how many times as long as a hash took a worker rests at most.
const mostRest = 4

// runWorker computes hashes. After a wrong password it rests for as long as that
// took, after the next one twice as long, and so on: whoever sends them from
// everywhere gets a fifth of a worker in the end, while one device with an old password
// among others that are right slows nobody down. After a power cut, when all
// passwords are right, there is no rest.
func (u *Users) runWorker(ctx context.Context) {
	rest, idle := time.NewTimer(time.Hour), time.NewTimer(helperIdle)
	pause, wrongs := time.Duration(0), 0
	defer rest.Stop()
	defer idle.Stop()
	by := helper{command: u.opt.Helper}
	defer by.stop()
	for {
		var jobs chan *job // none while it rests
		if pause == 0 {
			jobs = u.jobs
		}
		select {
		case <-rest.C:
			pause = 0
		case j := <-jobs:
			began := time.Now()
			switch wrong := u.work(ctx, &by, j); {
			case wrong:
				wrongs = min(wrongs+1, mostRest)
				pause = time.Duration(wrongs) * time.Since(began)
				rest.Reset(pause)
			case j.verdict == Right:
				wrongs = 0
			}
			idle.Reset(helperIdle)
		case <-idle.C:
			by.stop()
		case <-ctx.Done():
			return
		}
	}
}

// Has reports whether there is such a user.
func (u *Users) Has(name string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.byName[name] != nil
}

// Version tells the lines of a user apart: it is another one after the password
// was changed. ok is false when there is no such user.
func (u *Users) Version(name string) (version uint64, ok bool) {
	u.follow()
	u.mu.Lock()
	defer u.mu.Unlock()
	one := u.byName[name]
	if one == nil {
		return 0, false
	}
	return maphash.String(u.seed, one.text), true
}

// None reports whether there are no users at all, so that a name says nothing.
func (u *Users) None() bool {
	u.follow()
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.all) == 0 && !u.closed
}

// Stats gives the counters.
func (u *Users) Stats() Stats {
	u.mu.Lock()
	defer u.mu.Unlock()
	return Stats{
		Hashes: u.hashes.Load(), Right: u.right.Load(), Failed: u.failed.Load(),
		Refused: u.refused.Load(), Busy: u.busy.Load(), Users: len(u.all),
	}
}

// quiet lets a few log lines in a minute through, and counts the others.
type quiet struct {
	mu           sync.Mutex
	began        time.Time
	said, missed int
}

const quietLines = 10

// allow reports whether a line may be logged, and how many were not before it.
func (q *quiet) allow(now time.Time) (ok bool, missed int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.began) >= period {
		q.began, q.said = now, 0
	}
	if q.said == quietLines {
		q.missed++
		return false, 0
	}
	q.said++
	missed, q.missed = q.missed, 0
	return true, missed
}
