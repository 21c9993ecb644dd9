package config

import (
	"path/filepath"
	"slices"
)

// decodersWithFields make values that {field:NAME} can take a part of.
var decodersWithFields = []string{"json", "nmea", "keyvalue", "csv", "regexp", "binary"}

func (k *checker) serial(i int, s *Serial) {
	path := index("serial", i)
	k.stream(path, &s.Stream, []string{"port", "time"})
	switch {
	case s.Port != "" && s.Match != nil:
		k.fail(path+".match", "is set beside port; give one of them")
	case s.Port == "" && s.Match == nil && !k.c.isSet(path+".match"):
		k.fail(path+".port", "is missing: give the path of the port, such as /dev/serial/by-id/usb-…")
	case s.Port != "" && s.Port[0] != '/':
		k.fail(path+".port", "%q is not the path of a port: it must begin with a /, such as /dev/ttyUSB0 (ls /dev/serial/by-id/* /dev/tty[A-Z]* shows those there are)", s.Port)
	case s.Port != "":
		if _, err := filepath.Match(s.Port, ""); err != nil {
			k.fail(path+".port", "%q is not a valid glob; a literal [ is written \\[", s.Port)
		}
	}
	for j := range i {
		if o := &k.c.Serial[j]; s.Enabled && o.Enabled && s.Port != "" && o.Port == s.Port {
			first := index("serial", j)
			k.fail(path+".port", "is the port of %s already (at %s)", first, k.c.At(first+".port"))
			break
		}
	}
}

func (k *checker) tcp(i int, t *TCP) {
	path := index("tcp", i)
	k.stream(path, &t.Stream, []string{"remote", "port", "time"})
	switch {
	case t.Listen != "" && t.Connect != "":
		k.fail(path+".connect", "is set beside listen; give one of them")
	case t.Listen == "" && !k.c.isSet(path+".connect"):
		k.fail(path+".listen", "is missing: give the address that devices connect to, such as \":7000\"")
	case t.Listen != "":
		k.hostPort(path+".listen", t.Listen, "")
	}
}

// stream checks what serial and TCP have in common; own are the placeholders of
// its topic.
func (k *checker) stream(path string, s *Stream, own []string) {
	name := k.name(path, s.Name, k.adapters)
	k.belongs(path+".frame", s.Frame.Type, frameKeys)
	k.belongs(path+".decode", s.Decode.Type, decodeKeys)
	if s.Frame.Type == "line" && s.Frame.Ending == "" {
		k.fail(path+".frame.ending", "must not be empty")
	}
	if limit := k.c.Broker.MaxPacketSize; limit != Auto && s.Frame.Max > limit {
		k.fail(path+".frame.max", "must be at most broker.max_packet_size, here %s", limit)
	}
	now := known{"gateway": k.c.Gateway.ID, "name": name}
	if slices.Contains(decodersWithFields, s.Decode.Type) || len(s.Set) > 0 {
		own = append(own, "field:")
	}
	s.Topic = k.topic(path+".topic", s.Topic, now, own, false)
	if s.DeadBand > 0 && !s.OnChange {
		k.fail(path+".dead_band", "means nothing without on_change = true")
	}
	k.topicText(path+".status", &s.Status, now, true)
	if c := s.Command; c != nil {
		path += ".command"
		if c.Topic == "" {
			k.fail(path+".topic", "must not be empty")
		}
		k.filterText(path+".topic", &c.Topic, now)
		k.topicText(path+".reply", &c.Reply, now, true)
		k.topicText(path+".states", &c.States, now, true)
		c.Encode, _ = k.template(path+".encode", c.Encode, now, []string{"payload", "topic", "field:"})
	}
}
