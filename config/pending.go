package config

import (
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// Keys of the configuration that this version does not act on yet. Their
// default, or the value that turns them off, is accepted; any other value is an
// error, never ignored. Whoever implements a key deletes its row.

// pendingRow rules the keys in its first field, separated by spaces.
type pendingRow struct {
	keys string
	rule rule
}

var pendingTable = [...]pendingRow{
	{"queue.retention", off(`"0s"`)},
}

// A rule says which values of a pending key are accepted.
type rule struct {
	accept []string // as in a file; the first is the default
}

// off accepts the default and what else turns the key off.
func off(accept ...string) rule { return rule{accept: accept} }

// pendingRules gives the table by key.
func pendingRules() map[string]rule {
	m := make(map[string]rule)
	for _, row := range pendingTable {
		for key := range strings.FieldsSeq(row.keys) {
			m[key] = row.rule
		}
	}
	return m
}

// refuse gives the message about the decoded value of f, "" when it is accepted.
func (r rule) refuse(f field) string {
	for _, text := range r.accept {
		if reflect.DeepEqual(f.v.Interface(), decodeText(text, f).Interface()) {
			return ""
		}
	}
	choice := strings.Join(r.accept, " or ")
	return "is not supported in this version; remove it or leave it at " + choice
}

// decodeText gives the field's value when a file says text.
func decodeText(text string, f field) reflect.Value {
	var in struct{ V any }
	v := reflect.New(f.v.Type()).Elem()
	_, err := toml.Decode("V = "+text, &in)
	if err == nil {
		err = setScalar(v, in.V, f.tag)
	}
	if err != nil {
		panic("value " + text + " in the table of pending keys: " + err.Error())
	}
	return v
}
