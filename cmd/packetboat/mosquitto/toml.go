package mosquitto

import (
	"fmt"
	"strings"

	"packetboat/config"
)

// doc writes a configuration file.
type doc struct {
	b       strings.Builder
	comment bool // what is written is no part of the configuration
}

func (d *doc) raw(text string) {
	if d.comment {
		text = "# " + text
	}
	d.b.WriteString(text + "\n")
}

// section begins a table; remarks stand above it.
func (d *doc) section(header string, remarks ...string) {
	d.b.WriteString("\n")
	for _, r := range remarks {
		d.b.WriteString("# " + r + "\n")
	}
	d.raw(header)
}

// set writes a key with a value in TOML.
func (d *doc) set(key, value string) { d.raw(key + " = " + value) }

func (d *doc) remark(key, value, remark string) { d.raw(key + " = " + value + "  # " + remark) }

func (d *doc) str(key, value string) { d.set(key, config.Quote(value)) }

func (d *doc) num(key string, n int) { d.set(key, fmt.Sprint(n)) }

// list is an array of strings.
func list(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = config.Quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// literal is text as a template has it.
func literal(s string) string {
	return strings.NewReplacer("{", "{{", "}", "}}").Replace(s)
}
