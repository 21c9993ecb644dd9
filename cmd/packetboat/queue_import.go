package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"packetboat/gateway/admin"
	"packetboat/gateway/quantity"
)

// An import sends batches of so many lines or bytes, whatever comes first: each is
// a commit, and what may come twice.
const (
	importLines = 1000
	importBytes = 512 << 10
)

// shownErrors is how many wrong lines are named.
const shownErrors = 10

// exportFile is what an import reads.
type exportFile struct {
	name string
	file *os.File
	from int // the line that it begins with

	start int64 // offset in it, when it can be read twice
	size  int64 // from there to the end; 0 = it cannot
}

// openExport opens the FILE of an import.
func openExport(q *queueFlags, words []string) (*exportFile, error) {
	if *q.from < 1 {
		return nil, errors.New("-from: lines count from 1 on")
	}
	x := &exportFile{name: "standard input", file: os.Stdin, from: *q.from}
	if len(words) > 1 && words[1] != "-" {
		f, err := os.Open(words[1])
		if err != nil {
			return nil, err
		}
		x.name, x.file = words[1], f
	}
	info, err := x.file.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory", x.name)
	}
	if err != nil {
		return nil, errors.Join(err, x.close())
	}
	if at, err := x.file.Seek(0, io.SeekCurrent); err == nil && info.Mode().IsRegular() {
		x.start, x.size = at, info.Size()-at
	}
	return x, nil
}

func (x *exportFile) close() error {
	if x.file == os.Stdin {
		return nil
	}
	return x.file.Close()
}

// errLong is of a line that is too long to be looked at.
var errLong = fmt.Errorf("the line is longer than %d bytes", admin.MaxLine)

// lineReader reads the lines of an export.
type lineReader struct {
	r    *bufio.Reader
	line int   // number of the last one
	read int64 // bytes
	buf  []byte
}

func (x *exportFile) lines() *lineReader {
	return &lineReader{r: bufio.NewReaderSize(x.file, 256<<10)}
}

// next returns the next line, valid until the one after it, or io.EOF. With errLong
// the line was passed over.
func (l *lineReader) next() ([]byte, error) {
	l.buf = l.buf[:0]
	long := false
	for {
		part, err := l.r.ReadSlice('\n')
		l.read += int64(len(part))
		if long = long || len(l.buf)+len(part) > admin.MaxLine; !long {
			l.buf = append(l.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || len(l.buf) == 0 && !long):
			return nil, err
		}
		l.line++
		if long {
			return nil, errLong
		}
		return bytes.TrimSuffix(l.buf, []byte("\n")), nil
	}
}

// survey is what an export has, from the line on that an import begins with.
type survey struct {
	Lines    int    `json:"lines"`
	Messages int64  `json:"messages"`
	Bytes    int64  `json:"bytes"` // in the queue, about
	Wrong    int    `json:"wrong_lines"`
	Note     string `json:"note,omitempty"`
}

// survey reads the whole file; tell is told of the first wrong lines.
func (x *exportFile) survey(ctx context.Context, progress func(done, total int64), tell func(line int, err error)) (s survey, err error) {
	l := x.lines()
	for ctx.Err() == nil {
		text, err := l.next()
		if errors.Is(err, io.EOF) {
			s.Lines = l.line
			if x.size > 0 {
				progress(x.size, x.size)
			}
			return s, nil
		}
		if l.line < x.from && (err == nil || errors.Is(err, errLong)) {
			continue
		}
		var e *admin.Exported
		if err == nil {
			e, err = admin.ParseExported(text)
		} else if !errors.Is(err, errLong) {
			return s, err
		}
		switch {
		case err != nil:
			if s.Wrong++; s.Wrong <= shownErrors {
				tell(l.line, err)
			}
		case e.Message != nil:
			s.Messages++
			s.Bytes += e.Size()
		case e.Note != "":
			s.Note = e.Note
		}
		if l.line%1000 == 0 && x.size > 0 {
			progress(min(l.read, x.size-1), x.size)
		}
	}
	return s, ctx.Err()
}

// surveyed is survey with what a person sees of it.
func (x *exportFile) surveyed(ctx context.Context, e *env) (survey, error) {
	show := progressTo(e.err, "%d MiB read through", 1<<20)
	if show == nil {
		show = func(int64, int64) {}
	}
	s, err := x.survey(ctx, show, func(line int, err error) { fmt.Fprintf(e.err, "%s:%d: %v\n", x.name, line, err) })
	switch {
	case err != nil:
		return s, err
	case s.Wrong > shownErrors:
		return s, fmt.Errorf("%d lines of %s are wrong, these are the first; nothing was queued", s.Wrong, x.name)
	case s.Wrong > 0:
		return s, fmt.Errorf("%s wrong in %s; nothing was queued", quantity.Count(s.Wrong, "line is", "lines are"), x.name)
	case x.from > max(s.Lines, 1):
		return s, fmt.Errorf("%s has %d lines, and -from says %d", x.name, s.Lines, x.from)
	}
	return s, nil
}

// checkExport is an import that only reads.
func checkExport(ctx context.Context, e *env, q *queueFlags, words []string) error {
	x, err := openExport(q, words)
	if err != nil {
		return err
	}
	s, err := x.surveyed(ctx, e)
	if err == nil && *q.json {
		err = json.NewEncoder(e.out).Encode(s)
	} else if err == nil {
		fmt.Fprintf(e.out, "%s: %s, about %s in the queue; nothing is wrong\n", x.name, quantity.Count(s.Messages, "message", "messages"), quantity.Bytes(s.Bytes))
		tellNote(e, s.Note)
	}
	return errors.Join(err, x.close())
}

func tellNote(e *env, note string) {
	if note != "" {
		fmt.Fprintf(e.err, "the export is not complete, it says at its end: %s\n", note)
	}
}

func queueImport(ctx context.Context, e *env, s queueSource, q *queueFlags, words []string) error {
	x, err := openExport(q, words)
	if err != nil {
		return err
	}
	i := &importing{env: e, to: s, queue: words[0], json: *q.json, id: rand.Text(), file: x}
	return errors.Join(i.run(ctx), x.close())
}

// importing is an import that runs.
type importing struct {
	*env
	to    queueSource
	queue string
	json  bool
	id    string
	file  *exportFile

	all   survey // zero where the file was not read through
	did   admin.Imported
	next  int // line to go on with
	shown time.Time
}

// importState is a line of what -json prints, and all in all.
type importState struct {
	Queue string `json:"queue"`
	admin.Imported
	Next  int    `json:"next_line"` // to go on with, as -from
	End   bool   `json:"end"`       // all of the file was worked on
	Error string `json:"error,omitempty"`
}

func (i *importing) run(ctx context.Context) (err error) {
	x := i.file
	if x.size > 0 {
		if i.all, err = x.surveyed(ctx, i.env); err != nil {
			return err
		}
		if _, err := x.file.Seek(x.start, io.SeekStart); err != nil {
			return err
		}
	}
	i.next = x.from
	l := x.lines()
	for end := false; !end && err == nil; {
		b := i.await(ctx, l)
		if end = b.end; len(b.lines) > 0 || end {
			err = i.send(ctx, b.lines, end)
			i.show(l, end)
		}
		switch {
		case err == nil && errors.Is(b.err, errInterrupted):
			err = i.stopped(b.err)
		case err == nil && b.err != nil:
			err = i.stopped(fmt.Errorf("%s:%d: %w", x.name, i.next, b.err))
		}
		if err == nil && i.json {
			err = i.print(end, nil)
		}
	}
	if err != nil {
		if i.json {
			err = errors.Join(err, i.print(false, err))
		}
		return err
	}
	if !i.json {
		i.tell()
	}
	return nil
}

// collected is the lines of a batch.
type collected struct {
	lines [][]byte
	end   bool  // they are the last ones
	err   error // behind them
}

var errInterrupted = errors.New("interrupted")

// await reads the lines of a batch, until ctx ends. A pipe on which nothing comes
// keeps its reader then, which ends with the process.
func (i *importing) await(ctx context.Context, l *lineReader) collected {
	if i.file.size > 0 {
		return i.collect(l)
	}
	got := make(chan collected, 1)
	go func() { got <- i.collect(l) }()
	select {
	case b := <-got:
		return b
	case <-ctx.Done():
		return collected{err: errInterrupted}
	}
}

// collect reads the lines of a batch.
func (i *importing) collect(l *lineReader) (b collected) {
	for size := 0; len(b.lines) < importLines && size < importBytes; {
		text, err := l.next()
		if errors.Is(err, io.EOF) {
			b.end = true
			break
		}
		if l.line < i.file.from && (err == nil || errors.Is(err, errLong)) {
			continue
		}
		if b.err = err; err != nil {
			break
		}
		b.lines = append(b.lines, bytes.Clone(text))
		size += len(text) + 1
	}
	return b
}

// send imports a batch.
func (i *importing) send(ctx context.Context, lines [][]byte, end bool) error {
	b := &admin.Batch{Queue: i.queue, ID: i.id, Lines: lines, End: end}
	if i.did.Lines == 0 {
		b.Messages, b.Bytes = i.all.Messages, i.all.Bytes
	}
	did, err := i.to.Import(ctx, b)
	i.did.Add(did)
	var of *admin.LineError
	switch {
	case err == nil:
		i.next += len(lines)
		return nil
	case errors.As(err, &of):
		i.next += of.Line - 1
		return i.stopped(fmt.Errorf("%s:%d: %w", i.file.name, i.next, of.Err))
	case isRefusal(err) && i.did.Lines == 0:
		return err
	case isRefusal(err) || len(lines) == 0:
		return i.stopped(err)
	}
	return fmt.Errorf("%w; %s queued for sure; go on with -from %d: those of the lines up to %d may be queued, too, and then come twice",
		err, quantity.Count(i.did.Queued, "message is", "messages are"), i.next, i.next+len(lines)-1)
}

// isRefusal reports whether nothing was done with a batch.
func isRefusal(err error) bool {
	var answer *admin.AnswerError
	if errors.As(err, &answer) {
		return answer.Refused()
	}
	return errors.Is(err, admin.ErrNoQueue) || errors.Is(err, admin.ErrDeadQueue) || errors.Is(err, admin.ErrDoesNotFit)
}

// stopped adds to an error what is queued, and how to go on.
func (i *importing) stopped(err error) error {
	return fmt.Errorf("%w; %s queued; go on with -from %d", err, quantity.Count(i.did.Queued, "message is", "messages are"), i.next)
}

func (i *importing) print(end bool, err error) error {
	s := importState{Queue: i.queue, Imported: i.did, Next: i.next, End: end}
	if err != nil {
		s.Error = err.Error()
	}
	return json.NewEncoder(i.out).Encode(s)
}

// tell says what was done.
func (i *importing) tell() {
	fmt.Fprintf(i.out, "%s: %s queued\n", i.queue, quantity.Count(i.did.Queued, "message", "messages"))
	if n := i.did.Expired; n > 0 {
		fmt.Fprintf(i.out, "%d had expired and were left out\n", n)
	}
	if n := i.did.Ageless; n > 0 {
		fmt.Fprintf(i.out, "%d expire later than they should: the clock of the gateway that received them was not set, or that of this one is not, so their time counts from now on\n", n)
	}
	tellNote(i.env, i.did.Note)
}

const showEvery = 200 * time.Millisecond

// show shows how far it is, on a terminal only.
func (i *importing) show(l *lineReader, end bool) {
	if !terminal(i.err) || i.json || !end && time.Since(i.shown) < showEvery {
		return
	}
	i.shown = time.Now()
	if end {
		fmt.Fprint(i.err, "\r\x1b[K")
	} else if i.file.size > 0 {
		fmt.Fprintf(i.err, "\r%3d %%, %d messages queued, up to line %d\x1b[K", min(l.read*100/i.file.size, 99), i.did.Queued, i.next-1)
	} else {
		fmt.Fprintf(i.err, "\r%d messages queued, up to line %d\x1b[K", i.did.Queued, i.next-1)
	}
}
