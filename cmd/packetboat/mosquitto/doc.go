// Package mosquitto turns a mosquitto.conf into a configuration of Packetboat, and
// says of each line that it does not carry over why.
//
//	parse ──► options, with their places
//	sort  ──► global ones, listeners, bridges     (sort.go; options.go has what is not carried over)
//	write ──► listeners, users, access rules, bridges
//
// What would let in more than Mosquitto did is left out, and told: a listener whose
// certificates would not be checked as before stands in the result as a comment.
//
// It knows the options of Mosquitto 2.0, as mosquitto.conf(5) of Debian 12 has them.
package mosquitto

import (
	"cmp"
	"slices"
	"strconv"
)

// Kind says what became of a line.
type Kind string

// The kinds.
const (
	Lost      Kind = "lost"       // cannot be carried over, at least not all of it
	Changed   Kind = "changed"    // is carried over, and means something else now
	NotNeeded Kind = "not needed" // there is nothing to carry over
)

// Note is about a line of Mosquitto's files.
type Note struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Key  string `json:"key"`
	Kind Kind   `json:"kind"`
	Text string `json:"text"` // why, and what to do
}

// String is FILE:LINE: key: why.
func (n Note) String() string {
	if n.Line == 0 { // it is about what the file does not have
		return n.File + ": " + n.Key + ": " + n.Text
	}
	return n.File + ":" + strconv.Itoa(n.Line) + ": " + n.Key + ": " + n.Text
}

// File is one that the configuration names, to be written beside it so that only
// its owner may read it.
type File struct {
	Name string
	Data []byte
}

// Result is what became of a mosquitto.conf.
type Result struct {
	TOML  []byte
	Files []File
	Notes []Note // in the order of the files and lines
}

// Options say where from.
type Options struct {
	// ReadFile and ReadDir (the names within, sorted) read what the configuration
	// names. A path below /etc/mosquitto that is not there is looked for beside the
	// main file as well: that may be a copy from another machine.
	ReadFile func(path string) ([]byte, error)
	ReadDir  func(dir string) ([]string, error)
	// Hostname is that of the machine that Mosquitto runs on: its bridges' client ids
	// are made of it.
	Hostname string
}

// Import reads a mosquitto.conf and what it includes. The error: the file cannot be
// read.
func Import(file string, o Options) (*Result, error) {
	im := &importer{opt: o, main: file, defaults: &listener{max: -1}, global: new(security)}
	im.security, im.current = im.global, im.defaults
	options, err := im.parse(file)
	if err != nil {
		return nil, err
	}
	for _, o := range options {
		if o.key == "per_listener_settings" { // Mosquitto wants it first
			im.perListener, _ = o.bool()
		}
	}
	for _, o := range options {
		im.sort(o)
	}
	im.write(options)
	order := map[string]int{}
	for i, o := range options {
		if _, known := order[o.file]; !known {
			order[o.file] = i + 1
		}
	}
	place := func(n Note) int {
		return cmp.Or(order[n.File], len(options)+1) // password and ACL files come last
	}
	slices.SortStableFunc(im.result.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	im.result.Notes = slices.Compact(im.result.Notes)
	return &im.result, nil
}

// importer is one Import. It is for one goroutine.
type importer struct {
	opt    Options
	main   string
	result Result

	perListener bool
	global      *security // of all listeners, unless each has its own
	security    *security // of the options that come
	defaults    *listener // the one without a line of its own
	listeners   []*listener
	current     *listener // that options belong to
	bridges     []*bridge

	settings settings
	doc      doc
}

func (im *importer) note(o option, kind Kind, text string) {
	im.result.Notes = append(im.result.Notes, Note{o.file, o.line, o.key, kind, text})
}

func (im *importer) lost(o option, text string)      { im.note(o, Lost, text) }
func (im *importer) changed(o option, text string)   { im.note(o, Changed, text) }
func (im *importer) notNeeded(o option, text string) { im.note(o, NotNeeded, text) }

// secret has a file written, and gives its name.
func (im *importer) secret(name string, data []byte) string {
	im.result.Files = append(im.result.Files, File{name, data})
	return name
}
