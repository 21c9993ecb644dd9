package modbus

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// A change is a point that a command sets.
type change struct {
	point *point
	on    bool   // a coil's
	data  []byte // the registers'
}

// requests gives the requests that write what payload says, a JSON object of
// the names of points and their values. Points whose addresses follow each
// other are written with one request. An error means that nothing is to be
// written: this is no command.
func requests(points []point, payload []byte) ([][]byte, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(payload, &object); err != nil || object == nil {
		return nil, errors.New("the payload is not a JSON object such as {\"NAME\": 1}")
	}
	if len(object) == 0 {
		return nil, errors.New("the payload names no value")
	}
	var changes []change
	for name, raw := range object {
		c, err := newChange(points, name, raw)
		if err != nil {
			return nil, fmt.Errorf("%.60q: %w", name, err)
		}
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.point.function, b.point.function), cmp.Compare(a.point.address, b.point.address),
			cmp.Compare(a.point.name, b.point.name))
	})
	return join(changes)
}

func newChange(points []point, name string, raw json.RawMessage) (c change, err error) {
	i := slices.IndexFunc(points, func(p point) bool { return p.name == name })
	if i < 0 {
		return c, errors.New("the unit has no such value")
	}
	c.point = &points[i]
	switch {
	case !c.point.write:
		return c, errors.New("is not to be written: its write is not true")
	case c.point.bits():
		c.on, err = parseBool(raw)
	default:
		c.data, err = c.point.codec.encode(raw)
	}
	return c, err
}

// join makes requests of changes in the order of their addresses.
func join(changes []change) ([][]byte, error) {
	var list [][]byte
	for len(changes) > 0 {
		first := changes[0].point
		n, end := 1, first.end()
		for n < len(changes) && changes[n].point.function == first.function && int(changes[n].point.address) <= end {
			p := changes[n].point
			if int(p.address) < end {
				return nil, fmt.Errorf("%q and %q are the same place in the unit", changes[n-1].point.name, p.name)
			}
			if p.end()-int(first.address) > maxWrite(first) {
				break
			}
			n, end = n+1, p.end()
		}
		list = append(list, request(changes[:n]))
		changes = changes[n:]
	}
	return list, nil
}

func maxWrite(p *point) int {
	if p.bits() {
		return maxWriteBits
	}
	return maxWriteRegisters
}

// request writes changes whose addresses follow each other.
func request(changes []change) []byte {
	first := changes[0].point
	var on []bool
	var data []byte
	for _, c := range changes {
		on = append(on, c.on)
		data = append(data, c.data...)
	}
	switch {
	case first.bits() && len(on) == 1:
		return appendWriteCoil(nil, first.address, on[0])
	case first.bits():
		return appendWriteCoils(nil, first.address, on)
	case len(data) == 2:
		return appendWriteRegister(nil, first.address, data)
	}
	return appendWriteRegisters(nil, first.address, data)
}

// other gives the request that writes the same for units that have only the
// functions for several coils or registers; nil when there is none.
func other(request []byte) []byte {
	address := uint16(request[1])<<8 | uint16(request[2])
	switch request[0] {
	case writeCoil:
		return appendWriteCoils(nil, address, []bool{request[3] != 0})
	case writeRegister:
		return appendWriteRegisters(nil, address, request[3:5])
	}
	return nil
}
