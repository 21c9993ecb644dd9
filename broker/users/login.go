package users

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Verdict is what comes of a login.
type Verdict byte

// The verdicts.
const (
	Wrong   Verdict = iota // no such user, or another password
	Right                  // it is the user
	Busy                   // too many logins wait: come later
	Refused                // too many failed from that address: come in a minute
)

// call is a login by what it costs a hash for: those that ask the same at the
// same time share one.
type call struct {
	proof [32]byte
	user  *user
}

// job is a hash to be computed.
type job struct {
	call
	known    bool   // the user is one
	name     string // for the log
	password []byte
	from     []netip.Addr  // of those who wait, guarded by Users.mu
	done     chan struct{} // closed when verdict is there
	verdict  Verdict
}

// Login verifies a user's password, which it does not keep, for somebody at that
// address (the zero Addr: none that failures could be counted for). It may wait
// for its turn, until gone is closed at most.
//
// A password that was right before is answered at once. An unknown user takes as
// long as one of those that there are.
func (u *Users) Login(name string, password []byte, from netip.Addr, gone <-chan struct{}) Verdict {
	v := u.login(name, password, from, gone)
	switch v {
	case Right:
		u.right.Add(1)
	case Busy:
		u.busy.Add(1)
	case Refused:
		u.refused.Add(1)
	case Wrong:
		u.failed.Add(1)
	}
	return v
}

func (u *Users) login(name string, password []byte, from netip.Addr, gone <-chan struct{}) Verdict {
	u.follow()
	proof := u.proofOf(name, password)
	refused, unlessKnown := u.guard.refused(from, time.Now())
	u.mu.Lock()
	one := u.byName[name]
	known := one != nil && len(password) <= maxPassword
	if known && one.proven && unlessKnown {
		if hmac.Equal(one.proof[:], proof[:]) {
			u.mu.Unlock()
			return Right
		}
		if refused {
			u.guard.guessed(from, time.Now())
		}
	}
	if refused {
		u.mu.Unlock()
		return Refused
	}
	if one == nil {
		one = u.decoyLocked(name)
	}
	j := u.joinLocked(call{proof, one}, known, name, password, from)
	u.mu.Unlock()
	if j == nil {
		return Busy
	}
	select {
	case <-j.done:
		return j.verdict
	case <-gone:
		return Busy
	}
}

// proofOf is what is kept of a password that was right: it says nothing outside
// of this process.
func (u *Users) proofOf(name string, password []byte) (proof [32]byte) {
	mac := hmac.New(sha256.New, u.key[:])
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(name)))
	_, _ = mac.Write(length[:])
	_, _ = mac.Write([]byte(name))
	_, _ = mac.Write(password)
	mac.Sum(proof[:0])
	return proof
}

// decoyLocked is the user whose hash an unknown one is verified against: always
// the same for a name, so that names cannot be told by how long they take.
func (u *Users) decoyLocked(name string) *user {
	if len(u.all) == 0 {
		return u.decoy
	}
	return u.all[maphash.String(u.seed, name)%uint64(len(u.all))]
}

// joinLocked puts a job into the queue, or joins one that is under way; nil: the
// queue is full.
func (u *Users) joinLocked(c call, known bool, name string, password []byte, from netip.Addr) *job {
	j := u.calls[c]
	if j != nil {
		j.from = append(j.from, from)
		return j
	}
	j = &job{
		call: c, known: known, password: slices.Clone(password[:min(len(password), maxPassword)]),
		name: strings.Clone(name[:min(len(name), maxLogged)]), from: []netip.Addr{from}, done: make(chan struct{}),
	}
	select {
	case u.jobs <- j:
		u.calls[c] = j
		return j
	default:
		return nil
	}
}

// largeHash is from how many KiB on hashes are computed one at a time.
const largeHash = 16 << 10

// work computes the hash of j, unless all who wait for it are refused by now. It
// reports whether it has computed one that was wrong.
func (u *Users) work(ctx context.Context, by *helper, j *job) (wrong bool) {
	if u.wanted(j) {
		if j.user.hash.memory > largeHash {
			u.large.Lock()
		}
		sum, err := by.sum(ctx, j.user.hash, j.password)
		unknown := sum == nil && ctx.Err() != nil // the gateway ends
		right := j.user.hash.is(sum) && j.known
		if j.user.hash.memory > largeHash {
			u.large.Unlock()
		}
		u.hashes.Add(1)
		if err != nil {
			u.helpless(err)
		}
		u.mu.Lock()
		delete(u.calls, j.call) // and nobody joins any more
		switch {
		case unknown:
			j.verdict = Busy
		case right:
			j.verdict = Right
			j.user.proof, j.user.proven = j.proof, true
		}
		u.mu.Unlock()
		if wrong = !right && !unknown; wrong {
			u.count(j)
		}
	}
	clear(j.password)
	close(j.done)
	return wrong
}

// helpless reports that hashes are computed in this process, where they are in the
// way of others.
func (u *Users) helpless(err error) {
	if ok, missed := u.told.allow(time.Now()); ok {
		u.log.Warn("passwords are verified by the gateway itself, which makes it slower while many log in",
			"error", err, "not_logged_before", missed)
	}
}

// maxLogged is how much of a name goes into the log, which anybody may send.
const maxLogged = 64

// count has the guard count a failure, before the next hash.
func (u *Users) count(j *job) {
	now := time.Now()
	for _, from := range j.from {
		if !u.guard.failed(from, now) {
			continue
		}
		if ok, missed := u.told.allow(now); ok {
			u.log.Warn("logins are refused for a minute: too many from this address have failed",
				"address", from.String(), "failed_logins", u.guard.most.Load(), "last_user", j.name, "not_logged_before", missed)
		}
	}
}

// wanted reports whether somebody waits for j who is not refused. Else j is
// over.
func (u *Users) wanted(j *job) bool {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, from := range j.from {
		if refused, _ := u.guard.refused(from, now); !refused {
			return true
		}
	}
	j.verdict = Refused
	delete(u.calls, j.call)
	return false
}
