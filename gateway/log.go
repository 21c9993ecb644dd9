package gateway

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"packetboat/config"
)

// NewLog makes the logger that the configuration asks for, onto f. setLevel changes
// its level to one that the configuration may name; any goroutine may call it.
func NewLog(cfg config.Log, f *os.File) (log *slog.Logger, setLevel func(level string)) {
	var level slog.LevelVar
	setLevel = func(name string) { level.Set(levelOf(name)) }
	setLevel(cfg.Level)
	format := cfg.Format
	if format == "auto" {
		switch {
		case toJournal(f, os.Getenv("JOURNAL_STREAM")):
			format = "journal"
		case term.IsTerminal(int(f.Fd())):
			format = "text"
		default:
			format = "json"
		}
	}
	if format == "journal" {
		return slog.New(newJournal(&level, f)), setLevel
	}
	return slog.New(newHandlerAt(&level, format, f)), setLevel
}

func levelOf(name string) slog.Level {
	return map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}[name]
}

func newHandler(level, format string, w io.Writer) slog.Handler {
	return newHandlerAt(levelOf(level), format, w)
}

func newHandlerAt(level slog.Leveler, format string, w io.Writer) slog.Handler {
	opt := &slog.HandlerOptions{Level: level}
	switch format {
	case "json":
		opt.ReplaceAttr = readable
		return slog.NewJSONHandler(w, opt)
	case "journal": // as text: it has a time of its own for each line
		opt.ReplaceAttr = withoutTime
	}
	return slog.NewTextHandler(w, opt)
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// readable writes as text what JSON would write as nanoseconds or as a struct.
func readable(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value; {
	case v.Kind() == slog.KindDuration:
		a.Value = slog.StringValue(v.Duration().String())
	case v.Kind() == slog.KindAny:
		if s, ok := v.Any().(net.Addr); ok {
			a.Value = slog.StringValue(s.String())
		}
	}
	return a
}

// toJournal reports whether f is the stream to the journal that systemd has
// named by its device and inode.
func toJournal(f *os.File, stream string) bool {
	var dev, ino uint64
	var st unix.Stat_t
	if n, err := fmt.Sscanf(stream, "%d:%d", &dev, &ino); n != 2 || err != nil {
		return false
	}
	return unix.Fstat(int(f.Fd()), &st) == nil && uint64(st.Dev) == dev && st.Ino == ino
}
