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
	case t.Listen != "":
		k.hostPort(path+".listen", t.Listen, "")
		k.listenTLS(path, t)
	case t.Connect != "":
		k.connect(path, t)
	case !k.reported[path+".connect"]:
		k.fail(path+".listen", "is missing: give the address that devices connect to, such as \":7000\", or connect, the address of a device to call")
	}
	k.besideConfig(path+".tls", map[string]*string{"cert": &t.TLS.Cert, "key": &t.TLS.Key, "client_ca": &t.TLS.ClientCA, "ca": &t.TLS.CA})
}

// connect checks the keys of a device that is called.
func (k *checker) connect(path string, t *TCP) {
	switch host, port, msg := splitHostPort(t.Connect); {
	case msg != "":
		k.fail(path+".connect", "%q %s", t.Connect, msg)
	case host == "" || port == "0":
		k.fail(path+".connect", "%q must have a host and a port, such as 10.0.0.9:4001", t.Connect)
	}
	if t.Identity != "peer" {
		k.fail(path+".identity", "is for devices that connect here (listen); that of connect is its host")
	}
	if k.c.isSet(path + ".max_connections") {
		k.fail(path+".max_connections", "belongs to listen")
	}
	tls := &t.TLS
	if tls.ClientCA != "" {
		k.fail(path+".tls.client_ca", "belongs to listen; the authority of the device's certificate is ca")
	}
	if tls.ClientCert != "optional" {
		k.fail(path+".tls.client_cert", "belongs to listen")
	}
	if tls.Cert == "" && tls.Key != "" {
		k.fail(path+".tls.cert", "is missing: it goes with key")
	}
	if tls.Key == "" && tls.Cert != "" {
		k.fail(path+".tls.key", "is missing: it goes with cert")
	}
}

// listenTLS checks the keys of TLS where devices connect.
func (k *checker) listenTLS(path string, t *TCP) {
	tls := &t.TLS
	if tls.ClientCert == "username" && t.Identity == "first-frame" {
		k.fail(path+".identity", "is first-frame, but tls.client_cert = \"username\" names the devices already; choose one")
	}
	path += ".tls"
	for _, s := range []struct{ key, value string }{{"ca", tls.CA}, {"server_name", tls.ServerName}, {"alpn", strings.Join(tls.ALPN, " ")}} {
		if s.value != "" {
			k.fail(path+"."+s.key, "belongs to connect")
		}
	}
	if tls.ClientCA == "" && tls.ClientCert != "optional" {
		k.fail(path+".client_cert", needsClientCA)
	}
	if tls.Cert == "" && (tls.Key != "" || tls.ClientCA != "") {
		k.fail(path+".cert", "is missing: the file with the certificate that devices see")
	}
	if tls.Key == "" && (tls.Cert != "" || tls.ClientCA != "") {
		k.fail(path+".key", "is missing: the file with the key of cert")
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
		c.Topic = k.commandTopic(path+".topic", c.Topic, now, peers)
		k.topicText(path+".reply", &c.Reply, now, true)
		k.topicText(path+".states", &c.States, now, true)
		c.Encode, _ = k.template(path+".encode", c.Encode, now, []string{"payload", "topic", "field:"})
	}
}

// commandTopic checks the filter that commands come from; own are its placeholders.
func (k *checker) commandTopic(key string, t Template, now known, own []string) Template {
	if t.src == "" {
		k.fail(key, "must not be empty")
		return t
	}
	parsed, ok := k.template(key, t, now, own)
	if !ok {
		return parsed
	}
	sample := string(parsed.Expand(nil, func(dst []byte, _ string) []byte { return append(dst, 'x') }))
	if _, msg := filterProblem(sample); msg != "" {
		k.fail(key, "%s", msg)
	}
	return parsed
}
