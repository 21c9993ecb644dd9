package users

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
)

func add(name string) func(*List) error {
	return func(l *List) error { return l.Set(name, []byte("secret")) }
}

func edit(t *testing.T, path string, change func(*List) error) {
	t.Helper()
	if err := Edit(path, nil, change); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, path string) []string {
	t.Helper()
	l, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return l.Names()
}

func TestAFileIsMadeForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	edit(t, path, add("bob"))
	st, err := os.Stat(path)
	if err != nil || st.Mode() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	if got := names(t, path); !slices.Equal(got, []string{"bob"}) {
		t.Error(got)
	}
}

func TestWhoMayReadTheFileStays(t *testing.T) {
	for was, want := range map[fs.FileMode]fs.FileMode{0o600: 0o600, 0o640: 0o640, 0o400: 0o600, 0o664: 0o640, 0o644: 0o640, 0o777: 0o640} {
		path := filepath.Join(t.TempDir(), "users")
		if err := os.WriteFile(path, nil, was); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, was); err != nil {
			t.Fatal(err)
		}
		edit(t, path, add("bob"))
		if st, err := os.Stat(path); err != nil || st.Mode() != want {
			t.Errorf("%v: %v, %v, not %v", was, st.Mode(), err, want)
		}
	}
}

func TestTheOwnerStays(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := filepath.Join(t.TempDir(), "users")
	owner := func() Owner {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		s := st.Sys().(*syscall.Stat_t)
		return Owner{int(s.Uid), int(s.Gid)}
	}
	if err := Edit(path, &Owner{1234, 1235}, add("bob")); err != nil || owner() != (Owner{1234, 1235}) {
		t.Errorf("a new file: %v, %v", owner(), err)
	}
	if err := Edit(path, &Owner{1, 1}, add("eve")); err != nil || owner() != (Owner{1234, 1235}) {
		t.Errorf("a changed one: %v, %v", owner(), err)
	}
}

func TestALinkStaysOne(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	edit(t, real, add("bob"))
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	edit(t, link, add("eve"))
	if got := names(t, real); !slices.Equal(got, []string{"bob", "eve"}) {
		t.Error(got)
	}
}

func TestAChangeThatFailsChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	edit(t, path, add("bob"))
	sorry := errors.New("sorry")
	err := Edit(path, nil, func(l *List) error {
		l.Remove("bob")
		return sorry
	})
	if !errors.Is(err, sorry) || len(names(t, path)) != 1 {
		t.Error(err)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	if err := Edit(filepath.Join(dir, "none", "users"), nil, add("bob")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestEditsAtTheSameTimeAllCount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := Edit(path, nil, add(fmt.Sprint("user", i))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := names(t, path); len(got) != 20 {
		t.Error(got)
	}
}

func TestAFileForEverybodyIsExposed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	edit(t, path, add("bob"))
	for mode, exposed := range map[fs.FileMode]bool{0o600: false, 0o640: false, 0o660: false, 0o644: true, 0o602: true, 0o601: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil || (Exposed(path, st) != "") != exposed {
			t.Errorf("%v: %q, %v", mode, Exposed(path, st), err)
		}
	}
}

func TestAFileThatIsNoUsersFileIsNotTakenIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Error("taken in")
	}
}
