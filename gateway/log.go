package gateway

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"packetboat/config"
)

// NewLog makes the logger that the configuration asks for, onto f.
func NewLog(cfg config.Log, f *os.File) *slog.Logger {
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
	return slog.New(newHandler(cfg.Level, format, f))
}

func newHandler(level, format string, w io.Writer) slog.Handler {
	opt := &slog.HandlerOptions{Level: map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}[level]}
	switch format {
	case "json":
		return slog.NewJSONHandler(w, opt)
	case "journal": // which has a time of its own for each line
		opt.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.NewTextHandler(w, opt)
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
