package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// maxFile bounds what is read of one configuration file, in bytes. Whoever
// points -config at a device or a database gets an error instead of an
// out-of-memory kill.
const maxFile = 1 << 20

// A source is the text of one file.
type source struct {
	file  string
	text  string // without byte order marks
	lines []int  // offset of the first byte of each line
}

func newSource(file string, data []byte) *source {
	text := strings.TrimLeft(string(data), "\uFEFF")
	s := &source{file: file, text: text, lines: []int{0}}
	for i := 0; i < len(text); i++ {
		if text[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// at gives the place of the byte at offset, which is moved into the text if it
// lies outside.
func (s *source) at(offset int) Position {
	offset = max(0, min(offset, len(s.text)))
	line, found := slices.BinarySearch(s.lines, offset)
	if !found {
		line--
	}
	return Position{
		File: s.file,
		Line: line + 1,
		Col:  utf8.RuneCountInString(s.text[s.lines[line]:offset]) + 1,
	}
}

// readFiles reads the main file and conf.d/*.toml beside it, in name order.
func readFiles(path string) ([]*source, Errors) {
	var list []*source
	var errs Errors
	read := func(file string) {
		data, err := readLimited(file, maxFile)
		if err != nil {
			errs = append(errs, Error{Position: Position{File: file}, Msg: "cannot be read: " + reason(err), cause: err})
			return
		}
		list = append(list, newSource(file, data))
	}
	read(path)
	dir := filepath.Join(filepath.Dir(path), "conf.d")
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, Error{Position: Position{File: dir}, Msg: "cannot be read: " + reason(err), cause: err})
	}
	for _, e := range entries {
		name := e.Name()
		if filepath.Ext(name) == ".toml" && !strings.HasPrefix(name, ".") && !e.IsDir() {
			read(filepath.Join(dir, name))
		}
	}
	return list, errs
}

// readLimited reads a whole file of at most limit bytes.
func readLimited(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading only: nothing can be lost
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("it is larger than %s", Size(limit))
	}
	return data, nil
}

// reason is what the operating system says, without the path that the message
// names anyway.
func reason(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// parse gives the tree of one file. What it returns beside errors is nil when
// the syntax is wrong, since nothing after that place can be trusted.
func (s *source) parse() (*node, Errors) {
	if i := invalidUTF8(s.text); i >= 0 {
		return nil, Errors{{Position: s.at(i), Msg: "is not valid UTF-8 text"}}
	}
	var values map[string]any
	_, err := toml.Decode(s.text, &values)
	var pe toml.ParseError
	switch {
	case errors.As(err, &pe):
		// The parser knows only the second of two places that set a key.
		if strings.Contains(pe.Message, "already") {
			if _, twice, _ := scan(s); len(twice) > 0 {
				return nil, twice
			}
		}
		msg := lowerFirst(pe.Message)
		if strings.HasPrefix(msg, `expected value but found "`) {
			msg += `; text stands in quotes: "…"` // a word was found
		}
		return nil, Errors{{Position: s.at(pe.Position.Start), Key: pe.LastKey, Msg: msg}}
	case err != nil:
		return nil, Errors{{Position: Position{File: s.file}, Msg: err.Error()}}
	}
	root, twice, ok := scan(s)
	if len(twice) > 0 {
		return nil, twice
	}
	if !ok || !root.fill(values) {
		return nil, Errors{{Position: Position{File: s.file}, Msg: "its tables contradict each other; write each table only once"}}
	}
	return root, nil
}

func invalidUTF8(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return -1
}

func lowerFirst(s string) string {
	if len(s) > 1 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'a' && s[1] <= 'z' {
		return string(s[0]+'a'-'A') + s[1:]
	}
	return s
}
