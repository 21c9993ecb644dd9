package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// shownFrame is a frame as text, or as hexadecimal digits if it is none: all of it.
func shownFrame(b []byte) string {
	if isText(b) {
		return string(b)
	}
	return fmt.Sprintf("% x", b)
}

// isText reports whether b can be printed as it is: nothing in it controls a terminal.
func isText(b []byte) bool {
	return utf8.Valid(b) && visible(string(b)) == string(b)
}

// startBytes is how much of a frame an example shows.
const startBytes = 90

// frameStart is shownFrame of as much as fits into a line, and says what is missing.
func frameStart(b []byte) string {
	if len(b) <= startBytes {
		return shownFrame(b)
	}
	start := b[:startBytes]
	if isText(b) {
		start = []byte(strings.ToValidUTF8(string(start), "")) // not half a character
	}
	return fmt.Sprintf("%s … (%d of %d bytes)", shownFrame(start), len(start), len(b))
}
