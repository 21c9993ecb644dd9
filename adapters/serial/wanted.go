package serial

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"packetboat/adapters"
	"packetboat/config"
)

// Wanted says which port is meant: one of Port and Match is given.
type Wanted struct {
	Port  string      // path or glob
	Match *config.USB // identity of a USB port
	Root  string      // "" is /; tests have a tree of their own
}

// String is w as a person would say it.
func (w Wanted) String() string {
	if w.Match != nil {
		return "USB " + describe(w.Match)
	}
	return w.Port
}

// Check says what is wrong with w: nil or a *adapters.KeyError.
func (w Wanted) Check() error {
	if w.Match != nil {
		if *w.Match == (config.USB{}) {
			return &adapters.KeyError{Key: "match", Err: errors.New("names nothing: give vid and pid, and serial where there are several of a kind")}
		}
		return nil
	}
	if w.Port == "" {
		return &adapters.KeyError{Key: "port", Err: errors.New("must be the path of a serial port or a glob")}
	}
	if _, err := filepath.Match(w.Port, ""); err != nil {
		return &adapters.KeyError{Key: "port", Err: fmt.Errorf("%q is not a glob: a [ without its ]", w.Port)}
	}
	return nil
}

// Find gives the path of the one port that is meant. To take the first of
// several would mean another device's readings under this adapter's name.
func (w Wanted) Find() (string, error) {
	if w.Match != nil {
		return w.findUSB()
	}
	if !strings.ContainsAny(w.Port, `*?[\`) {
		return w.Port, nil
	}
	switch paths, err := filepath.Glob(w.Port); {
	case err != nil:
		return "", fmt.Errorf("port %s: %w", w.Port, err)
	case len(paths) == 0:
		return "", fmt.Errorf("no port matches %s: is the device plugged in and switched on?", w.Port)
	case len(paths) > 1:
		return "", fmt.Errorf("port %s matches %s: make it match one of them", w.Port, strings.Join(paths, ", "))
	default:
		return paths[0], nil
	}
}

func (w Wanted) findUSB() (string, error) {
	all, err := Ports(w.root())
	if err != nil {
		return "", err
	}
	var found []Info
	for _, i := range all {
		if matches(w.Match, &i) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no port is USB %s: is the device plugged in? (packetboat ports lists those there are)", describe(w.Match))
	case 1:
		return found[0].Path, nil
	}
	return "", ambiguous(w.Match, found)
}

// ambiguous names the ports that are meant all alike, and what tells them apart.
func ambiguous(u *config.USB, found []Info) error {
	names := make([]string, len(found))
	serials := map[string]bool{}
	for i := range found {
		names[i] = found[i].Stable()
		if s := found[i].Serial; s != "" {
			names[i] += " (serial " + s + ")"
			serials[s] = true
		}
	}
	remedy := "they have no serial numbers that differ: set port to one of these names instead of match"
	if len(serials) == len(found) {
		remedy = "add the serial of the one that is meant to match"
	}
	return fmt.Errorf("%d ports are USB %s: %s; %s", len(found), describe(u), strings.Join(names, ", "), remedy)
}

// again reports whether path is still the port that is meant, now that it is
// open: between looking and opening, the name may have gone to another device.
func (w Wanted) again(path string) error {
	if w.Match == nil {
		return nil
	}
	now, err := w.findUSB()
	if err == nil && now != path {
		err = fmt.Errorf("USB %s was %s and is %s now", describe(w.Match), path, now)
	}
	return err
}

// Means reports whether i is a port that is meant.
func (w Wanted) Means(i Info) bool {
	if w.Match != nil {
		return matches(w.Match, &i)
	}
	paths, err := filepath.Glob(w.Port)
	if err != nil {
		return false
	}
	for _, p := range append(paths, w.Port) {
		if real, err := filepath.EvalSymlinks(p); err == nil && real == i.Path {
			return true
		}
	}
	return false
}

func (w Wanted) root() string {
	if w.Root == "" {
		return "/"
	}
	return w.Root
}

// matches compares what u says. A port that is none of USB never matches.
func matches(u *config.USB, i *Info) bool {
	same := func(want, is string) bool { return want == "" || want == is }
	return i.VID != "" && same(strings.ToLower(u.VID), i.VID) && same(strings.ToLower(u.PID), i.PID) && same(u.Serial, i.Serial)
}

// describe is u as in an error: "0403:6001 serial A9007".
func describe(u *config.USB) string {
	part := func(s string) string {
		if s == "" {
			return "*"
		}
		return strings.ToLower(s)
	}
	return (&Info{VID: part(u.VID), PID: part(u.PID), Serial: u.Serial}).identity()
}
