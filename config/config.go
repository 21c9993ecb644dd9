package config

import (
	"cmp"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
)

// Config is a whole configuration. It is not changed after Load and may then be
// read concurrently.
type Config struct {
	Gateway   Gateway    `toml:"gateway"`
	Log       Log        `toml:"log"`
	Queue     Queue      `toml:"queue"`
	Broker    Broker     `toml:"broker"`
	Listeners []Listener `toml:"listener"` // never empty after Load
	Auth      Auth       `toml:"auth"`
	Limits    Limits     `toml:"limits"`
	Serial    []Serial   `toml:"serial"`
	TCP       []TCP      `toml:"tcp"`
	Modbus    []Modbus   `toml:"modbus"`
	Bridges   []Bridge   `toml:"bridge"`
	Admin     Admin      `toml:"admin"`

	places  map[string]Position // by path; "" is the main file
	secrets map[string]string   // by path: the file that SecretFile gives
}

// Options is what a configuration takes from the machine it is read on. A nil
// field stands for the machine itself.
type Options struct {
	// Getenv gives the environment variable of that name, and whether it is set.
	Getenv func(name string) (string, bool)
	// Hostname gives the host name that gateway.id defaults to.
	Hostname func() (string, error)
	// Board gives the serial number of the board, else the machine id; "" when
	// there is neither.
	Board func() string
}

// Load reads the configuration at path and those in conf.d beside it. The error,
// if any, is of type [Errors] and holds all that is wrong.
func Load(path string, opt Options) (*Config, error) {
	sources, errs := readFiles(path)
	return build(path, sources, errs, opt)
}

// Parse reads a configuration from data, under the name file, without conf.d.
// Its errors are as Load's.
func Parse(file string, data []byte, opt Options) (*Config, error) {
	return build(file, []*source{newSource(file, data)}, nil, opt)
}

func build(path string, sources []*source, errs Errors, opt Options) (*Config, error) {
	if opt.Getenv == nil {
		opt.Getenv = os.LookupEnv
	}
	if opt.Hostname == nil {
		opt.Hostname = os.Hostname
	}
	if opt.Board == nil {
		opt.Board = board
	}
	reported := map[string]bool{}
	report := func(pos Position, key, msg string) {
		reported[key] = true
		errs = append(errs, Error{Position: pos, Key: key, Msg: msg})
	}
	root := newTable(Position{File: path}, "")
	broken := len(errs) > 0
	for _, src := range sources {
		tree, wrong := src.parse()
		if wrong != nil {
			errs = append(errs, wrong...)
			broken = true
			continue
		}
		root.merge(tree, "", report)
	}
	c := &Config{places: map[string]Position{}, secrets: map[string]string{}}
	root.expand("", opt.Getenv, report)
	root.places("", c.places)
	d := &decoder{report: report, pending: pendingRules(), secrets: c.secrets}
	v := reflect.ValueOf(c).Elem()
	preset(v)
	d.table(root, v, "", "")
	k := &checker{c: c, report: report, reported: reported}
	if broken {
		// What is missing may stand in what could not be read: no complaints
		// about that.
		return nil, sorted(errs, sources)
	}
	k.check(opt)
	if len(errs) > 0 {
		return nil, sorted(errs, sources)
	}
	return c, nil
}

// sorted orders errors by file, in the order of reading, and place.
func sorted(errs Errors, sources []*source) Errors {
	rank := func(file string) int {
		return slices.IndexFunc(sources, func(s *source) bool { return s.file == file })
	}
	slices.SortStableFunc(errs, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(rank(a.File), rank(b.File)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Col, b.Col),
		)
	})
	return slices.CompactFunc(errs, func(a, b Error) bool {
		return a.Position == b.Position && a.Key == b.Key && a.Msg == b.Msg
	})
}

// At gives the place of the value with that key path, such as "serial[0].topic".
// For one that was left to its default it is the place of what would hold it: the
// table, or the main file as a whole.
func (c *Config) At(key string) Position {
	for {
		if pos, ok := c.places[key]; ok {
			return pos
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
}

// Errorf makes an error about the value with that key path, for those who use a
// section and find something wrong with it that this package cannot see.
func (c *Config) Errorf(key, format string, args ...any) Error {
	return Error{Position: c.At(key), Key: key, Msg: fmt.Sprintf(format, args...)}
}

// isSet reports whether the configuration files have that key.
func (c *Config) isSet(key string) bool {
	_, ok := c.places[key]
	return ok
}

// keysOf returns the keys that the files have in the table at path, ordered.
func (c *Config) keysOf(path string) (keys []string) {
	for p := range c.places {
		if key, ok := strings.CutPrefix(p, path+"."); ok && !strings.ContainsAny(key, ".[") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
