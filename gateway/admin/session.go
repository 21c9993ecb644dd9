package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

const (
	sessionIdle = 30 * time.Minute // without a request
	sessionLife = 12 * time.Hour
	maxSessions = 64 // the one that was used least lately goes
)

// sessions are the browsers that are logged in, in memory only. What a browser
// shows is not kept, its hash is.
type sessions struct {
	mu sync.Mutex
	by map[[sha256.Size]byte]*session
}

// session is one browser.
type session struct {
	user        string
	version     uint64 // of the user: another password is another version
	began, used time.Time
}

// begin makes a session and gives the token that shows it.
func (s *sessions) begin(user string, version uint64, now time.Time) (token string) {
	token = rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = make(map[[sha256.Size]byte]*session)
	}
	s.sweepLocked(now)
	if len(s.by) == maxSessions {
		s.evictLocked()
	}
	s.by[sha256.Sum256([]byte(token))] = &session{user: user, version: version, began: now, used: now}
	return token
}

// find gives the session of a token, and notes that it was used.
func (s *sessions) find(token string, now time.Time) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.by[sha256.Sum256([]byte(token))]
	if one == nil || one.over(now) {
		return session{}, false
	}
	one.used = now
	return *one, true
}

// end ends the session of a token.
func (s *sessions) end(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, sha256.Sum256([]byte(token)))
}

func (s *session) over(now time.Time) bool {
	return now.Sub(s.used) >= sessionIdle || now.Sub(s.began) >= sessionLife
}

func (s *sessions) sweepLocked(now time.Time) {
	for key, one := range s.by {
		if one.over(now) {
			delete(s.by, key)
		}
	}
}

func (s *sessions) evictLocked() {
	var oldest [sha256.Size]byte
	var at time.Time
	for key, one := range s.by {
		if at.IsZero() || one.used.Before(at) {
			oldest, at = key, one.used
		}
	}
	delete(s.by, oldest)
}
