package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"packetboat/cmd/packetboat/mosquitto"
	"packetboat/gateway/quantity"
)

const importHelp = `It reads a mosquitto.conf with the files that it includes, and its password and ACL
files, and writes a configuration that does the same: listeners, TLS, users, rights,
limits, bridges. Of each line that cannot be carried over, that means something else
now, or that is not needed, it says why, as FILE:LINE: key: why. What would let in more
than Mosquitto did is left out, and said.

  packetboat import-mosquitto /etc/mosquitto/mosquitto.conf -o packetboat.toml

Users, and the passwords of bridges, go into files beside it which only their owner may
read; without -o the configuration is printed, and they are not written. Certificates
stay where they are: the service's user must be able to read the keys. The result is
checked as packetboat check does; exit code 1 when something is still to be done.
Nothing is replaced without -force, but for a configuration in which nothing is set.
docs/migrating.md goes through it.
`

type importFlags struct {
	out   string
	force bool
	json  bool
	all   bool
}

func importCommand(_ context.Context, e *env, args []string) int {
	f := e.flags()
	var i importFlags
	f.StringVar(&i.out, "o", "", "write this `FILE`, and others beside it")
	f.BoolVar(&i.force, "force", false, "replace files that are there")
	f.BoolVar(&i.json, "json", false, "with -o: say as JSON what became of the lines")
	f.BoolVar(&i.all, "all", false, "list what was not needed, too")
	words, code, ok := e.parseWords(f, args)
	if !ok {
		return code
	}
	if len(words) != 1 || i.json && i.out == "" {
		fmt.Fprintln(e.err, "packetboat import-mosquitto: usage: packetboat import-mosquitto FILE [-o FILE [-json]] (packetboat help import-mosquitto)")
		return exitUsage
	}
	host, err := os.Hostname()
	if err != nil {
		return e.fail(err)
	}
	r, err := mosquitto.Import(words[0], mosquitto.Options{ReadFile: os.ReadFile, ReadDir: dirNames, Hostname: host})
	if err != nil {
		fmt.Fprintf(e.err, "packetboat import-mosquitto: %v\n", err)
		return exitUsage
	}
	if i.out == "" {
		_, err = e.out.Write(r.TOML)
		if err == nil {
			err = i.tell(e.err, r)
		}
	} else {
		err = i.write(e, r)
	}
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(e.err, "packetboat import-mosquitto: %v\n", usage.err)
		return exitUsage
	}
	if err != nil {
		return e.fail(err)
	}
	return exitFine
}

// dirNames are the files in a directory, by name.
func dirNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, x := range entries {
		names = append(names, x.Name())
	}
	return names, err
}

// write writes the files, checks them, and says what is next.
func (i *importFlags) write(e *env, r *mosquitto.Result) error {
	out, err := filepath.Abs(i.out)
	if err != nil {
		return err
	}
	files := []newFile{{path: out, data: r.TOML}}
	for _, s := range r.Files {
		files = append(files, newFile{path: filepath.Join(filepath.Dir(out), s.Name), data: s.Data, secret: true})
	}
	if err := writeNew(files, i.force); err != nil {
		return err
	}
	wrong := checkText(out, string(r.TOML))
	if i.json {
		err = encodeImport(e.out, files, r, wrong)
	} else {
		err = i.tell(e.out, r)
		for n, f := range files {
			fmt.Fprintf(e.out, "%-8s %s\n", map[bool]string{true: "written:"}[n == 0], f.path)
		}
	}
	if err != nil {
		return err
	}
	if wrong != nil {
		return fmt.Errorf("%s is written, and packetboat check still finds (as this user)\n%w", i.out, wrong)
	}
	if !i.json {
		fmt.Fprintf(e.out, "packetboat check finds nothing wrong with it.\n\nnext:\n  systemctl disable --now mosquitto     two brokers cannot have one port, nor two bridges one client id\n"+
			"  packetboat run -config %s     or, where it is installed: systemctl restart packetboat\n  packetboat status -config %[1]s\n", i.out)
	}
	return nil
}

// encodeImport says as JSON what became of it.
func encodeImport(w io.Writer, files []newFile, r *mosquitto.Result, wrong error) error {
	report := struct {
		Files []string         `json:"files"`
		Notes []mosquitto.Note `json:"notes"`
		Check []string         `json:"check"` // what is wrong with it, by packetboat check
	}{Notes: append([]mosquitto.Note{}, r.Notes...), Check: []string{}}
	for _, f := range files {
		report.Files = append(report.Files, f.path)
	}
	if wrong != nil {
		report.Check = strings.Split(wrong.Error(), "\n")
	}
	return json.NewEncoder(w).Encode(report)
}

// tell lists what became of the lines.
func (i *importFlags) tell(w io.Writer, r *mosquitto.Result) error {
	var b bytes.Buffer
	for _, part := range []struct {
		kind  mosquitto.Kind
		title string
	}{{mosquitto.Lost, "cannot be carried over"}, {mosquitto.Changed, "is carried over, and means something else"}, {mosquitto.NotNeeded, "is not needed"}} {
		var lines []string
		for _, n := range r.Notes {
			if n.Kind == part.kind {
				lines = append(lines, n.String())
			}
		}
		switch {
		case len(lines) == 0:
		case part.kind == mosquitto.NotNeeded && !i.all:
			fmt.Fprintf(&b, "# %s not needed; -all says why\n\n", quantity.Count(len(lines), "more line is", "more lines are"))
		default:
			fmt.Fprintf(&b, "# %s:\n%s\n\n", part.title, strings.Join(lines, "\n"))
		}
	}
	if i.out == "" && len(r.Files) > 0 {
		var names []string
		for _, f := range r.Files {
			names = append(names, f.Name)
		}
		fmt.Fprintf(&b, "# -o FILE writes what is not shown here: %s\n", strings.Join(names, ", "))
	}
	_, err := w.Write(b.Bytes())
	return err
}
