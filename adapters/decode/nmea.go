package decode

import (
	"bytes"
	"errors"
	"fmt"
)

// NMEA takes the sentences of NMEA 0183: $GPGGA,…*47. The checksum must be
// there and right: half a sentence is an error, not a position.
//
// A value has the fields talker (GP) and type (GGA), and for the sentences in
// the table those named there, null where the sentence has nothing; for all
// others fields, the array of its parts as text. A proprietary sentence
// ($PGRME) has the talker P. Make one for each link.
type NMEA struct {
	parts  [][]byte
	object object
	array  []byte
}

// Decode implements Decoder.
func (d *NMEA) Decode(frame []byte, v *Value) error {
	body, err := checked(bytes.TrimSpace(frame))
	if err != nil {
		return err
	}
	address, rest, some := bytes.Cut(body, []byte(","))
	talker, kind, err := addressOf(address)
	if err != nil {
		return err
	}
	d.parts = d.parts[:0]
	for some {
		var part []byte
		part, rest, some = bytes.Cut(rest, []byte(","))
		d.parts = append(d.parts, part)
	}
	d.object.begin()
	d.object.add("talker", d.object.names.of(talker))
	d.object.add("type", d.object.names.of(kind))
	switch items, known := sentences[string(kind)]; {
	case known && len(talker) == 2:
		err = d.named(items)
	case string(kind) == "GSA" && len(talker) == 2:
		err = d.gsa()
	case string(kind) == "GSV" && len(talker) == 2:
		err = d.gsv()
	default:
		d.object.add("fields", d.list(d.parts, appendText))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	d.object.end(v)
	return nil
}

// checked gives what stands between $ and *, when the sum behind it is right.
func checked(frame []byte) ([]byte, error) {
	if len(frame) == 0 || frame[0] != '$' && frame[0] != '!' {
		return nil, fmt.Errorf("%q begins with neither $ nor !, as a sentence does", show(frame))
	}
	i := bytes.LastIndexByte(frame, '*')
	if i < 0 {
		return nil, fmt.Errorf("%q has no checksum (* and two digits at its end)", show(frame))
	}
	body, digits := frame[1:i], frame[i+1:]
	var said, sum byte
	if len(digits) != 2 {
		return nil, fmt.Errorf("checksum %q is not two digits", show(digits))
	}
	for _, c := range digits {
		n := bytes.IndexByte([]byte("0123456789ABCDEF"), bytes.ToUpper([]byte{c})[0])
		if n < 0 {
			return nil, fmt.Errorf("checksum %q is not hexadecimal", show(digits))
		}
		said = said<<4 | byte(n)
	}
	for _, c := range body {
		sum ^= c
	}
	if sum != said {
		return nil, fmt.Errorf("checksum is %02X, the sentence's own is %02X", said, sum)
	}
	return body, nil
}

var errAddress = errors.New("has no talker and type")

// addressOf splits GPGGA into GP and GGA, PGRME into P and GRME.
func addressOf(address []byte) (talker, kind []byte, err error) {
	for _, c := range address {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return nil, nil, fmt.Errorf("%q %w", show(address), errAddress)
		}
	}
	switch {
	case len(address) > 1 && address[0] == 'P':
		return address[:1], address[1:], nil
	case len(address) == 5:
		return address[:2], address[2:], nil
	}
	return nil, nil, fmt.Errorf("%q %w", show(address), errAddress)
}

// list makes a JSON array of parts.
func (d *NMEA) list(parts [][]byte, one func(dst, part []byte) []byte) JSON {
	d.array = append(d.array[:0], '[')
	for i, p := range parts {
		if i > 0 {
			d.array = append(d.array, ',')
		}
		d.array = one(d.array, p)
	}
	d.array = append(d.array, ']')
	return JSON(d.array)
}

func appendText(dst, part []byte) []byte { return appendString(dst, string(part)) }

func appendGuess(dst, part []byte) []byte { return appendJSON(dst, Guess(part)) }

// part is the i-th part, "" when there are fewer.
func (d *NMEA) part(i int) []byte {
	if i < len(d.parts) {
		return d.parts[i]
	}
	return nil
}

// named adds the fields of a sentence in the table.
func (d *NMEA) named(items []item) error {
	for i := 0; len(items) > 0; items = items[1:] {
		it := items[0]
		if it.name != "" {
			value, err := it.kind.read(d.part(i), d.part(i+1))
			if err != nil {
				return fmt.Errorf("%s: %w", it.name, err)
			}
			d.object.add(it.name, value)
		}
		i += it.kind.parts()
	}
	return nil
}

// gsa is: selection, fix, the satellites in use in 12 places, three dilutions.
func (d *NMEA) gsa() error {
	if len(d.parts) < 17 {
		return fmt.Errorf("has %d parts, not 17", len(d.parts))
	}
	var used [12][]byte
	n := 0
	for _, p := range d.parts[2:14] {
		if len(p) > 0 {
			used[n] = p
			n++
		}
	}
	all := d.parts
	defer func() { d.parts = all }()
	d.parts = all[:2]
	if err := d.named([]item{{"selection", plain}, {"fix", numeric}}); err != nil {
		return err
	}
	d.object.add("satellites", d.list(used[:n], appendGuess))
	d.parts = all[14:]
	return d.named([]item{{"pdop", numeric}, {"hdop", numeric}, {"vdop", numeric}})
}

// gsv is: messages, number of this one, satellites in view, then four parts for
// each of up to four of them, and perhaps a signal.
func (d *NMEA) gsv() error {
	if err := d.named([]item{{"messages", numeric}, {"message", numeric}, {"in_view", numeric}}); err != nil {
		return err
	}
	d.array = append(d.array[:0], '[')
	for i := 3; i+4 <= len(d.parts); i += 4 {
		if i > 3 {
			d.array = append(d.array, ',')
		}
		for j, name := range []string{`{"id":`, `,"elevation":`, `,"azimuth":`, `,"snr":`} {
			d.array = append(d.array, name...)
			d.array = appendGuess(d.array, d.parts[i+j])
		}
		d.array = append(d.array, '}')
	}
	d.object.add("satellites", JSON(append(d.array, ']')))
	return nil
}
