package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"packetboat/adapters"
	"packetboat/adapters/guess"
	"packetboat/adapters/serial"
)

const probeHelp = `It listens on the port at the common baud rates, one after the other, until what
comes makes sense: text lines, NMEA, markers around frames, SLIP, COBS, Modbus,
frames of one size. Then it prints the [[serial]] section to paste. Nothing is
written to the port, but it is opened, which resets an Arduino; a device that only
answers when it is asked stays silent.
`

// rates are tried in the order in which devices have them.
var rates = []int{9600, 115200, 19200, 38400, 57600, 4800, 2400, 1200, 230400}

const (
	probeEnough = 4 << 10 // bytes
	probeSure   = 0.8     // a score with which no other rate is tried
)

func probeCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	baud := f.Int("baud", 0, "try only this `RATE`")
	wait := f.Duration("time", 5*time.Second, "`TIME` to listen at each rate, at most")
	words, code, ok := e.parseWords(f, args)
	if !ok {
		return code
	}
	if len(words) != 1 {
		fmt.Fprintln(e.err, "packetboat probe: usage: packetboat probe PORT (packetboat ports lists them)")
		return exitUsage
	}
	try := rates
	if *baud > 0 {
		try = []int{*baud}
	}
	best := found{}
	for _, rate := range try {
		fmt.Fprintf(e.err, "%s at %d baud: ", words[0], rate)
		g, n, err := listenAt(ctx, words[0], rate, *wait)
		if ctx.Err() != nil {
			fmt.Fprintln(e.err, "stopped")
			return exitFailed
		}
		if err != nil {
			fmt.Fprintln(e.err)
			return e.fail(err)
		}
		fmt.Fprintln(e.err, heard(g, n))
		best.bytes += n
		if len(g) > 0 && (len(best.guesses) == 0 || g[0].Score > best.guesses[0].Score) {
			best.guesses, best.rate = g, rate
		}
		if len(g) > 0 && g[0].Score >= probeSure {
			break
		}
	}
	if len(best.guesses) == 0 {
		if best.bytes == 0 {
			return e.fail(fmt.Errorf("nothing came from %s: is the device on, does it send by itself, are RX and TX crossed, is it the right port (packetboat ports)? A device that has to be asked needs [serial.poll]", words[0]))
		}
		return e.fail(fmt.Errorf("%d bytes came from %s and no framing fits: try -time 30s, or another rate with -baud", best.bytes, words[0]))
	}
	printFound(e.out, words[0], &best)
	return exitFine
}

type found struct {
	guesses []guess.Guess
	rate    int
	bytes   int
}

func heard(g []guess.Guess, n int) string {
	switch {
	case n == 0:
		return "nothing comes"
	case len(g) == 0:
		return fmt.Sprintf("%d bytes, no framing fits", n)
	}
	return fmt.Sprintf("%d bytes, %s (%.0f %%)", n, g[0].Kind, 100*g[0].Score)
}

// listenAt reads from the port at one rate, until there is enough or nothing more is
// to be expected, and guesses.
func listenAt(ctx context.Context, port string, rate int, most time.Duration) ([]guess.Guess, int, error) {
	link, err := serial.Open(port, serial.Line{Baud: rate, DTR: true, RTS: true})
	if err != nil {
		return nil, 0, err
	}
	defer link.Close()
	stop := context.AfterFunc(ctx, func() { _ = link.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	return listen(link, most)
}

// listen collects what comes; half of the time is enough when all is clear.
func listen(link adapters.Link, most time.Duration) ([]guess.Guess, int, error) {
	began := time.Now()
	if err := link.SetReadDeadline(began.Add(most)); err != nil {
		return nil, 0, err
	}
	var chunks []guess.Chunk
	n := 0
	for n < probeEnough {
		buf := make([]byte, 512)
		k, err := link.Read(buf)
		if k > 0 {
			chunks = append(chunks, guess.Chunk{At: time.Since(began), Bytes: buf[:k]})
			n += k
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return nil, n, err
		}
		if time.Since(began) > most/2 {
			if g := guess.Of(chunks); len(g) > 0 && g[0].Score >= 0.9 {
				break
			}
		}
	}
	return guess.Of(chunks), n, nil
}

func printFound(w io.Writer, port string, f *found) {
	g := &f.guesses[0]
	name, stable := filepath.Base(port), port
	if list, err := serial.Ports("/"); err == nil {
		for _, p := range list {
			if p.Path == port && p.ByID != "" {
				stable = p.ByID
			}
		}
	}
	fmt.Fprintf(w, "# %s, %.0f %% of it. %s\n", g.Kind, 100*g.Score, g.Why)
	for _, x := range g.Frames {
		fmt.Fprintf(w, "#   %s\n", frameStart(x))
	}
	fmt.Fprintf(w, "[[serial]]\nname   = %q\nport   = %q\nbaud   = %d\nframe  = %s\ndecode = %s\n", strings.ToLower(name), stable, f.rate, g.Frame, g.Decode)
	for _, o := range f.guesses[1:min(len(f.guesses), 3)] {
		fmt.Fprintf(w, "# or, %.0f %%: frame = %s   # %s\n", 100*o.Score, o.Frame, o.Why)
	}
}
