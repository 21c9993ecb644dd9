package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"packetboat/adapters"
	"packetboat/adapters/frame"
	"packetboat/config"
	"packetboat/gateway/quantity"
)

const frameHelp = `It takes bytes as the adapter would, from -hex or from its input, and shows each
frame with its fields, payload and topic, or why it would not be published; at the
end, what the framing has counted. Nothing is published, no port is opened.

  packetboat frame -adapter scale -hex "02 31 32 2e 35 03"
  packetboat frame -adapter scale < captured.bin

Between two -hex there is a silence, for framings that need it. on_change and rate
are left out. The exit code is 1 when something is wrong with a frame; one that when
drops is as it should be.
`

// chunks are the values of -hex.
type chunks [][]byte

func (c *chunks) String() string { return "" }

func (c *chunks) Set(s string) error {
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		return errors.New("not bytes in hexadecimal digits, such as \"02 31 32 03\"")
	}
	*c = append(*c, b)
	return nil
}

// frameLine is a frame, in JSON.
type frameLine struct {
	Hex     string         `json:"hex"`
	Fields  map[string]any `json:"fields,omitempty"`
	Topic   string         `json:"topic,omitempty"`
	Text    *string        `json:"text,omitempty"`
	Payload []byte         `json:"base64,omitempty"`  // that is no text
	Dropped string         `json:"dropped,omitempty"` // on purpose, by when
	Problem string         `json:"problem,omitempty"`
}

func frameCommand(_ context.Context, e *env, args []string) int {
	f := e.flags()
	path := configFlag(f)
	name := f.String("adapter", "", "`NAME` of a [[serial]] or [[tcp]] section; may be left out when there is one only")
	remote := f.String("remote", "192.0.2.7", "tcp: the `ADDRESS` that {remote} stands for")
	asJSON := f.Bool("json", false, "JSON output, a line for each frame")
	var input chunks
	f.Var(&input, "hex", "`BYTES` in hexadecimal digits; may be given several times")
	if code, ok := e.parse(f, args); !ok {
		return code
	}
	cfg, ok := e.load(*path)
	if !ok {
		return exitUsage
	}
	stream, at, err := findStream(cfg, *name)
	if err != nil {
		fmt.Fprintf(e.err, "packetboat frame: %v\n", err)
		return exitUsage
	}
	if at.Port == "" {
		at.Remote, at.Port = *remote, "7000"
	}
	opt, err := adapters.Checking().Stream(stream)
	if err != nil {
		return e.fail(err)
	}
	if len(input) == 0 {
		b, err := io.ReadAll(io.LimitReader(os.Stdin, 64<<20))
		if err != nil {
			return e.fail(fmt.Errorf("read the input: %w", err))
		}
		input = chunks{b}
	}
	n, bad := 0, 0
	enc := json.NewEncoder(e.out)
	counted, err := adapters.Trace(opt, at, input, func(t *adapters.Traced) {
		n++
		if t.Topic == "" && t.Dropped == "" {
			bad++
		}
		if *asJSON {
			_ = enc.Encode(lineOf(t)) // as the other output, it may be cut off
			return
		}
		printFrame(e.out, n, t)
	})
	if err != nil {
		return e.fail(err)
	}
	if !*asJSON {
		printCounted(e.out, &counted)
	}
	if n == 0 || bad > 0 || counted.Bad() > 0 {
		return exitFailed
	}
	return exitFine
}

// findStream finds an adapter; at has the port of a serial one.
func findStream(cfg *config.Config, name string) (*config.Stream, adapters.Place, error) {
	type found struct {
		s  *config.Stream
		at adapters.Place
	}
	all := map[string]found{}
	var names []string
	for i := range cfg.Serial {
		s := &cfg.Serial[i]
		all[s.Name] = found{&s.Stream, adapters.Place{Port: "ttyUSB0"}}
		names = append(names, s.Name)
	}
	for i := range cfg.TCP {
		s := &cfg.TCP[i]
		all[s.Name] = found{&s.Stream, adapters.Place{}}
		names = append(names, s.Name)
	}
	if name == "" && len(names) == 1 {
		name = names[0]
	}
	if x, ok := all[name]; ok {
		return x.s, x.at, nil
	}
	if len(names) == 0 {
		return nil, adapters.Place{}, errors.New("the configuration has no [[serial]] or [[tcp]] section")
	}
	return nil, adapters.Place{}, fmt.Errorf("give -adapter NAME: there are %s", strings.Join(names, ", "))
}

func lineOf(t *adapters.Traced) frameLine {
	l := frameLine{Hex: hex.EncodeToString(t.Frame), Topic: t.Topic, Dropped: t.Dropped, Problem: t.Problem}
	for _, f := range t.Fields {
		if l.Fields == nil {
			l.Fields = map[string]any{}
		}
		l.Fields[f.Name] = f.Value
	}
	if t.Topic == "" {
		return l
	}
	if t.Text {
		text := string(t.Payload)
		l.Text = &text
	} else {
		l.Payload = t.Payload
	}
	return l
}

func printFrame(w io.Writer, n int, t *adapters.Traced) {
	fmt.Fprintf(w, "frame %d: %s\n", n, shownFrame(t.Frame))
	if len(t.Frame) > 0 && isText(t.Frame) {
		fmt.Fprintf(w, "  bytes    % x\n", t.Frame)
	}
	for _, f := range t.Fields {
		fmt.Fprintf(w, "  field    %s = %v\n", f.Name, f.Value)
	}
	if t.Topic != "" {
		fmt.Fprintf(w, "  payload  %s\n  topic    %s\n", shownFrame(t.Payload), t.Topic)
	}
	if t.Dropped != "" {
		fmt.Fprintf(w, "  dropped  %s\n", t.Dropped)
	}
	if t.Problem != "" {
		fmt.Fprintf(w, "  PROBLEM  %s\n", t.Problem)
	}
}

func printCounted(w io.Writer, c *frame.Counters) {
	fmt.Fprintf(w, "%s, %s", quantity.Count(c.Bytes, "byte", "bytes"), quantity.Count(c.Frames, "frame", "frames"))
	for _, x := range []struct {
		n    uint64
		what string
	}{
		{c.Blank, "empty"}, {c.TooLong, "longer than max"}, {c.Unfinished, "not complete"}, {c.Checksum, "with a wrong check sum"},
	} {
		if x.n > 0 {
			fmt.Fprintf(w, ", %d %s", x.n, x.what)
		}
	}
	if c.Garbage > 0 {
		fmt.Fprint(w, ", ", quantity.Count(c.Garbage, "piece", "pieces"), " of garbage")
	}
	if c.Discarded > 0 {
		fmt.Fprint(w, "; ", quantity.Count(c.Discarded, "byte was", "bytes were"), " dropped")
	}
	fmt.Fprintln(w)
}
