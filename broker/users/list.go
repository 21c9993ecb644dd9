package users

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFile bounds the file: some 60,000 users.
const maxFile = 8 << 20

// List is the content of a users file: a line name:hash for each user, comments
// that begin with #, and empty lines. What it does not understand it keeps as it
// is. It is for one goroutine.
type List struct {
	lines    []line
	Problems []Problem // of lines that cannot be used; they are left out
}

// A line of the file; name is "" for one that is about no user, hash nil when the
// user cannot log in by it.
type line struct {
	text, name string
	hash       *hash
}

// A Problem is what is wrong with a line.
type Problem struct {
	Line int
	User string // "" when the line has no name
	Err  error
}

// Error says where and what; never what the line holds, which may be a password.
func (p Problem) Error() string {
	if p.User == "" {
		return fmt.Sprintf("line %d: %v", p.Line, p.Err)
	}
	return fmt.Sprintf("line %d: user %q: %v", p.Line, p.User, p.Err)
}

// Read reads the file.
func Read(path string) (*List, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes: that is no users file", path, maxFile)
	}
	return Parse(data), nil
}

var (
	errNoColon   = errors.New("the line is not NAME:HASH")
	errDuplicate = errors.New("the name is there already; the first one counts")
)

// Parse reads the content of a file.
func Parse(data []byte) *List {
	l := &List{}
	seen := make(map[string]bool)
	for text := range strings.Lines(string(data)) {
		l.parse(strings.TrimRight(text, "\r\n"), seen)
	}
	return l
}

func (l *List) parse(text string, seen map[string]bool) {
	at := line{text: text}
	bad := func(err error) {
		l.Problems = append(l.Problems, Problem{Line: len(l.lines) + 1, User: at.name, Err: err})
	}
	defer func() { l.lines = append(l.lines, at) }()
	trimmed := strings.TrimSpace(text)
	if trimmed == "" || trimmed[0] == '#' {
		return
	}
	name, rest, ok := strings.Cut(trimmed, ":")
	if !ok {
		bad(errNoColon)
		return
	}
	name = strings.TrimSpace(name)
	if err := CheckName(name); err != nil {
		bad(err)
		return
	}
	at.name = name
	if seen[name] {
		bad(errDuplicate)
		return
	}
	seen[name] = true
	h, err := parseHash(strings.TrimSpace(rest))
	if err != nil {
		bad(err)
		return
	}
	at.hash = h
}

// CheckName says what is wrong with the name of a user.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case len(name) > 1024:
		return errors.New("the name has more than 1024 bytes")
	case !utf8.ValidString(name):
		return errors.New("the name is not UTF-8")
	case strings.ContainsFunc(name, unicode.IsControl) || strings.Contains(name, ":"):
		return errors.New("a name has no colon and no control characters")
	case strings.TrimSpace(name) != name || name[0] == '#':
		return errors.New("a name does not begin with # and has no space before or behind it")
	}
	return nil
}

// Names are those of the users who can log in, in the order of the file.
func (l *List) Names() (names []string) {
	for _, at := range l.lines {
		if at.hash != nil {
			names = append(names, at.name)
		}
	}
	return names
}

// Has reports whether the file has a line for that user.
func (l *List) Has(name string) bool {
	for _, at := range l.lines {
		if name != "" && at.name == name {
			return true
		}
	}
	return false
}

// maxPassword bounds what logins that wait take of memory: anybody may show 64 KiB.
const maxPassword = 1024

// Set gives the user that password: in the place of the line that the user has,
// else at the end.
func (l *List) Set(name string, password []byte) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if len(password) == 0 {
		return errors.New("the password is empty")
	}
	if len(password) > maxPassword {
		return fmt.Errorf("the password has more than %d bytes", maxPassword)
	}
	h := newHash(password)
	now := line{text: name + ":" + h.String(), name: name, hash: h}
	kept, done := l.lines[:0], false
	for _, at := range l.lines {
		switch {
		case at.name != name:
			kept = append(kept, at)
		case !done:
			kept, done = append(kept, now), true
		}
	}
	if !done {
		kept = append(kept, now)
	}
	l.lines = kept
	return nil
}

// Remove removes the user, and reports whether there was one.
func (l *List) Remove(name string) bool {
	if !l.Has(name) {
		return false
	}
	kept := l.lines[:0]
	for _, at := range l.lines {
		if at.name != name {
			kept = append(kept, at)
		}
	}
	l.lines = kept
	return true
}

// bytes is the file.
func (l *List) bytes() []byte {
	var b bytes.Buffer
	for _, at := range l.lines {
		b.WriteString(at.text)
		b.WriteByte('\n')
	}
	return b.Bytes()
}
