package mosquitto

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An option is a line: a key, and the rest.
type option struct {
	file  string
	line  int
	key   string
	value string
}

// at is where it stands, for people.
func (o option) at() string { return fmt.Sprintf("%s:%d", o.file, o.line) }

// set reports whether there is such a line.
func (o option) set() bool { return o.key != "" }

func (o option) bool() (v, ok bool) {
	switch o.value {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

func (o option) int() (n int, ok bool) {
	n, err := strconv.Atoi(o.value)
	return n, err == nil
}

// parse reads the main file and what it includes, in place.
func (im *importer) parse(file string) ([]option, error) {
	data, err := im.opt.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []option
	for _, o := range im.lines(file, data) {
		if o.key == "include_dir" {
			all = append(all, im.include(o)...)
			continue
		}
		all = append(all, o)
	}
	return all, nil
}

// include reads the files of a directory, in Mosquitto's order: by letter, the upper
// case of a letter before its lower case.
func (im *importer) include(o option) []option {
	dir, names, err := im.readDir(o.value)
	if err != nil {
		im.lost(o, "its files are not carried over: "+reason(err))
		return nil
	}
	slices.SortStableFunc(names, func(a, b string) int {
		if c := strings.Compare(strings.ToLower(a), strings.ToLower(b)); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	var all []option
	for _, name := range names {
		if !strings.HasSuffix(name, ".conf") {
			continue
		}
		file := filepath.Join(dir, name)
		data, err := im.opt.ReadFile(file)
		if err != nil {
			im.lost(o, file+" is not carried over: "+reason(err))
			continue
		}
		for _, inner := range im.lines(file, data) {
			if inner.key == "include_dir" {
				im.notNeeded(inner, "Mosquitto takes it in the main file only")
				continue
			}
			all = append(all, inner)
		}
	}
	return all
}

// lines cuts a file into options.
func (im *importer) lines(file string, data []byte) []option {
	var all []option
	n := 0
	for text := range strings.Lines(string(data)) {
		n++
		text = strings.Trim(text, " \t\r\n\x00")
		if text == "" || text[0] == '#' {
			continue
		}
		o := option{file: file, line: n, key: text}
		if i := strings.IndexAny(text, " \t"); i >= 0 {
			o.key, o.value = text[:i], strings.TrimLeft(text[i:], " \t")
		}
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			im.lost(option{file: file, line: n, key: strconv.QuoteToASCII(o.key)}, "the line is not text in UTF-8")
			continue
		}
		all = append(all, o)
	}
	return all
}

// readFile reads a file that the configuration names.
func (im *importer) readFile(path string) (data []byte, err error) {
	for _, p := range im.places(path) {
		if data, err = im.opt.ReadFile(p); !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	return nil, err
}

func (im *importer) readDir(path string) (dir string, names []string, err error) {
	for _, p := range im.places(path) {
		if names, err = im.opt.ReadDir(p); !errors.Is(err, fs.ErrNotExist) {
			return p, names, err
		}
	}
	return path, nil, err
}

// places are where a path may be: there, or beside a main file that was copied from
// another machine.
func (im *importer) places(path string) []string {
	beside := filepath.Dir(im.main)
	if rest, ok := strings.CutPrefix(path, "/etc/mosquitto/"); ok {
		return []string{path, filepath.Join(beside, rest)}
	}
	if !filepath.IsAbs(path) {
		return []string{path, filepath.Join(beside, path)}
	}
	return []string{path}
}

// reason is an error without the path that is told anyway.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Path + ": " + p.Err.Error()
	}
	return err.Error()
}
