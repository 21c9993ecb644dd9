package config

import (
	"fmt"
	"strings"
)

// A Position is a place in a configuration file. Line and Col count from 1, Col
// in characters; a Line of 0 means the file as a whole.
type Position struct {
	File string
	Line int
	Col  int
}

// String gives FILE:LINE:COL, or FILE alone for the file as a whole.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// An Error is one thing that is wrong with the configuration, told to the person
// who wrote it.
type Error struct {
	Position
	Key string // path of the key, such as serial[0].topic; "" when it is not about a key
	Msg string // what is wrong, and what to do about it

	cause error
}

// Error gives FILE:LINE:COL: key: what is wrong.
func (e Error) Error() string {
	if e.Key == "" {
		return e.Position.String() + ": " + e.Msg
	}
	return e.Position.String() + ": " + e.Key + ": " + e.Msg
}

// Unwrap gives the error of the operating system behind this one, if there is any.
func (e Error) Unwrap() error { return e.cause }

// Errors is everything that is wrong with a configuration, ordered by file (the
// main one first, then conf.d by name), line and column. It is never empty when
// returned as an error.
type Errors []Error

// Error gives one line for each error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is and errors.As look at each of them.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i := range e {
		list[i] = e[i]
	}
	return list
}
