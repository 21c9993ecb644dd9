package users

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// site is a users file and who reads it.
type site struct {
	*Users
	t    *testing.T
	path string
	log  bytes.Buffer // only read while nothing runs
	stop func()
}

// open makes the file with users bob, eve and al, whose passwords are their names
// and "1", and Users over it, which do not run yet.
func open(t *testing.T, opt Options) *site {
	t.Helper()
	s := &site{t: t, path: filepath.Join(t.TempDir(), "users"), stop: func() {}}
	edit(t, s.path, func(l *List) error {
		for _, name := range []string{"bob", "eve", "al"} {
			if err := l.Set(name, []byte(name+"1")); err != nil {
				return err
			}
		}
		return nil
	})
	opt.Path, opt.Log = s.path, slog.New(slog.NewTextHandler(&s.log, nil))
	s.Users = New(opt)
	return s
}

// run runs it until the end of the test or stop.
func (s *site) run() *site {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Run(ctx)
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	s.t.Cleanup(s.stop)
	return s
}

var here, there = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")

// want logs in from here; hashes is how many that takes, -1: it does not matter.
func (s *site) want(name, password string, v Verdict, hashes int) {
	s.t.Helper()
	before := s.Stats().Hashes
	if got := s.Login(name, []byte(password), here, nil); got != v {
		s.t.Errorf("%s with %q: verdict %d, not %d", name, password, got, v)
	}
	if n := int(s.Stats().Hashes - before); hashes >= 0 && n != hashes {
		s.t.Errorf("%s with %q: %d hashes, not %d", name, password, n, hashes)
	}
}

func TestLogins(t *testing.T) {
	s := open(t, Options{}).run()
	s.want("bob", "bob1", Right, 1)
	s.want("bob", "bob1", Right, 0)
	s.want("bob", "bob2", Wrong, 1)
	s.want("bob", "bob2", Wrong, 1)
	s.want("bob", "", Wrong, 1)
	s.want("eve", "bob1", Wrong, 1)
	s.want("eve", "eve1", Right, 1)
	s.want("carl", "bob1", Wrong, 1) // as much as for a user
	s.want("", "bob1", Wrong, 1)
	s.want("bob", "bob1"+strings.Repeat("1", maxPassword), Wrong, 1)
	s.want("bob", "bob1", Right, 0)
	if got := s.Stats(); got.Right != 4 || got.Failed != 7 || got.Users != 3 {
		t.Errorf("%+v", got)
	}
}

func TestAnUnknownUserCostsTheHashOfAUser(t *testing.T) {
	s := open(t, Options{})
	counts := map[*user]int{}
	for i := range 300 {
		name := fmt.Sprint("x", i)
		d := s.decoyLocked(name)
		if d != s.decoyLocked(name) {
			t.Fatal("it changes")
		}
		counts[d]++
	}
	if len(counts) != 3 || counts[s.decoy] != 0 {
		t.Error(counts)
	}
}

func TestTheSameLoginAtTheSameTimeCostsOneHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Queue: 1})
		var all sync.WaitGroup
		for range 5000 {
			all.Go(func() {
				if v := s.Login("bob", []byte("bob1"), here, nil); v != Right {
					t.Errorf("verdict %d", v)
				}
			})
		}
		synctest.Wait()
		s.run()
		all.Wait()
		if got := s.Stats(); got.Hashes != 1 || got.Right != 5000 {
			t.Errorf("%+v", got)
		}
		s.stop()
	})
}

func TestAFullQueueKeepsNobodyOutWhoIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Workers: 1, Queue: 2}).run()
		s.want("bob", "bob1", Right, 1)
		s.stop()
		gone := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			if v := s.Login("eve", []byte("wrong"), there, gone); v != Busy {
				t.Errorf("who has gone gets verdict %d", v)
			}
		})
		all.Go(func() {
			if v := s.Login("al", []byte("al1"), here, nil); v != Right {
				t.Errorf("who waits gets verdict %d", v)
			}
		})
		synctest.Wait()
		s.want("bob", "bob2", Busy, 0)
		s.want("carl", "carl1", Busy, 0)
		s.want("bob", "bob1", Right, 0)
		close(gone)
		s.run()
		all.Wait()
		synctest.Wait() // eve's hash, too
		s.want("bob", "bob2", Wrong, 1)
		if got := s.Stats().Busy; got != 3 {
			t.Errorf("%d were told to come later", got)
		}
		s.stop()
	})
}

func TestWhoFailsTooOftenIsRefusedForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{FailedLogins: 3}).run()
		s.want("al", "al1", Right, 1)
		for i := range 3 {
			s.want("bob", fmt.Sprint("wrong", i), Wrong, 1)
		}
		s.want("bob", "bob1", Refused, 0)
		s.want("al", "al1", Right, 0) // it is known
		if v := s.Login("bob", []byte("wrong"), there, nil); v != Wrong {
			t.Errorf("from elsewhere: verdict %d", v)
		}
		for i := range 3 {
			s.want("al", fmt.Sprint("guess", i), Refused, 0)
		}
		s.want("al", "al1", Refused, 0) // else it could be guessed for nothing
		time.Sleep(time.Minute)
		s.want("al", "al1", Right, 0)
		s.want("bob", "bob1", Right, 1)
		s.stop()
		if text := s.log.String(); strings.Count(text, "are refused for a minute") != 1 || !strings.Contains(text, "address=10.0.0.1 failed_logins=3 last_user=bob") {
			t.Error(text)
		}
	})
}

func TestWhatARefusedAddressHasQueuedCostsNoHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{FailedLogins: 2, Workers: 1})
		var all sync.WaitGroup
		verdicts := make(chan Verdict, 100)
		for i := range 100 {
			all.Go(func() { verdicts <- s.Login("bob", fmt.Append(nil, "wrong", i), here, nil) })
		}
		synctest.Wait()
		s.run()
		all.Wait()
		close(verdicts)
		count := map[Verdict]int{}
		for v := range verdicts {
			count[v]++
		}
		if n := s.Stats().Hashes; n != 2 || count[Wrong] != 2 || count[Refused] != 98 {
			t.Errorf("%d hashes, verdicts %v", n, count)
		}
		s.stop()
	})
}

func TestTheFileIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Int32
		s := open(t, Options{Changed: func() { told.Add(1) }}).run()
		s.want("bob", "bob1", Right, 1)
		s.want("eve", "eve1", Right, 1)
		edit(t, s.path, func(l *List) error {
			l.Remove("bob")
			return l.Set("eve", []byte("eve2"))
		})
		edit(t, s.path, add("new"))
		s.want("al", "al1", Right, 1)
		s.want("new", "secret", Right, 1)
		s.want("bob", "bob1", Wrong, 1)
		s.want("eve", "eve1", Wrong, 1)
		s.want("eve", "eve2", Right, 1)
		edit(t, s.path, func(l *List) error { l.Remove("eve"); return nil })
		time.Sleep(lookEvery) // and nobody logs in
		synctest.Wait()
		if s.Has("eve") || !s.Has("al") || !s.Has("new") {
			t.Error("the users are others")
		}
		s.want("al", "al1", Right, 0) // its line is as it was
		at := told.Load()
		if at < 2 {
			t.Errorf("told %d times", at)
		}
		time.Sleep(lookEvery)
		synctest.Wait()
		if told.Load() != at+1 { // for logins that were under way
			t.Errorf("told %d times, then %d", at, told.Load())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if told.Load() != at+1 {
			t.Errorf("told %d times for nothing", told.Load()-at-1)
		}
		s.stop()
	})
}

func TestAFileThatCannotBeReadAnyMoreLeavesTheUsers(t *testing.T) {
	s := open(t, Options{}).run()
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	s.want("bob", "bob1", Right, 1)
	s.Reload()
	s.want("eve", "eve1", Right, 1)
	if s.None() {
		t.Error("there is nobody")
	}
	if err := os.WriteFile(s.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !s.None() {
		t.Error("an empty file leaves somebody")
	}
	s.want("bob", "bob1", Wrong, -1)
	s.stop()
	if text := s.log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "put the file back") {
		t.Error(text)
	}
}

func TestWithoutAFileThereIsNobodyUntilThereIsOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	s := &site{Users: New(Options{Path: path}), t: t, path: path}
	s.run()
	if !s.None() {
		t.Error("somebody is there")
	}
	s.want("bob", "secret", Wrong, 1)
	edit(t, path, add("bob"))
	s.want("bob", "secret", Right, 1)
	if s.None() {
		t.Error("nobody is there")
	}
	if u := New(Options{}); !u.None() {
		t.Error("without a path there is somebody")
	}
}

func TestAFileThatCannotBeReadAtFirstLetsNobodyIn(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	u := New(Options{Path: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if u.None() || !strings.Contains(log.String(), "cannot be read") {
		t.Errorf("%v\n%s", u.None(), &log)
	}
}

func TestWhatIsWrongWithTheFileIsSaidOnceAndHidesPasswords(t *testing.T) {
	s := open(t, Options{})
	if err := os.WriteFile(s.path, []byte("bob:hunter2\nhunter3\nal:"+sha512Hash+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.run()
	if err := os.Chmod(s.path, 0o644); err != nil {
		t.Fatal(err)
	}
	s.want("al", "secret", Right, 1)
	s.want("bob", "hunter2", Wrong, 1)
	s.want("bob", "hunter4", Wrong, 1)
	s.Reload()
	if err := os.Chmod(s.path, 0o600); err != nil {
		t.Fatal(err)
	}
	s.want("bob", "hunter2", Wrong, 1)
	s.stop()
	text := s.log.String()
	if strings.Contains(text, "hunter") || strings.Count(text, "level=ERROR") != 2 ||
		!strings.Contains(text, "chmod o= ") || !strings.Contains(text, "(and 1 more lines)") {
		t.Error(text)
	}
}

func TestRefusalsDoNotFillTheLog(t *testing.T) {
	s := open(t, Options{FailedLogins: 1}).run()
	for i := range 50 {
		s.Login("bob\nroot", []byte("hunter2"), netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), nil)
	}
	s.stop()
	if text := s.log.String(); strings.Count(text, "\n") != quietLines || strings.Contains(text, "hunter") {
		t.Error(text)
	}
}

func TestAnotherPasswordIsAnotherVersion(t *testing.T) {
	s := open(t, Options{})
	bob, ok := s.Version("bob")
	eve, _ := s.Version("eve")
	if again, _ := s.Version("bob"); !ok || again != bob || eve == bob {
		t.Errorf("bob %d, then %d; eve %d", bob, again, eve)
	}
	edit(t, s.path, func(l *List) error { return l.Set("bob", []byte("bob1")) })
	if now, ok := s.Version("bob"); !ok || now == bob {
		t.Error("a new hash of the same password is the same version")
	}
	if now, _ := s.Version("eve"); now != eve {
		t.Error("eve is another one")
	}
	edit(t, s.path, func(l *List) error { l.Remove("bob"); return nil })
	if _, ok := s.Version("bob"); ok {
		t.Error("bob is still there")
	}
}
