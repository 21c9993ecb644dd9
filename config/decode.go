package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The decoder puts the tree of nodes into the typed sections. Struct tags say
// what a field takes:
//
//	toml      the key; a field without it is not part of the file
//	default   the value when the key is absent, as text
//	enum      the words a string may be, separated by spaces
//	min, max  the least and the greatest value, in the field's own units
//	required  "yes": the key must be there and must not be ""
//	auto      "yes": "auto" is a value too (Auto)
//	empty     "yes": "" is a value too (of an enum, or zero of a size)
//	expanded  "yes": the file has a template, the field what it gives

// A fromTOML type reads itself from a scalar: a string, int64, float64, bool or
// time.Time. Its default arrives as a string.
type fromTOML interface{ fromTOML(v any) error }

// errWrongType says what a value must be when it is of another type.
type errWrongType struct{ want string }

func (e errWrongType) Error() string { return "must be " + e.want }

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	secretType   = reflect.TypeFor[Secret]()
	fromTOMLType = reflect.TypeFor[fromTOML]()
)

// A field is a key of a section and where its value goes.
type field struct {
	name string
	v    reflect.Value
	tag  reflect.StructTag
}

// fields lists the keys of a section; those of an embedded struct are its own.
func fields(v reflect.Value) []field {
	var list []field
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			list = append(list, fields(v.Field(i))...)
		} else if name := f.Tag.Get("toml"); name != "" {
			list = append(list, field{name, v.Field(i), f.Tag})
		}
	}
	return list
}

// isSection reports whether t is a table of the file.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(fromTOMLType)
}

// preset gives every field of a section its default.
func preset(v reflect.Value) {
	for _, f := range fields(v) {
		if text, ok := f.tag.Lookup("default"); ok {
			if err := setText(f.v, text, f.tag); err != nil {
				panic(fmt.Sprintf("default of %s in %s: %v", f.name, v.Type(), err))
			}
		} else if isSection(f.v.Type()) {
			preset(f.v)
		}
	}
}

// setText sets a scalar from the text of a struct tag.
func setText(v reflect.Value, text string, tag reflect.StructTag) error {
	var value any = text
	_, own := v.Addr().Interface().(fromTOML)
	var err error
	switch {
	case own || v.Type() == durationType || v.Type() == sizeType:
	case v.Kind() == reflect.Int:
		value, err = strconv.ParseInt(text, 10, 64)
	case v.Kind() == reflect.Float64:
		value, err = strconv.ParseFloat(text, 64)
	case v.Kind() == reflect.Bool:
		value, err = strconv.ParseBool(text)
	}
	if err != nil {
		return err
	}
	return setScalar(v, value, tag)
}

type decoder struct {
	report  func(pos Position, key, msg string)
	pending map[string]rule
	secrets map[string]string // as Config's
}

// table decodes n into the section v. path is where it stands, such as
// "bridge[0]", pattern the same without numbers: "bridge[]".
func (d *decoder) table(n *node, v reflect.Value, path, pattern string) {
	known := fields(v)
	for _, name := range n.names {
		kid := n.kids[name]
		p := join(path, name)
		f, ok := lookup(known, name)
		if !ok {
			if s, isFile := lookup(known, strings.TrimSuffix(name, "_file")); isFile && s.v.Type() == secretType {
				d.secretFile(n, kid, s, p)
			} else {
				d.report(kid.key, p, "is not a known key"+d.hint(name, path, known))
			}
			continue
		}
		pat := strings.TrimPrefix(pattern+"."+name, ".")
		if d.value(kid, f.v, f.tag, p, pat) {
			d.refuse(kid, f, p, pat)
		}
	}
	for _, f := range known {
		if f.tag.Get("required") != "" && f.tag.Get("default") == "" && n.kids[f.name] == nil {
			d.report(n.pos, join(path, f.name), "is missing")
		}
	}
}

func lookup(known []field, name string) (field, bool) {
	for _, f := range known {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}

// refuse reports a value that this version does not support.
func (d *decoder) refuse(n *node, f field, path, pattern string) {
	r, ok := d.pending[pattern]
	if !ok {
		return
	}
	if msg := r.refuse(f); msg != "" {
		d.report(n.key, path, msg)
	}
}

// value decodes n into v and reports whether it could.
func (d *decoder) value(n *node, v reflect.Value, tag reflect.StructTag, path, pattern string) bool {
	if n.bad {
		return false
	}
	wrong := func(want string) bool {
		d.report(n.pos, path, "must be "+want+", not "+n.what())
		return false
	}
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		if n.kind != kindTable {
			return wrong("a table")
		}
		v.Set(reflect.New(t.Elem()))
		preset(v.Elem())
		d.table(n, v.Elem(), path, pattern)
		return true
	case isSection(t):
		if n.kind == kindArray && n.open {
			return wrong("one table: write [" + path + "]")
		}
		if n.kind != kindTable {
			return wrong("a table")
		}
		d.table(n, v, path, pattern)
		return true
	case t.Kind() == reflect.Map:
		if n.kind != kindTable {
			return wrong("a table")
		}
		return d.words(n, v, path)
	case t.Kind() == reflect.Slice:
		if n.kind == kindTable && isSection(t.Elem()) {
			return wrong("an array of tables: write [[" + path + "]]")
		}
		if n.kind != kindArray {
			return wrong("an array")
		}
		return d.array(n, v, path, pattern)
	case n.kind != kindScalar:
		return wrong(wantOf(v))
	}
	err := setScalar(v, n.val, tag)
	if _, ok := err.(errWrongType); ok {
		return wrong(err.(errWrongType).want)
	}
	if err != nil {
		d.report(n.pos, path, err.Error())
	}
	d.secret(n, v, path)
	return err == nil
}

func (d *decoder) array(n *node, v reflect.Value, path, pattern string) bool {
	ok := true
	for i, item := range n.items {
		e := reflect.New(v.Type().Elem()).Elem()
		if isSection(e.Type()) {
			preset(e)
		}
		f := field{v: e}
		p, pat := index(path, i), pattern+"[]"
		if d.value(item, e, "", p, pat) {
			d.refuse(item, f, p, pat)
		} else {
			ok = false
		}
		v.Set(reflect.Append(v, e)) // also when wrong: the numbers of the others must stay right
	}
	return ok
}

// words decodes a table whose keys are free and whose values are strings.
func (d *decoder) words(n *node, v reflect.Value, path string) bool {
	ok := true
	for _, name := range n.names {
		s, is := n.kids[name].val.(string)
		if !is {
			d.report(n.kids[name].pos, join(path, name), "must be a string, not "+n.kids[name].what())
			ok = false
			continue
		}
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		v.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(s))
	}
	return ok
}

// wantOf names the type that a scalar field takes.
func wantOf(v reflect.Value) string {
	switch {
	case v.Type() == durationType:
		return "a string such as \"30s\""
	case v.Type() == sizeType:
		return "a string such as \"64KiB\""
	case v.Kind() == reflect.Int:
		return "an integer"
	case v.Kind() == reflect.Float64:
		return "a number"
	case v.Kind() == reflect.Bool:
		return "true or false"
	}
	return "a string"
}

// setScalar sets v from a scalar of the file and checks what the tags say.
func setScalar(v reflect.Value, value any, tag reflect.StructTag) error {
	wrong := errWrongType{wantOf(v)}
	if own, ok := v.Addr().Interface().(fromTOML); ok {
		return own.fromTOML(value)
	}
	if s, ok := value.(string); ok && (v.Type() == durationType || v.Type() == sizeType) {
		var n int64
		var err error
		switch {
		case s == "auto" && tag.Get("auto") != "":
			v.SetInt(Auto)
			return nil
		case s == "" && tag.Get("empty") != "":
			v.SetInt(0)
			return nil
		case v.Type() == durationType:
			var x time.Duration
			x, err = parseDuration(s)
			n = int64(x)
		default:
			var x Size
			x, err = parseSize(s)
			n = int64(x)
		}
		if err == nil {
			err = checkRange(v.Type(), float64(n), tag)
		}
		if err == nil {
			v.SetInt(n)
		}
		return err
	}
	switch v.Kind() {
	case reflect.String:
		s, ok := value.(string)
		if !ok {
			return wrong
		}
		if err := checkWord(s, tag); err != nil {
			return err
		}
		v.SetString(s)
	case reflect.Bool:
		b, ok := value.(bool)
		if !ok {
			return wrong
		}
		v.SetBool(b)
	case reflect.Int:
		n, ok := value.(int64)
		if !ok {
			return wrong
		}
		if int64(int(n)) != n {
			return fmt.Errorf("%d is out of range", n)
		}
		if err := checkRange(v.Type(), float64(n), tag); err != nil {
			return err
		}
		v.SetInt(n)
	case reflect.Float64:
		f, ok := value.(float64)
		if n, isInt := value.(int64); isInt {
			f, ok = float64(n), true
		}
		if !ok {
			return wrong
		}
		if f-f != 0 {
			return fmt.Errorf("must be a finite number")
		}
		if err := checkRange(v.Type(), f, tag); err != nil {
			return err
		}
		v.SetFloat(f)
	default: // a size or a duration that is not a string
		return wrong
	}
	return nil
}

func checkWord(s string, tag reflect.StructTag) error {
	if s == "" && tag.Get("required") != "" {
		return fmt.Errorf("must not be empty")
	}
	list := strings.Fields(tag.Get("enum"))
	if len(list) == 0 || s == "" && tag.Get("empty") != "" {
		return nil
	}
	for _, w := range list {
		if s == w {
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s%s", s, strings.Join(list, ", "), didYouMean(s, list))
}

// checkRange compares x, in the units of the type, with the tags. Durations
// are never negative.
func checkRange(t reflect.Type, x float64, tag reflect.StructTag) error {
	bound := func(name string) (string, float64, bool) {
		text, ok := tag.Lookup(name)
		if !ok {
			return "0", 0, name == "min" && t == durationType
		}
		b := reflect.New(t).Elem()
		if err := setText(b, text, ""); err != nil {
			panic(fmt.Sprintf("bound %s: %v", text, err))
		}
		if t.Kind() == reflect.Float64 {
			return text, b.Float(), true
		}
		return text, float64(b.Int()), true
	}
	lowText, low, hasLow := bound("min")
	highText, high, hasHigh := bound("max")
	switch {
	case hasLow && hasHigh && (x < low || x > high):
		return fmt.Errorf("must be from %s to %s", lowText, highText)
	case hasLow && x < low && lowText == "0":
		return fmt.Errorf("must not be negative")
	case hasLow && x < low:
		return fmt.Errorf("must be at least %s", lowText)
	case hasHigh && x > high:
		return fmt.Errorf("must be at most %s", highText)
	}
	return nil
}

// foreignNames are what other programs call our keys, where no likeness of the
// letters shows it.
var foreignNames = map[string]struct{ key, say string }{
	"baudrate":        {"baud", "baud"},
	"baud_rate":       {"baud", "baud"},
	"speed":           {"baud", "baud"},
	"device":          {"port", "port"},
	"parity":          {"mode", `mode = "8E1"`},
	"data_bits":       {"mode", `mode = "8E1"`},
	"bytesize":        {"mode", `mode = "8E1"`},
	"stop_bits":       {"mode", `mode = "8N2"`},
	"stopbits":        {"mode", `mode = "8N2"`},
	"allow_anonymous": {"anonymous", "anonymous"},
	"url":             {"servers", "servers"},
	"host":            {"servers", "servers"},
	"clientid":        {"client_id", "client_id"},
	"user":            {"username", "username"},
}

// hint finds what an unknown key was meant to be: one that is near among its
// neighbours, else one of that very name in another section.
func (d *decoder) hint(name, path string, known []field) string {
	var names []string
	for _, f := range known {
		names = append(names, f.name)
		if f.v.Type() == secretType {
			names = append(names, f.name+"_file")
		}
	}
	if own, ok := foreignNames[name]; ok && slices.Contains(names, own.key) {
		return " (did you mean " + own.say + "?)"
	}
	if h := didYouMean(name, names); h != "" {
		return h
	}
	if at := elsewhere(reflect.TypeFor[Config](), "", name); at != "" && path != "" {
		return " here (it belongs to " + at + ")"
	} else if at != "" {
		return " outside a section (it belongs to " + at + ")"
	}
	return ""
}

// elsewhere finds the first section below t that has the key.
func elsewhere(t reflect.Type, section, name string) string {
	for _, f := range fields(reflect.New(t).Elem()) {
		if f.name == name && section != "" {
			return section
		}
		e, sub := f.v.Type(), strings.TrimPrefix(strings.Trim(section, "[]")+"."+f.name, ".")
		shown := "[" + sub + "]"
		if e.Kind() == reflect.Slice {
			shown = "[[" + sub + "]]"
		}
		if e.Kind() == reflect.Slice || e.Kind() == reflect.Pointer {
			e = e.Elem()
		}
		if isSection(e) {
			if at := elsewhere(e, shown, name); at != "" {
				return at
			}
		}
	}
	return ""
}
