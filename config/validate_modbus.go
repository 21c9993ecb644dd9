package config

import "path/filepath"

func (k *checker) modbus(i int, m *Modbus) {
	path := index("modbus", i)
	name := k.name(path, m.Name, k.adapters)
	now := known{"gateway": k.c.Gateway.ID, "name": name}
	m.Topic = k.topic(path+".topic", m.Topic, now, []string{"unit"}, false)
	m.Status = k.topic(path+".status", m.Status, now, []string{"unit"}, true)
	if len(m.Units) > 1 && m.Topic.String() != "" && !m.Topic.Uses("unit") {
		k.fail(path+".topic", "must have {unit}: there are several units, and nobody could tell whose values come or whom a command is for")
	}
	k.modbusLine(path, m)
	for j := range i {
		if o := &k.c.Modbus[j]; m.Enabled && o.Enabled && m.Port != "" && o.Port == m.Port {
			k.taken(path+".port", index("modbus", j))
			break
		}
	}
	for j := range k.c.Serial {
		if o := &k.c.Serial[j]; m.Enabled && o.Enabled && m.Port != "" && o.Port == m.Port {
			k.taken(path+".port", index("serial", j))
			break
		}
	}
	if len(m.Units) == 0 {
		k.fail(path+".unit", "is missing: add a [[modbus.unit]] for each device")
	}
	for j := range m.Units {
		k.modbusUnit(path, j, m)
	}
}

// taken reports a port that another adapter has.
func (k *checker) taken(key, first string) {
	k.fail(key, "is the port of %s already (at %s); units on one line belong into one [[modbus]]", first, k.c.At(first+".port"))
}

// modbusLine checks where the units are.
func (k *checker) modbusLine(path string, m *Modbus) {
	if m.Match != nil && *m.Match == (USB{}) && (m.Port != "" || m.Connect != "") {
		m.Match = nil // off
	}
	switch {
	case m.Connect != "" && (m.Port != "" || m.Match != nil):
		k.fail(path+".connect", "is set beside port or match; give one of them")
	case m.Connect != "":
		switch host, port, msg := splitHostPort(m.Connect); {
		case msg != "":
			k.fail(path+".connect", "%q %s", m.Connect, msg)
		case host == "" || port == "0":
			k.fail(path+".connect", "%q must have a host and a port, such as 10.0.0.7:502", m.Connect)
		}
		for _, key := range []string{".baud", ".mode"} {
			if k.c.isSet(path + key) {
				k.fail(path+key, "belongs to a serial port; connect is a network connection")
			}
		}
	case m.Port != "" && m.Match != nil:
		k.fail(path+".match", "is set beside port; give one of them")
	case m.Match != nil:
		k.usb(path+".match", m.Match)
	case m.Port == "" && !k.c.isSet(path+".match"):
		k.fail(path+".port", "is missing: give the path of the port, such as /dev/serial/by-id/usb-…, match with its USB identity (packetboat ports lists both), or connect = \"HOST:502\"")
	case m.Port != "" && m.Port[0] != '/':
		k.fail(path+".port", "%q is not the path of a port: it must begin with a /, such as /dev/ttyUSB0 (ls /dev/serial/by-id/* /dev/tty[A-Z]* shows those there are)", m.Port)
	case m.Port != "":
		if _, err := filepath.Match(m.Port, ""); err != nil {
			k.fail(path+".port", "%q is not a valid glob; a literal [ is written \\[", m.Port)
		}
	}
	if m.Connect == "" && (m.Mode.Data != 8 || m.Mode.Stop == "1.5") {
		k.fail(path+".mode", "must have 8 data bits, and 1 or 2 stop bits: Modbus RTU has bytes")
	}
}

func (k *checker) modbusUnit(line string, i int, m *Modbus) {
	u := &m.Units[i]
	path := index(line+".unit", i)
	if msg := levelProblem(u.Name); u.Name != "" && msg != "" {
		k.fail(path+".name", "%q %s", u.Name, msg)
	}
	if m.Connect == "" && (u.ID < 1 || u.ID > 247) {
		k.fail(path+".id", "must be 1 to 247 on a serial line: 0 is all units, which do not answer, and what is above is reserved")
	}
	for j := range i {
		first := index(line+".unit", j)
		if m.Units[j].ID == u.ID {
			k.fail(path+".id", "%d is the id of %s already (at %s)", u.ID, first, k.c.At(first))
		}
		if m.Units[j].Name == u.Name && u.Name != "" {
			k.fail(path+".name", "%q is the name of %s already (at %s)", u.Name, first, k.c.At(first+".name"))
		}
	}
	if len(u.Reads) == 0 {
		k.fail(path+".read", "is missing: add a [[modbus.unit.read]] for each value")
	}
	for j := range u.Reads {
		k.modbusRead(path, j, u)
	}
}

func (k *checker) modbusRead(unit string, i int, u *ModbusUnit) {
	r := &u.Reads[i]
	path := index(unit+".read", i)
	for j := range i {
		if first := index(unit+".read", j); u.Reads[j].Name == r.Name && r.Name != "" {
			k.fail(path+".name", "%q is the name of %s already (at %s)", r.Name, first, k.c.At(first+".name"))
		}
	}
	n, err := r.registers()
	text := len(r.Type) >= 6 && r.Type[:6] == "string"
	switch {
	case r.bits() && k.c.isSet(path+".type") && r.Type != "bool":
		k.fail(path+".type", "must be bool: a %s has one bit", r.Table)
	case err != nil:
		k.fail(path+".type", "%s", err)
	case r.Address+n > 65536:
		k.fail(path+".address", "is too high: %s takes %d registers, and the last one is 65535", r.Type, n)
	}
	if r.Scale == 0 {
		k.fail(path+".scale", "must not be 0")
	}
	if (r.bits() || r.Type == "bool" || text) && r.Scale != 1 {
		k.fail(path+".scale", "belongs to numbers")
	}
	if text && (r.Order == "big-swapped" || r.Order == "little-swapped") {
		k.fail(path+".order", "of a text is big or, with the two characters of each register swapped, little")
	}
	if r.Write && (r.Table == "discrete" || r.Table == "input") {
		k.fail(path+".write", "is not possible: a unit's table %s can only be read", r.Table)
	}
}
