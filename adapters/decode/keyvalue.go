package decode

import (
	"bytes"
	"errors"
	"fmt"
)

// KeyValue takes lists such as "t=23.5, h=40". Make one for each link.
//
// Spaces around keys and values go, blank pairs are passed over. What looks
// like a number becomes one, a value of nothing null. Of a key that comes twice
// the last value counts.
type KeyValue struct {
	Pairs  string // between pairs; " " is any run of spaces and tabs
	Equals string // between a key and its value: the first that there is

	object object
}

// maxPairs bounds the work that a frame can make.
const maxPairs = 256

// Check says what is wrong with the separators: nil or a *KeyError.
func (d *KeyValue) Check() error {
	switch {
	case d.Pairs == "":
		return &KeyError{"decode.pairs", errors.New("must not be empty: it stands between pairs, such as \",\"")}
	case d.Equals == "":
		return &KeyError{"decode.equals", errors.New("must not be empty: it stands between a key and its value, such as \"=\"")}
	case d.Pairs == d.Equals:
		return &KeyError{"decode.equals", fmt.Errorf("must differ from pairs (%q)", d.Pairs)}
	}
	return nil
}

// Decode implements Decoder.
func (d *KeyValue) Decode(frame []byte, v *Value) error {
	d.object.begin()
	sep, equals := []byte(d.Pairs), []byte(d.Equals)
	for rest, more := frame, true; more; {
		var pair []byte
		pair, rest, more = cut(rest, sep)
		pair = bytes.TrimSpace(pair)
		if len(pair) == 0 {
			continue
		}
		key, value, ok := bytes.Cut(pair, equals)
		key = bytes.TrimSpace(key)
		switch {
		case !ok:
			return fmt.Errorf("%q has no %q between a key and its value", show(pair), d.Equals)
		case len(key) == 0:
			return fmt.Errorf("%q has no key", show(pair))
		}
		if err := d.put(d.object.names.of(key), Guess(bytes.TrimSpace(value))); err != nil {
			return err
		}
	}
	if len(d.object.fields) == 0 {
		return errors.New("has no pairs")
	}
	d.object.end(v)
	return nil
}

func (d *KeyValue) put(key string, value any) error {
	for i := range d.object.fields {
		if f := &d.object.fields[i]; f.Name == key {
			f.Value = value
			return nil
		}
	}
	if len(d.object.fields) == maxPairs {
		return fmt.Errorf("has more than %d pairs", maxPairs)
	}
	d.object.add(key, value)
	return nil
}
