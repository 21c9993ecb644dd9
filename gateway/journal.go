package gateway

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/journal"
)

// journalHandler sends records to systemd's journal with structured fields: MESSAGE
// is the line as people read it, PRIORITY the level, and each attribute is a field
// of its own, journalctl PACKETBOAT_BRIDGE=cloud. What the journal does not take is
// written as text.
type journalHandler struct {
	out    *journalOut
	text   slog.Handler // of the attributes, into out.buf
	prefix string       // of field names: PACKETBOAT_ and the groups
	fields []journalField
}

// journalOut is what all handlers of a logger share.
type journalOut struct {
	level slog.Leveler
	send  func(message string, priority journal.Priority, vars map[string]string) error
	rest  io.Writer // for what the journal does not take

	mu  sync.Mutex // guards buf and rest
	buf bytes.Buffer
}

type journalField struct{ name, value string }

func newJournal(level slog.Leveler, rest io.Writer) *journalHandler {
	out := &journalOut{level: level, send: journal.Send, rest: rest}
	return &journalHandler{out: out, prefix: "PACKETBOAT_", text: slog.NewTextHandler(&out.buf, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

// Enabled is of slog.Handler.
func (h *journalHandler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= h.out.level.Level()
}

// Handle sends a record.
func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	vars := map[string]string{"SYSLOG_IDENTIFIER": "packetboat"}
	for _, f := range h.fields {
		vars[f.name] = f.value
	}
	r.Attrs(func(a slog.Attr) bool {
		for _, f := range appendFields(nil, h.prefix, a) {
			vars[f.name] = f.value
		}
		return true
	})
	o := h.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Reset()
	if err := h.text.Handle(ctx, r); err != nil {
		return err
	}
	message := strings.TrimSpace(r.Message + " " + o.buf.String())
	if o.send(message, priorityOf(r.Level), vars) == nil {
		return nil
	}
	_, err := io.WriteString(o.rest, "level="+r.Level.String()+" "+message+"\n")
	return err
}

// WithAttrs is of slog.Handler.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.text = h.text.WithAttrs(attrs)
	next.fields = h.fields[:len(h.fields):len(h.fields)]
	for _, a := range attrs {
		next.fields = appendFields(next.fields, h.prefix, a)
	}
	return &next
}

// WithGroup is of slog.Handler.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.text, next.prefix = h.text.WithGroup(name), h.prefix+fieldName(name)+"_"
	return &next
}

// appendFields gives the fields of an attribute: several, when it is a group.
func appendFields(list []journalField, prefix string, a slog.Attr) []journalField {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += fieldName(a.Key) + "_"
		}
		for _, b := range v.Group() {
			list = appendFields(list, prefix, b)
		}
		return list
	}
	if a.Key == "" {
		return list
	}
	name := prefix + fieldName(a.Key)
	return append(list, journalField{name[:min(len(name), maxFieldName)], v.String()})
}

// maxFieldName is that of the journal.
const maxFieldName = 64

// fieldName is a key as the journal has it: capitals, digits and underscores.
func fieldName(key string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key)
}

func priorityOf(l slog.Level) journal.Priority {
	switch {
	case l >= slog.LevelError:
		return journal.PriErr
	case l >= slog.LevelWarn:
		return journal.PriWarning
	case l >= slog.LevelInfo:
		return journal.PriInfo
	}
	return journal.PriDebug
}
