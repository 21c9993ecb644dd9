package config

import (
	"path/filepath"
	"slices"
	"strings"
)

// decodersWithFields make values that {field:NAME} can take a part of.
var decodersWithFields = []string{"json", "nmea", "keyvalue", "csv", "regexp", "binary"}

func (k *checker) serial(i int, s *Serial) {
	path := index("serial", i)
	k.stream(path, &s.Stream, []string{"port", "time"})
	if s.Port != "" && s.Match != nil && *s.Match == (USB{}) {
		s.Match = nil // off
	}
	switch {
	case s.Port != "" && s.Match != nil:
		k.fail(path+".match", "is set beside port; give one of them")
	case s.Match != nil:
		k.usb(path+".match", s.Match)
	case s.Port == "" && !k.c.isSet(path+".match"):
		k.fail(path+".port", "is missing: give the path of the port, such as /dev/serial/by-id/usb-…, or match with its USB identity (packetboat ports lists both)")
	case s.Port != "" && s.Port[0] != '/':
		k.fail(path+".port", "%q is not the path of a port: it must begin with a /, such as /dev/ttyUSB0 (packetboat ports lists those there are)", s.Port)
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
		if o := &k.c.Serial[j]; s.Enabled && o.Enabled && s.Match != nil && o.Match != nil && *s.Match == *o.Match {
			first := index("serial", j)
			k.fail(path+".match", "is that of %s already (at %s)", first, k.c.At(first+".match"))
			break
		}
	}
}

// usb checks the USB identity of a port.
func (k *checker) usb(path string, u *USB) {
	for key, id := range map[string]*string{"vid": &u.VID, "pid": &u.PID} {
		if *id != "" && (len(*id) != 4 || strings.Trim(*id, "0123456789abcdefABCDEF") != "") {
			k.fail(path+"."+key, "%q is not four hexadecimal digits, such as \"0403\" (packetboat ports shows them)", *id)
		}
		*id = strings.ToLower(*id)
	}
	switch {
	case *u == (USB{}):
		k.fail(path, "names nothing: give vid and pid, and serial where there are several of a kind (packetboat ports shows them)")
	case u.VID == "" && u.PID != "":
		k.fail(path+".vid", "is missing: pid means something together with vid only")
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
	if slices.Contains(decodersWithFields, s.Decode.Type) {
		own = append(own, "field:")
	}
	s.Topic = k.topic(path+".topic", s.Topic, now, own, false)
	var peers []string
	if slices.Contains(own, "remote") {
		peers = []string{"remote"}
	}
	s.Status = k.topic(path+".status", s.Status, now, peers, true)
	if s.SilentAfter > 0 && s.Status.IsZero() && !k.reported[path+".status"] {
		k.fail(path+".silent_after", "needs status, the topic that says silent")
	}
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
