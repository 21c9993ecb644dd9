package mosquitto

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"packetboat/config"
)

// security is who may log in and do what: of all listeners, or of one.
type security struct {
	anonymous option // not set: the default
	passwords option
	acl       option
	plugin    option // one that decides instead
}

// listener is a listener of Mosquitto.
type listener struct {
	at        option // its line; not set: the default one
	port      string // of the default one: "" is 1883
	host      string
	unix      string
	portLine  option
	websocket bool
	domain    option
	max       int // connections; -1: no limit

	cafile, capath, cert, key, crl       option
	require, identity, subject           bool
	requireLine, identityLine, subjectAt option

	own     *security
	blocked []blocker
}

// blocker is a line without which a listener would let in more than before.
type blocker struct {
	at  option
	why string
}

// settings are what goes into [broker], [queue] and [log]: keys in TOML.
type settings struct {
	broker, queue, log []setting
	aliases            int
	packetSize         option // max_packet_size, which goes before message_size_limit
}

type setting struct{ key, value string }

// sort puts an option where it belongs.
func (im *importer) sort(o option) {
	if o.value == "" && o.key != "connection" && o.key != "listener" { // which begin something, whatever it is called
		im.lost(o, "has no value; it was left out")
		return
	}
	switch {
	case im.ofBridge(o), im.ofSecurity(o), im.ofListener(o), im.ofBroker(o):
		return
	}
	if why, ok := notNeeded(o.key); ok {
		im.notNeeded(o, why)
		return
	}
	if why, ok := impossible(o.key); ok {
		im.lost(o, why)
		return
	}
	if why, ok := unlessFalse(o.key); ok {
		im.unless(o, false, why)
		return
	}
	if why, ok := unlessTrue(o.key); ok {
		im.unless(o, true, why)
		return
	}
	im.lost(o, "is no option of Mosquitto 2.0; it was left out")
}

// unless tells of an option that is not carried over, and need not when it has this
// value.
func (im *importer) unless(o option, fine bool, why string) {
	v, ok := o.bool()
	switch {
	case !ok:
		im.lost(o, notBool)
	case v == fine:
		im.notNeeded(o, "it is so here")
	default:
		im.lost(o, why)
	}
}

const notBool = "must be true or false; it was left out"

// boolean reads one, or tells that it is none.
func (im *importer) boolean(o option) bool {
	v, ok := o.bool()
	if !ok {
		im.lost(o, notBool)
	}
	return v
}

// ofSecurity takes options of users and rights.
func (im *importer) ofSecurity(o option) bool {
	s := im.security
	switch o.key {
	case "allow_anonymous":
		im.boolean(o)
		s.anonymous = o
	case "password_file":
		s.passwords = o
	case "acl_file":
		s.acl = o
	case "auth_plugin", "plugin":
		s.plugin = o
		im.lost(o, "there are no plugins; users are in auth.users, rights in [[auth.rule]]")
	default:
		if strings.HasPrefix(o.key, "auth_opt_") || strings.HasPrefix(o.key, "plugin_opt_") {
			im.notNeeded(o, "it is the plugin's")
			return true
		}
		return false
	}
	return true
}

// ofListener takes options of the listener that the lines before have begun.
func (im *importer) ofListener(o option) bool {
	l := im.current
	switch o.key {
	case "listener":
		im.begin(o)
	case "port":
		l = im.defaults
		if l.port, l.portLine = o.value, o; !isPort(o.value) {
			l.block(o, "it is no port from 1 to 65535")
		}
	case "bind_address":
		l = im.defaults
		l.host, l.portLine = o.value, o
	case "bind_interface":
		l.block(o, "a listener has an address, not an interface: give it that of "+o.value)
	case "mount_point":
		l.block(o, "there are no mount points; its clients would see all topics. [[auth.rule]] keeps users to "+o.value)
	case "psk_hint":
		l.block(o, "there is no TLS with pre-shared keys; use certificates")
	case "protocol":
		l.websocket = o.value == "websockets"
		if o.value != "websockets" && o.value != "mqtt" {
			im.lost(o, "there are mqtt and websockets; it is a listener for MQTT")
		}
	case "socket_domain":
		l.domain = o
	case "max_connections":
		n, ok := o.int()
		if !ok {
			im.lost(o, "is no number; it was left out")
			return true
		}
		l.max = n
	case "cafile":
		l.cafile = o
	case "capath":
		l.capath = o
	case "certfile":
		l.cert = o
	case "keyfile":
		l.key = o
	case "crlfile":
		l.crl = o
	case "require_certificate":
		l.require, l.requireLine = im.boolean(o), o
	case "use_identity_as_username":
		l.identity, l.identityLine = im.boolean(o), o
	case "use_subject_as_username":
		l.subject, l.subjectAt = im.boolean(o), o
	case "tls_version":
		im.tlsVersion(o)
	default:
		return false
	}
	return true
}

func (l *listener) block(o option, why string) { l.blocked = append(l.blocked, blocker{o, why}) }

func (im *importer) tlsVersion(o option) {
	switch o.value {
	case "tlsv1.2":
		im.notNeeded(o, "it is so here")
	case "tlsv1.3":
		im.lost(o, "clients with TLS 1.2 are let in, too")
	default:
		im.lost(o, "TLS is 1.2 or 1.3: clients that have only older ones cannot connect")
	}
}

// begin begins a listener.
func (im *importer) begin(o option) {
	port, host, _ := strings.Cut(o.value, " ")
	l := &listener{at: o, port: port, host: strings.TrimSpace(host), max: -1}
	if port == "0" && strings.HasPrefix(l.host, "/") {
		l.unix, l.host = l.host, ""
	} else if !isPort(port) {
		l.block(o, "it has no port from 1 to 65535")
	}
	im.listeners, im.current = append(im.listeners, l), l
	if im.perListener {
		l.own = new(security)
		im.security = l.own
	}
}

func isPort(s string) bool {
	n, ok := option{value: s}.int()
	return ok && n > 0 && n < 1<<16 && itoa(n) == s
}

// ofBroker takes options of the whole broker.
func (im *importer) ofBroker(o option) bool {
	broker := func(key, value string) { im.settings.broker = append(im.settings.broker, setting{key, value}) }
	switch o.key {
	case "max_inflight_messages":
		im.count(o, 1, 65535, "65535", func(v string) { broker("max_inflight", v) })
	case "max_queued_messages":
		im.count(o, 1, 1<<31-1, "", func(v string) { broker("max_session_messages", v) })
	case "max_queued_bytes":
		im.count(o, 1, math.MaxInt, "", func(v string) { broker("max_session_size", size(v)) })
	case "max_packet_size":
		im.settings.packetSize = o
		im.count(o, 256, 128<<20, "", func(v string) { broker("max_packet_size", size(v)) })
	case "message_size_limit":
		im.messageSize(o)
	case "max_keepalive":
		im.count(o, 1, 65535, "", func(v string) { broker("max_keep_alive", `"`+v+`s"`) })
	case "max_topic_alias":
		n, ok := o.int()
		if !ok || n < 0 || n > 65535 {
			im.lost(o, "is no number from 0 to 65535; it was left out")
			return true
		}
		if im.settings.aliases++; im.settings.aliases > 1 {
			im.lost(o, "all listeners have one limit, broker.topic_alias_max: the first one")
			return true
		}
		broker("topic_alias_max", o.value)
	case "sys_interval":
		im.count(o, 1, 1<<31-1, `"0s"`, func(v string) { broker("sys_interval", seconds(v)) })
	case "retain_available":
		if v, ok := o.bool(); ok && !v {
			broker("retain", "false")
		} else {
			im.unless(o, true, "")
		}
	case "persistent_client_expiration":
		im.expiry(o)
	case "queue_qos0_messages":
		if v, ok := o.bool(); ok && v {
			im.settings.queue = append(im.settings.queue, setting{"qos0", `"all"`})
		} else {
			im.unless(o, false, "")
		}
	case "persistence":
		im.notNeeded(o, "what is acknowledged is on disk, always. Retained messages and sessions in mosquitto.db are not carried over: clients subscribe again, and retained messages come with their next publish")
	case "log_dest":
		im.logDest(o)
	case "log_type":
		im.logType(o)
	default:
		return false
	}
	return true
}

func itoa(n int) string { return strconv.Itoa(n) }

// size is a number of bytes as the file has it.
func size(v string) string {
	n, _ := option{value: v}.int() // it is one
	return config.Quote(config.Size(n).String())
}

func seconds(v string) string {
	if strings.HasPrefix(v, `"`) {
		return v
	}
	return `"` + v + `s"`
}

// count carries a number over that must be within least and most. zero is what stands
// for Mosquitto's 0; "": the default here, which is told.
func (im *importer) count(o option, least, most int, zero string, set func(string)) {
	n, ok := o.int()
	switch {
	case !ok || n < 0:
		im.lost(o, "is no number; it was left out")
	case n == 0 && zero != "":
		set(zero)
	case n == 0:
		im.changed(o, "there is a limit always, here the usual one (docs/configuration.md, broker)")
	case n < least:
		im.changed(o, "the least is "+itoa(least))
		set(itoa(least))
	case n > most:
		im.changed(o, "the most is "+itoa(most))
		set(itoa(most))
	default:
		set(o.value)
	}
}

// headroom is what a packet has beyond its payload: topic, properties.
const headroom = 4 << 10

func (im *importer) messageSize(o option) {
	if im.settings.packetSize.set() {
		im.lost(o, "max_packet_size is there, too, and counts")
		return
	}
	im.count(o, 256, 128<<20-headroom, "", func(v string) {
		n, _ := option{value: v}.int() // it is one
		im.settings.broker = append(im.settings.broker, setting{"max_packet_size", size(itoa(n + headroom))})
		im.changed(o, "it bounds whole packets now (payload, topic, properties); who sends a larger one is disconnected, where Mosquitto dropped the message")
	})
}

// expiry carries persistent_client_expiration over.
func (im *importer) expiry(o option) {
	days := map[string]int{"d": 1, "w": 7, "m": 30, "y": 365}
	if len(o.value) < 2 {
		im.lost(o, "is no time such as 14d; it was left out")
		return
	}
	n, ok := option{value: o.value[:len(o.value)-1]}.int()
	unit := o.value[len(o.value)-1:]
	value := ""
	switch {
	case !ok || n <= 0 || n > 100_000 || days[unit] == 0 && unit != "h":
		im.lost(o, "is no time such as 14d; it was left out")
		return
	case unit == "h":
		value = itoa(n) + "h"
	case n*days[unit] > 36_500:
		value = "36500d"
	default:
		value = itoa(n*days[unit]) + "d"
	}
	im.settings.broker = append(im.settings.broker, setting{"max_session_expiry", `"` + value + `"`})
}

func (im *importer) logDest(o option) {
	switch dest, _, _ := strings.Cut(o.value, " "); dest {
	case "file":
		im.changed(o, "the log goes to the journal (journalctl -u packetboat), which keeps it small and finds it again")
	case "topic":
		im.lost(o, "the log is not published; packetboat status and the API say what is wrong")
	case "none":
		im.changed(o, "the log goes to the journal; log.level = \"error\" makes it short")
	case "dlt":
		im.lost(o, "the log goes to the journal, not to DLT")
	default:
		im.notNeeded(o, "under systemd the log goes to the journal, else to standard error")
	}
}

// logType sets the level once, to the most talkative that is asked for.
func (im *importer) logType(o option) {
	levels := []string{"error", "warn", "info", "debug"}
	level := 0
	for _, kind := range strings.Fields(o.value) {
		switch kind {
		case "all", "debug":
			level = max(level, 3)
		case "notice", "information", "subscribe", "unsubscribe", "websockets":
			level = max(level, 2)
		case "warning":
			level = max(level, 1)
		case "error", "none":
		default:
			im.lost(o, kind+" is no type of log message; it was left out")
			return
		}
	}
	for _, s := range im.settings.log { // of a line before
		level = max(level, slices.Index(levels, strings.Trim(s.value, `"`)))
	}
	im.settings.log = []setting{{"level", `"` + levels[level] + `"`}}
}
