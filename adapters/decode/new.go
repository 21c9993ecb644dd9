package decode

import (
	"fmt"

	"packetboat/config"
)

// KeyError says which key of an adapter's section is wrong, so that its place
// in the file can be given.
type KeyError struct {
	Key string // within the section: "decode.pattern"
	Err error
}

// Error implements error.
func (e *KeyError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap gives what is wrong.
func (e *KeyError) Unwrap() error { return e.Err }

// Decoding is a configured decoder. It is immutable.
type Decoding struct {
	// New makes the decoder of one link.
	New func() Decoder

	// Open says that frames may have other fields than Fields, whatever the
	// device sends.
	Open   bool
	Fields []FieldType
}

// FieldType is what is known of a field before there is a frame.
type FieldType struct {
	Name string
	Type string // float, int, bool, string; "" is any
}

// New makes a decoding of its section. Its error is a *KeyError.
func New(cfg config.Decode) (*Decoding, error) {
	switch cfg.Type {
	case "text":
		return &Decoding{New: func() Decoder { return Text{} }}, nil
	case "raw":
		return &Decoding{New: func() Decoder { return Raw{} }}, nil
	case "hex":
		return &Decoding{New: func() Decoder { return new(Hex) }}, nil
	case "base64":
		return &Decoding{New: func() Decoder { return new(Base64) }}, nil
	case "json":
		return &Decoding{New: func() Decoder { return new(Object) }, Open: true}, nil
	case "nmea":
		return &Decoding{New: func() Decoder { return new(NMEA) }, Fields: anyType(nmeaNames())}, nil
	case "keyvalue":
		kv := KeyValue{Pairs: cfg.Pairs, Equals: cfg.Equals}
		if err := kv.Check(); err != nil {
			return nil, err
		}
		return &Decoding{New: func() Decoder { d := kv; return &d }, Open: true}, nil
	case "csv":
		c := CSV{Names: cfg.Names, Types: cfg.Types, Comma: cfg.Comma}
		if err := c.Check(); err != nil {
			return nil, err
		}
		return &Decoding{New: func() Decoder { d := c; return &d }, Fields: c.fieldTypes()}, nil
	case "regexp":
		re, err := NewRegexp(cfg.Pattern)
		if err != nil {
			return nil, err
		}
		return &Decoding{New: func() Decoder { d := *re; return &d }, Fields: anyType(re.fields())}, nil
	case "binary":
		b, err := NewBinary(cfg.Fields)
		if err != nil {
			return nil, err
		}
		return &Decoding{New: func() Decoder { d := *b; return &d }, Fields: b.fieldTypes()}, nil
	}
	return nil, &KeyError{"decode.type", fmt.Errorf("%q is not a decoder", cfg.Type)}
}

func anyType(names []string) []FieldType {
	list := make([]FieldType, len(names))
	for i, n := range names {
		list[i].Name = n
	}
	return list
}

func (d *CSV) fieldTypes() (list []FieldType) {
	for i, n := range d.Names {
		if n == "" {
			continue
		}
		f := FieldType{Name: n}
		if len(d.Types) > 0 {
			f.Type = d.Types[i]
		}
		list = append(list, f)
	}
	return list
}

func (d *Binary) fieldTypes() (list []FieldType) {
	for _, f := range d.fields {
		t := FieldType{f.name, "int"}
		switch {
		case f.number.Type == "bool" || f.number.Type == "string":
			t.Type = f.number.Type
		case f.number.Type[0] == 'f' || f.number.Scale != 1:
			t.Type = "float"
		}
		list = append(list, t)
	}
	return list
}
