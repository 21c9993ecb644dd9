package config

import (
	"strings"
	"testing"
)

// Parts of configurations without fault, one line each.
const (
	accessRule = "[[auth.rule]]\nuser = \"u\"\n"
	serial     = "serial = [{ name = \"s\", port = \"/p\" }]\n"
)

func TestErrorsSayWhereAndWhat(t *testing.T) {
	tests := []struct {
		name string
		text string
		want string // "" for none
	}{
		// Syntax.
		{"syntax: text without quotes", "[gateway]\nid = plant-7\n", `f:2:6: gateway.id: expected value but found "plant" instead; text stands in quotes: "…"`},
		{"syntax: a value is missing", "[queue]\nmax_size =\n", `f:2:11: queue.max_size: expected value but found '\n' instead`},
		{"syntax: columns count characters", "[queue]\n\"ü\" = \"é\" x\n", `f:2:10: queue: expected a top-level item to end with a newline, comment, or EOF, but got 'x' instead`},
		{"syntax: a string without its end", "[log]\nlevel = \"info\n", `f:2:14: log.level: strings cannot contain newlines`},
		{"syntax: a string that ends with the file", "log.level = \"info", `f:1:17: log.level: unexpected EOF; expected '"'`},
		{"syntax: an array without its end", "admin.users = [\"a\"", `f:1:18: admin.users: expected a comma (',') or array terminator (']'), but got end of file`},
		{"syntax: not UTF-8", "[log]\nlevel = \"\xff\"\n", `f:2:10: is not valid UTF-8 text`},
		{"syntax: a control character", "# \x01\n", `f:1:2: TOML files cannot contain control characters: '0x01'`},
		{"a byte order mark is no text", "\uFEFFx = 1\n", `f:1:1: x: is not a known key`},

		// Keys set twice in one file.
		{"twice: a key", "[log]\nlevel = \"info\"\n  level = \"warn\"\n", `f:3:3: log.level: is set twice; the first time at f:2:1`},
		{"twice: a table", "[log]\n[queue]\n[log]\n", `f:3:2: log: is set twice; the first time at f:1:2`},
		{"twice: a table and an array", "[[serial]]\nname = \"x\"\nport = \"/p\"\n[serial]\n", `f:4:2: serial: is set twice; the first time at f:1:3`},
		{"twice: an array and a table", "[serial]\n[[serial]]\n", `f:2:3: serial: is set twice; the first time at f:1:2`},
		{"twice: a dotted key and a table", "log.level = \"info\"\n[log]\n", `f:2:2: log: is set twice; the first time at f:1:1`},
		{"twice: an inline table is complete", "log = { level = \"info\" }\nlog.format = \"text\"\n", `f:2:1: log: is set twice; the first time at f:1:1`},
		{"twice: in an inline table", "log = { level = \"info\", level = \"warn\" }\n", `f:1:25: log.level: is set twice; the first time at f:1:9`},
		{"twice: written in two ways", "[log]\n\"level\" = \"info\"\n'level' = \"info\"\n", `f:3:1: log.level: is set twice; the first time at f:2:1`},

		// Unknown keys.
		{"unknown: near a known one", "[queue]\nmax_sizes = \"1GiB\"\n", `f:2:1: queue.max_sizes: is not a known key (did you mean max_size?)`},
		{"unknown: capitals", "[Queue]\n", `f:1:2: Queue: is not a known key (did you mean queue?)`},
		{"unknown: two letters swapped", "[quuee]\n", `f:1:2: quuee: is not a known key (did you mean queue?)`},
		{"unknown: known elsewhere", "[queue]\ndata_dir = \"/x\"\n", `f:2:1: queue.data_dir: is not a known key here (it belongs to [gateway])`},
		{"unknown: known in a section", "baud = 9600\n", `f:1:1: baud: is not a known key outside a section (it belongs to [[serial]])`},
		{"unknown: known in a section of a section", "priority = 1\n", `f:1:1: priority: is not a known key outside a section (it belongs to [[bridge.up]])`},
		{"unknown: the name that other programs have for it", serialWith("baudrate = 9600"), `f:4:1: serial[0].baudrate: is not a known key (did you mean baud?)`},
		{"unknown: a part of the mode", serialWith("parity = \"even\""), `f:4:1: serial[0].parity: is not a known key (did you mean mode = "8E1"?)`},
		{"unknown: Mosquitto's name", "[[listener]]\naddress = \"127.0.0.1:1\"\nallow_anonymous = true\n", `f:3:1: listener[0].allow_anonymous: is not a known key (did you mean anonymous?)`},
		{"unknown: another program's name, where the key does not belong", "[log]\ndevice = \"x\"\n", `f:2:1: log.device: is not a known key`},
		{"unknown: nothing is near", "[queue]\n\"a b\" = 1\n", `f:2:1: queue."a b": is not a known key`},
		{"unknown: in arrays of tables and dotted keys", bridge + "tls.caa = \"\"\n", `f:5:5: bridge[0].tls.caa: is not a known key (did you mean ca?)`},
		{"unknown: in an inline table after strings and comments of all kinds", "[[serial]] # [x]\nname = \"\"\"\\\n  s\"\"\" # \"\nport = '''/p''' \nframe = {trim = true, # {\n typ = 'line'}\n", `f:6:2: serial[0].frame.typ: is not a known key (did you mean type?)`},

		// Types.
		{"type: a number for a string", "[log]\nlevel = 3\n", `f:2:9: log.level: must be a string, not an integer`},
		{"type: a string for a number", serialWith(`baud = "9600"`), `f:4:8: serial[0].baud: must be an integer, not a string`},
		{"type: a point in an integer", serialWith(`baud = 9600.0`), `f:4:8: serial[0].baud: must be an integer, not a number with a point`},
		{"type: a string for a boolean", serialWith(`enabled = "yes"`), `f:4:11: serial[0].enabled: must be true or false, not a string`},
		{"type: a number for a size", "[queue]\nmax_size = 1073741824\n", `f:2:12: queue.max_size: must be a string such as "64KiB", not an integer`},
		{"type: a number for a duration", serialWith(`max_age = 5`), `f:4:11: serial[0].max_age: must be a string such as "30s", not an integer`},
		{"type: a string for a table", serialWith(`frame = "line"`), `f:4:9: serial[0].frame: must be a table, not a string`},
		{"type: a table for an array of tables", "[serial]\nname = \"s\"\n", `f:1:2: serial: must be an array of tables: write [[serial]], not a table`},
		{"type: an array of tables for a table", "[[queue]]\n", `f:1:3: queue: must be one table: write [queue], not an array`},
		{"type: a string for an array", strings.Replace(bridge, `["mqtt://h"]`, `"mqtt://h"`, 1), `f:3:11: bridge[0].servers: must be an array, not a string`},
		{"type: an item of an array", strings.Replace(bridge, `["mqtt://h"]`, `["mqtt://h", 5]`, 1), `f:3:24: bridge[0].servers[1]: must be a string, not an integer`},
		{"type: an array for a string", "log.level = []\n", `f:1:13: log.level: must be a string, not an array`},
		{"type: a date", "log.level = 2020-01-01 10:00:00\n", `f:1:13: log.level: must be a string, not a date or time`},
		{"type: a table of words with something else in it", serialWith("set = { a = 1 }"), `f:4:13: serial[0].set.a: must be a string, not an integer`},
		{"type: not a number at all", serialWith("dead_band = nan"), `f:4:13: serial[0].dead_band: must be a finite number`},
		{"type: the format of a character", serialWith(`mode = 8`), `f:4:8: serial[0].mode: must be a string such as "8N1", not an integer`},

		// Values.
		{"value: not of the list", serialWith(`flow = "rtcts"`), `f:4:8: serial[0].flow: "rtcts" is none of none, rtscts, xonxoff (did you mean rtscts?)`},
		{"value: not of the list, nothing near", "log.level = \"loud\"\n", `f:1:13: log.level: "loud" is none of debug, info, warn, error`},
		{"value: too small a size", "queue.max_size = \"8MiB\"\n", `f:1:18: queue.max_size: must be at least 16MiB`},
		{"value: a unit of bits", "queue.max_size = \"1Gib\"\n", `f:1:18: queue.max_size: "Gib" is not a unit of size; use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB (did you mean GiB?)`},
		{"value: no size", "queue.max_size = \"much\"\n", `f:1:18: queue.max_size: "much" is not a size; write a whole number and a unit, such as 64KiB or 16MiB`},
		{"value: too large a size", "queue.max_size = \"99999999TiB\"\n", `f:1:18: queue.max_size: "99999999TiB" is too large`},
		{"value: auto where there is none", "queue.max_size = \"auto\"\n", `f:1:18: queue.max_size: "auto" is not a size; write a whole number and a unit, such as 64KiB or 16MiB`},
		{"value: no duration", "queue.commit_interval = \"5 s\"\n", `f:1:25: queue.commit_interval: "5 s" is not a duration; write numbers with units, such as 500ms, 30s, 5m, 12h or 7d`},
		{"value: a negative duration", serialWith(`max_age = "-1s"`), `f:4:11: serial[0].max_age: must not be negative`},
		{"value: out of range on both sides", serialWith(`qos = 3`), `f:4:7: serial[0].qos: must be from 0 to 2`},
		{"value: a mode that no port has", serialWith(`mode = "9N1"`), `f:4:8: serial[0].mode: "9N1" is not data bits 5 to 8, parity N, E, O, M or S and stop bits 1, 1.5 or 2, such as 8N1`},
		{"value: required and missing", "[[serial]]\nport = \"/p\"\n", `f:1:3: serial[0].name: is missing`},
		{"value: required and empty", "[[serial]]\nname = \"\"\nport = \"/p\"\n", `f:2:8: serial[0].name: must not be empty`},
		{"value: an empty data directory", "gateway.data_dir = \"\"\n", `f:1:20: gateway.data_dir: must not be empty`},

		// Environment.
		{"environment: not set", "gateway.id = \"a-${NOPE}\"\n", `f:1:14: gateway.id: the environment variable NOPE is not set`},
		{"environment: no end", "gateway.id = \"${NOPE\"\n", `f:1:14: gateway.id: has a ${ without its }; a literal ${ is written $${`},
		{"environment: no name", "gateway.id = \"${1}\"\n", `f:1:14: gateway.id: "1" is no name of an environment variable; a literal ${ is written $${`},
		{"environment: in an array, and no second complaint", strings.Replace(bridge, "mqtt://h", "${NOPE}", 1), `f:3:12: bridge[0].servers[0]: the environment variable NOPE is not set`},

		// Between keys.
		{"queue: segments too large", "[queue]\nmax_size = \"16MiB\"\nsegment_size = \"4MiB\"\n", `f:3:16: queue.segment_size: must be at most an eighth of queue.max_size, here 2MiB`},
		{"broker: packets larger than half a segment", "[queue]\nmax_size = \"16MiB\"\n[broker]\nmax_packet_size = \"1MiB\"\n", `f:4:19: broker.max_packet_size: must be at most half a segment of the queue, here 128KiB (see queue.segment_size)`},
		{"broker: keep alive in parts of seconds", "broker.max_keep_alive = \"1500ms\"\n", `f:1:25: broker.max_keep_alive: must be whole seconds`},
		{"broker: retained messages larger than the queue", "broker.max_retained_size = \"1GiB\"\n", `f:1:28: broker.max_retained_size: must be at most half of queue.max_size, here 512MiB`},
		{"gateway: an id with a slash", "gateway.id = \"a/b\"\n", `f:1:14: gateway.id: "a/b" must not have "/", "+", "#", braces, spaces or control characters`},
		{"listener: no address", "[[listener]]\n", `f:1:3: listener[0].address: is missing`},
		{"listener: no port", "[[listener]]\naddress = \"127.0.0.1\"\n", `f:2:11: listener[0].address: "127.0.0.1" is not host:port, such as 127.0.0.1:1883 or [::1]:1883, or unix:PATH or systemd:NAME`},
		{"listener: a port that is none", "[[listener]]\naddress = \"127.0.0.1:mqtt\"\n", `f:2:11: listener[0].address: "127.0.0.1:mqtt" must end in a port number from 0 to 65535`},
		{"listener: a socket without path", "[[listener]]\naddress = \"unix:\"\n", `f:2:11: listener[0].address: must have a path of 1 to 107 bytes after unix:`},
		{"listener: the same address", "[[listener]]\naddress = \"localhost:1\"\n[[listener]]\naddress = \"127.0.0.1:1\"\n", `f:4:11: listener[1].address: is taken by listener[0] already (at f:2:11)`},
		{"listener: all addresses and one", "[[listener]]\naddress = \":1\"\nanonymous = true\n[[listener]]\naddress = \"127.0.0.1:1\"\n", `f:5:11: listener[1].address: is taken by listener[0] already (at f:2:11)`},
		{"listener: all addresses of the other family", "[[listener]]\naddress = \"0.0.0.0:1\"\nanonymous = true\n[[listener]]\naddress = \"[::1]:1\"\n", ``},
		{"listener: the same socket", "[[listener]]\naddress = \"unix:/a\"\n[[listener]]\naddress = \"unix:/a\"\n", `f:4:11: listener[1].address: is taken by listener[0] already (at f:2:11)`},
		{"listener: any free port, twice", "[[listener]]\naddress = \"[::1]:0\"\n[[listener]]\naddress = \"[::1]:0\"\n", ``},
		{"listener: a socket of systemd without name", "[[listener]]\naddress = \"systemd:\"\n", `f:2:11: listener[0].address: must have a name after systemd:, of 1 to 255 ASCII characters without spaces and colons, as FileDescriptorName= of the socket unit says`},
		{"listener: the same socket of systemd", "[[listener]]\naddress = \"systemd:a\"\nanonymous = true\n[[listener]]\naddress = \"systemd:a\"\nanonymous = true\n", `f:5:11: listener[1].address: is taken by listener[0] already (at f:2:11)`},
		{"listener: TLS without its files", "[[listener]]\naddress = \"[::1]:1\"\n[listener.tls]\n", "f:3:11: listener[0].tls.cert: is missing\nf:3:11: listener[0].tls.key: is missing"},
		{"listener: client certificates of nobody", "[[listener]]\naddress = \"[::1]:1\"\n[listener.tls]\ncert = \"c\"\nkey = \"k\"\nclient_cert = \"required\"\n", `f:6:15: listener[0].tls.client_cert: needs client_ca, the file with the authority that client certificates are verified against`},
		{"listener: a way of client certificates that there is not", "[[listener]]\naddress = \"[::1]:1\"\n[listener.tls]\ncert = \"c\"\nkey = \"k\"\nclient_ca = \"a\"\nclient_cert = \"require\"\n", `f:7:15: listener[0].tls.client_cert: "require" is none of optional, required, username (did you mean required?)`},
		{"listener: a transport that there is not", "[[listener]]\naddress = \"[::1]:1\"\ntransport = \"ws\"\n", `f:3:13: listener[0].transport: "ws" is none of tcp, websocket`},
		{"limits: less than nothing", "limits.messages_per_second = -1\n", `f:1:30: limits.messages_per_second: must not be negative`},
		{"listener: against an adapter", "[[tcp]]\nname = \"t\"\nlisten = \":1883\"\n", `f:3:10: tcp[0].listen: is taken by the broker, which listens on loopback when there is no [[listener]], already`},
		{"serial: no port", "[[serial]]\nname = \"s\"\n", `f:1:3: serial[0].port: is missing: give the path of the port, such as /dev/serial/by-id/usb-…, or match with its USB identity (packetboat ports lists both)`},
		{"serial: a port that is no path", "[[serial]]\nname = \"s\"\nport = \"ttyUSB0\"\n", `f:3:8: serial[0].port: "ttyUSB0" is not the path of a port: it must begin with a /, such as /dev/ttyUSB0 (packetboat ports lists those there are)`},
		{"serial: a glob that is none", "[[serial]]\nname = \"s\"\nport = \"/dev/[x\"\n", `f:3:8: serial[0].port: "/dev/[x" is not a valid glob; a literal [ is written \[`},
		{"serial: the same port twice", "[[serial]]\nname = \"s\"\nport = \"/p\"\n[[serial]]\nname = \"t\"\nport = \"/p\"\n", `f:6:8: serial[1].port: is the port of serial[0] already (at f:3:8)`},
		{"serial: a USB identity beside a port", serialWith(`match = { vid = "0403" }`), `f:4:9: serial[0].match: is set beside port; give one of them`},
		{"serial: a USB identity that is off, beside a port", serialWith(`match = { vid = "" }`), ``},
		{"serial: a USB identity that names nothing", "[[serial]]\nname = \"s\"\nmatch = {}\n", `f:3:9: serial[0].match: names nothing: give vid and pid, and serial where there are several of a kind (packetboat ports shows them)`},
		{"serial: a USB identity with digits that are none", "[[serial]]\nname = \"s\"\nmatch = { vid = \"0x0403\", pid = \"60G1\" }\n", `f:3:17: serial[0].match.vid: "0x0403" is not four hexadecimal digits, such as "0403" (packetboat ports shows them)
f:3:33: serial[0].match.pid: "60G1" is not four hexadecimal digits, such as "0403" (packetboat ports shows them)`},
		{"serial: half a USB identity", "[[serial]]\nname = \"s\"\nmatch = { pid = \"6001\" }\n", `f:3:9: serial[0].match.vid: is missing: pid means something together with vid only`},
		{"serial: a serial number alone", "[[serial]]\nname = \"s\"\nmatch = { serial = \"A9007\" }\n", ``},
		{"serial: the same USB identity twice", "[[serial]]\nname = \"s\"\nmatch = { vid = \"04d8\" }\n[[serial]]\nname = \"t\"\nmatch = { vid = \"04D8\" }\n", `f:6:9: serial[1].match: is that of serial[0] already (at f:3:9)`},
		{"serial: the same port twice, one disabled", "[[serial]]\nname = \"s\"\nport = \"/p\"\n[[serial]]\nname = \"t\"\nport = \"/p\"\nenabled = false\n", ``},
		{"adapters: one name for two", serial + "tcp = [{ name = \"s\", listen = \":7000\" }]\n", `f:2:17: tcp[0].name: "s" is the name of serial[0] already (at f:1:20)`},
		{"adapters: a name that is no topic level", "[[serial]]\nname = \"a b\"\nport = \"/p\"\n", `f:2:8: serial[0].name: "a b" must not have "/", "+", "#", braces, spaces or control characters`},
		{"frame: a key of another type", serialWith(`frame = { start = "x" }`), `f:4:19: serial[0].frame.start: belongs to type "start-end"; the type here is "line"`},
		{"frame: a key of two other types", serialWith(`frame = { size = 4 }`), `f:4:18: serial[0].frame.size: belongs to type "fixed" or "length"; the type here is "line"`},
		{"frame: lines that nothing ends", serialWith(`frame.ending = ""`), `f:4:16: serial[0].frame.ending: must not be empty`},
		{"frame: a key of three other types", serialWith(`frame = { flush_after = "1s" }`), `f:4:25: serial[0].frame.flush_after: belongs to type "fixed" or "length" or "start-end"; the type here is "line"`},
		{"frame: bytes that are no hex", serialWith(`frame = { type = "delimiter", bytes = "hex:2" }`), `f:4:39: serial[0].frame.bytes: "hex:2" must have two hexadecimal digits for each byte, such as "hex:02 FF"`},
		{"frame: bytes that are no text", serialWith(`frame = { type = "delimiter", bytes = 3 }`), `f:4:39: serial[0].frame.bytes: must be a string, not an integer`},
		{"frame: no gap", serialWith(`frame = { type = "idle", gap = "0s" }`), `f:4:32: serial[0].frame.gap: must be at least 1ms`},
		{"frame: a check sum that there is not", serialWith(`frame = { crc = "crc16" }`), `f:4:17: serial[0].frame.crc: "crc16" is none of crc16-modbus, crc16-ccitt, crc32, xor, sum (did you mean crc32?)`},
		{"frame: a kind that there is not", serialWith(`frame = { type = "lines" }`), `f:4:18: serial[0].frame.type: "lines" is none of line, delimiter, fixed, length, start-end, slip, cobs, idle, modbus-rtu (did you mean line?)`},
		{"frame: larger than a packet", "broker.max_packet_size = \"1KiB\"\n" + serialWith(``), `f:2:3: serial[0].frame.max: must be at most broker.max_packet_size, here 1KiB`},
		{"decode: a key of another type", serialWith(`decode = { comma = ";" }`), `f:4:20: serial[0].decode.comma: belongs to type "csv"; the type here is "text"`},
		{"topic: a placeholder that does not exist", serialWith(`topic = "{gatway}/x"`), `f:4:9: serial[0].topic: {gatway} means nothing here; there are {gateway} {name} {port} {time} (did you mean {gateway}?)`},
		{"topic: {remote} of a serial port", serialWith(`topic = "{remote}"`), `f:4:9: serial[0].topic: {remote} means nothing here; there are {gateway} {name} {port} {time}`},
		{"topic: a field of text", serialWith(`topic = "{field:kg}"`), `f:4:9: serial[0].topic: {field:kg} means nothing here; there are {gateway} {name} {port} {time}`},
		{"topic: a wildcard", serialWith(`topic = "a/#"`), `f:4:9: serial[0].topic: must not have a wildcard (+ or #): it is a topic, not a filter`},
		{"topic: empty", serialWith(`topic = ""`), `f:4:9: serial[0].topic: must not be empty`},
		{"topic: an open brace", serialWith(`status = "{gateway"`), `f:4:10: serial[0].status: has a { without its }; a literal { is written {{`},
		{"topic: a status that changes", serialWith(`status = "{time}"`), `f:4:10: serial[0].status: {time} means nothing here; there are {gateway} {name}`},
		{"topic: a status of each peer", "[[tcp]]\nname = \"t\"\nlisten = \":1\"\nstatus = \"{remote}/status\"\n", ``},
		{"silent: without a topic to say so", serialWith("status = \"\"\nsilent_after = \"1m\""), `f:5:16: serial[0].silent_after: needs status, the topic that says silent`},
		{"topic: no status", serialWith(`status = ""`), ``},
		{"topic: a field of text", serialWith(`topic = "{field:t}"`), `f:4:9: serial[0].topic: {field:t} means nothing here; there are {gateway} {name} {port} {time}`},
		{"topic: a field that is computed", serialWith("topic = \"{field:t}\"\nset = { t = \"value\" }"), ``},
		{"topic: a field of an object", serialWith("topic = \"{field:t}\"\ndecode = { type = \"json\" }"), ``},
		{"a dead band for nothing", serialWith(`dead_band = 1`), `f:4:13: serial[0].dead_band: means nothing without on_change = true`},
		{"command: a filter that is none", serialWith(`command = { topic = "a/#/b" }`), `f:4:21: serial[0].command.topic: has a # that is not the last level`},
		{"command: an unknown placeholder", serialWith(`command = { encode = "{paylod}" }`), `f:4:22: serial[0].command.encode: {paylod} means nothing here; there are {gateway} {name} {payload} {topic} {field:NAME} (did you mean {payload}?)`},
		{"tcp: neither listen nor connect", "[[tcp]]\nname = \"t\"\n", `f:1:3: tcp[0].listen: is missing: give the address that devices connect to, such as ":7000", or connect, the address of a device to call`},
		{"tcp: both listen and connect", "[[tcp]]\nname = \"t\"\nlisten = \":1\"\nconnect = \"h:1\"\n", `f:4:11: tcp[0].connect: is set beside listen; give one of them`},
		{"tcp: a device to call", "[[tcp]]\nname = \"t\"\nconnect = \"h:1\"\n", ``},
		{"tcp: a device to call without a port", "[[tcp]]\nname = \"t\"\nconnect = \"10.0.0.9\"\n", `f:3:11: tcp[0].connect: "10.0.0.9" is not host:port, such as 127.0.0.1:1883 or [::1]:1883`},
		{"tcp: a device to call without a host", "[[tcp]]\nname = \"t\"\nconnect = \":4001\"\n", `f:3:11: tcp[0].connect: ":4001" must have a host and a port, such as 10.0.0.9:4001`},
		{"tcp: keys of listen with connect", "[[tcp]]\nname = \"t\"\nconnect = \"h:1\"\nidentity = \"first-frame\"\nmax_connections = 5\ntls = { client_ca = \"a\", client_cert = \"required\" }\n", `f:4:12: tcp[0].identity: is for devices that connect here (listen); that of connect is its host
f:5:19: tcp[0].max_connections: belongs to listen
f:6:21: tcp[0].tls.client_ca: belongs to listen; the authority of the device's certificate is ca
f:6:40: tcp[0].tls.client_cert: belongs to listen`},
		{"tcp: a certificate without its key", "[[tcp]]\nname = \"t\"\nconnect = \"h:1\"\ntls = { cert = \"c\" }\n", `f:4:7: tcp[0].tls.key: is missing: it goes with cert`},
		{"tcp: a key without its certificate", "[[tcp]]\nname = \"t\"\nconnect = \"h:1\"\ntls = { key = \"c\" }\n", `f:4:7: tcp[0].tls.cert: is missing: it goes with key`},
		{"tcp: keys of connect with listen", "[[tcp]]\nname = \"t\"\nlisten = \":1\"\ntls = { cert = \"c\", key = \"k\", ca = \"a\", server_name = \"s\", alpn = [\"x\"] }\n", `f:4:37: tcp[0].tls.ca: belongs to connect
f:4:56: tcp[0].tls.server_name: belongs to connect
f:4:68: tcp[0].tls.alpn: belongs to connect`},
		{"tcp: client certificates and none of its own", "[[tcp]]\nname = \"t\"\nlisten = \":1\"\ntls = { client_ca = \"c\" }\n", `f:4:7: tcp[0].tls.cert: is missing: the file with the certificate that devices see
f:4:7: tcp[0].tls.key: is missing: the file with the key of cert`},
		{"tcp: client certificates without an authority", "[[tcp]]\nname = \"t\"\nlisten = \":1\"\ntls = { cert = \"c\", key = \"k\", client_cert = \"required\" }\n", `f:4:46: tcp[0].tls.client_cert: needs client_ca, the file with the authority that client certificates are verified against`},
		{"tcp: two names for a device", "[[tcp]]\nname = \"t\"\nlisten = \":1\"\nidentity = \"first-frame\"\ntls = { cert = \"c\", key = \"k\", client_ca = \"a\", client_cert = \"username\" }\n", `f:4:12: tcp[0].identity: is first-frame, but tls.client_cert = "username" names the devices already; choose one`},
		{"tcp: no port", "[[tcp]]\nname = \"t\"\nlisten = \"7000\"\n", `f:3:10: tcp[0].listen: "7000" is not host:port, such as 127.0.0.1:1883 or [::1]:1883`},
		{"bridge: no servers", "[[bridge]]\nname = \"b\"\nup = [{ filter = \"#\" }]\n", `f:1:3: bridge[0].servers: is missing: give at least one, such as ["mqtt://broker.example.com:1883"]`},
		{"bridge: no rules", "[[bridge]]\nname = \"b\"\nservers = [\"mqtt://h\"]\n", `f:1:3: bridge[0]: has no rules; give it a [[bridge.up]] or [[bridge.down]] with a filter`},
		{"bridge: not a URL", strings.Replace(bridge, "mqtt://h", "h:1883", 1), `f:3:12: bridge[0].servers[0]: is not a URL such as mqtt://broker.example.com:1883`},
		{"bridge: a scheme of something else", strings.Replace(bridge, "mqtt://h", "mqqt://h", 1), `f:3:12: bridge[0].servers[0]: has the scheme mqqt; there are mqtt, mqtts, ws and wss (did you mean mqtt?)`},
		{"bridge: a password in the URL is not repeated", strings.Replace(bridge, "mqtt://h", "mqtt://me:pw@h", 1), `f:3:12: bridge[0].servers[0]: must not have a user name in it; there are the keys username and password`},
		{"bridge: no host", strings.Replace(bridge, "mqtt://h", "mqtt://:1883", 1), `f:3:12: bridge[0].servers[0]: has no host name`},
		{"bridge: a path", strings.Replace(bridge, "mqtt://h", "mqtt://h/x", 1), `f:3:12: bridge[0].servers[0]: must end after host and port`},
		{"bridge: port 0", strings.Replace(bridge, "mqtt://h", "mqtt://h:0", 1), `f:3:12: bridge[0].servers[0]: must have a port from 1 to 65535`},
		{"bridge: the name of another", bridge + "client_id = \"x\"\n" + bridge, `f:7:8: bridge[1].name: "b" is the name of bridge[0] already (at f:2:8)`},
		{"bridge: the client id of another on the same server", bridge + strings.Replace(bridge, `"b"`, `"c"`, 1), `f:5:3: bridge[1].client_id: is "gw", as bridge[0]'s on the same server: each would disconnect the other; give them different ones`},
		{"bridge: no client id", bridge + "client_id = \"\"\n", `f:5:13: bridge[0].client_id: must not be empty: the session at the cloud belongs to it`},
		{"bridge: gaps on a filter", bridge + "gaps = \"{gateway}/#\"\n", `f:5:8: bridge[0].gaps: must not have a wildcard (+ or #): it is a topic, not a filter`},
		{"bridge: gaps elsewhere", bridge + "gaps = \"lost/{gateway}/{bridge}\"\n", ``},
		{"bridge: a stamp that is none", bridge + "stamp = \"props\"\n", `f:5:9: bridge[0].stamp: "props" is none of off, properties, json:FIELD (such as json:gateway_info)`},
		{"bridge: a stamp in a field without name", bridge + "stamp = \"json:\"\n", `f:5:9: bridge[0].stamp: "json:" is none of off, properties, json:FIELD (such as json:gateway_info)`},
		{"bridge: a stamp in a field", bridge + "stamp = \"json:meta\"\n", ``},
		{"bridge: backoff the wrong way round", bridge + "backoff.min = \"3m\"\n", `f:5:15: bridge[0].backoff.min: min (3m) must not be above max (2m)`},
		{"bridge: backoff the wrong way round, both given", bridge + "backoff = { min = \"3m\", max = \"90s\" }\n", `f:5:31: bridge[0].backoff.max: min (3m) must not be above max (1m30s)`},
		{"bridge: too many in flight", bridge + "inflight = 2000\n", `f:5:12: bridge[0].inflight: must be from 1 to 1024`},
		{"up: a filter that is none", bridgeUp(`filter = "a/b#"`), `f:3:18: bridge[0].up[0].filter: has a wildcard that is not a level of its own, in b#`},
		{"up: an empty filter", bridgeUp(`filter = ""`), `f:3:18: bridge[0].up[0].filter: must not be empty`},
		{"up: no filter", bridgeUp(`topic = "x"`), `f:3:7: bridge[0].up[0].filter: is missing`},
		{"up: a shared subscription", bridgeUp(`filter = "$share/g/a"`), `f:3:18: bridge[0].up[0].filter: must not be a shared subscription: every message is wanted here`},
		{"up: a capture that does not exist", bridgeUp(`filter = "a/+/b/#", topic = "{3}"`), `f:3:37: bridge[0].up[0].topic: {3} means nothing here; there are {bridge} {gateway} {topic} {1} {2}`},
		{"up: no wildcards, no captures", bridgeUp(`filter = "a", topic = "{1}"`), `f:3:31: bridge[0].up[0].topic: {1} means nothing here; there are {bridge} {gateway} {topic}`},
		{"up: raised above a fixed QoS", bridgeUp(`filter = "a", qos = 0, min_qos = 1`), `f:3:42: bridge[0].up[0].min_qos: 1 contradicts qos = 0`},
		{"up: a QoS that is none", bridgeUp(`filter = "a", qos = "2"`), ``},
		{"up: a QoS that is none of all", bridgeUp(`filter = "a", qos = 3`), `f:3:29: bridge[0].up[0].qos: must be "keep", 0, 1 or 2`},
		{"up: rules in both ways of writing", bridge + "[[bridge.up]]\n", `f:5:10: bridge[0].up: is set twice; the first time at f:4:1`},
		{"up: the same filter again", bridgeUp(`filter = "a" }, { filter = "a"`), `f:3:36: bridge[0].up[1].filter: is the same as bridge[0].up[0]'s (at f:3:18), which comes first: this rule never carries a message`},
		{"up: a filter that an earlier one covers", bridgeUp(`filter = "a/#" }, { filter = "a/+/b"`), `f:3:38: bridge[0].up[1].filter: matches only what bridge[0].up[0] (a/#, at f:3:18) takes, which comes first: this rule never carries a message; put it before that one`},
		{"up: the first that covers is named, after expansion", bridgeUp(`filter = "a/b" }, { filter = "+/#" }, { filter = "#" }, { filter = "{gateway}/x"`), `f:3:58: bridge[0].up[2].filter: matches only what bridge[0].up[1] (+/#, at f:3:38) takes, which comes first: this rule never carries a message; put it before that one
f:3:76: bridge[0].up[3].filter: matches only what bridge[0].up[1] (+/#, at f:3:38) takes, which comes first: this rule never carries a message; put it before that one`},
		{"up: the narrower filter first", bridgeUp(`filter = "a/+/b", priority = 3 }, { filter = "a/#" }, { filter = "#"`), ``},
		{"up: a filter that several earlier ones cover together is not looked for", bridgeUp(`filter = "a" }, { filter = "a/+/#" }, { filter = "a/#"`), ``},
		{"up: a leading wildcard does not cover $ topics", bridgeUp(`filter = "#" }, { filter = "$SYS/#"`), ``},
		{"up: nothing is said about a filter that is none", bridgeUp(`filter = "a/#/b" }, { filter = "a/#/b"`), `f:3:18: bridge[0].up[0].filter: has a # that is not the last level
f:3:40: bridge[0].up[1].filter: has a # that is not the last level`},
		{"lanes: the same filter in two", bridgeUp(`filter = "a" }, { filter = "a", priority = 3`), `f:3:36: bridge[0].up[1].filter: is the same as bridge[0].up[0]'s (at f:3:18), which comes first: this rule never carries a message, and its priority 3 never counts (that one has 0)`},
		{"lanes: a filter that one of another covers", bridgeUp(`filter = "a/#", priority = 1 }, { filter = "a/alarm", priority = 3`), `f:3:52: bridge[0].up[1].filter: matches only what bridge[0].up[0] (a/#, at f:3:18) takes, which comes first: this rule never carries a message, and its priority 3 never counts (that one has 1); put it before that one`},
		{"lanes: filters that overlap in part", bridgeUp(`filter = "+/alarm", priority = 3 }, { filter = "a/+"`), ``},
		{"down: the same filter again", bridge + "down = [{ filter = \"a\" }, { filter = \"a\", topic = \"b\" }]\n", `f:5:38: bridge[0].down[1].filter: is the same as bridge[0].down[0]'s (at f:5:20), which comes first: this rule never carries a message`},
		{"down: a filter that an earlier one covers", bridge + "down = [{ filter = \"cmd/#\" }, { filter = \"cmd/valve\", topic = \"b\" }]\n", `f:5:42: bridge[0].down[1].filter: matches only what bridge[0].down[0] (cmd/#, at f:5:20) takes, which comes first: this rule never carries a message; put it before that one`},
		{"full: a lane that rejects without a bound", bridgeUp(`filter = "a", when_full = "reject"`), `f:3:7: bridge[0].up[0].max_size: is missing: when_full = "reject" needs a bound; give one, such as "64MiB" (all of them together at most half of queue.max_size, here 512MiB)`},
		{"full: the queue's policy needs bounds", "queue.when_full = \"drop-newest\"\n" + bridge, `f:5:7: bridge[0].up[0].max_size: is missing: queue.when_full = "drop-newest" (at f:1:19) needs a bound for each priority; give one, such as "64MiB", or when_full = "drop-oldest" here`},
		{"full: the queue's policy, and rules that say otherwise or have bounds", "queue.when_full = \"reject\"\n" + bridgeUp(`filter = "a", when_full = "drop-oldest" }, { filter = "b", priority = 1, max_size = "1MiB"`), ``},
		{"full: a bridge that is not enabled needs no bounds", "queue.when_full = \"reject\"\n" + bridge + "enabled = false\n", ``},
		{"full: one bound for all rules of a lane", bridgeUp(`filter = "a", when_full = "reject" }, { filter = "b", when_full = "reject", max_size = "1MiB"`), ``},
		{"full: two policies for one lane", bridgeUp(`filter = "a", when_full = "reject", max_size = "1MiB" }, { filter = "b", when_full = "drop-oldest"`), `f:3:94: bridge[0].up[1].when_full: is drop-oldest, but that of bridge[0].up[0] with the same priority (0) is reject (at f:3:35); a lane has one: make them the same, or give one of the rules another priority`},
		{"full: a policy and the queue's for one lane", bridgeUp(`filter = "a" }, { filter = "b", when_full = "reject", max_size = "1MiB"`), `f:3:53: bridge[0].up[1].when_full: is reject, but that of bridge[0].up[0] with the same priority (0) is drop-oldest (at f:3:7); a lane has one: make them the same, or give one of the rules another priority`},
		{"full: two policies for two lanes", bridgeUp(`filter = "a", when_full = "reject", max_size = "1MiB" }, { filter = "b", priority = 1`), ``},
		{"full: two bounds for one lane", bridgeUp(`filter = "a", max_size = "1MiB" }, { filter = "b", max_size = "2MiB"`), `f:3:71: bridge[0].up[1].max_size: is 2MiB, but that of bridge[0].up[0] with the same priority (0) is 1MiB (at f:3:34); a lane has one: leave one of them out`},
		{"full: too much of the queue for lanes that refuse", "queue.max_size = \"100MiB\"\n" + bridgeUp(`filter = "a", when_full = "reject", max_size = "30MiB" }, { filter = "b", priority = 3, when_full = "drop-newest", max_size = "21MiB"`), `f:4:135: bridge[0].up[1].max_size: brings the lanes with when_full reject or drop-newest to 51MiB; all of them together may have half of queue.max_size, here 50MiB`},
		{"full: as much of the queue as there is for lanes that drop the oldest", "queue.max_size = \"100MiB\"\n" + bridgeUp(`filter = "a", when_full = "reject", max_size = "50MiB" }, { filter = "b", priority = 3, max_size = "90MiB"`), ``},
		{"full: a bound for less than a message", bridgeUp(`filter = "a", max_size = "1KiB"`), `f:3:34: bridge[0].up[0].max_size: must be at least 64KiB`},
		{"full: no policy", bridgeUp(`filter = "a", when_full = "drop"`), `f:3:35: bridge[0].up[0].when_full: "drop" is none of drop-oldest, reject, drop-newest`},
		{"down: a capture that does not exist", bridge + "down = [{ filter = \"a/+\", topic = \"{2}\" }]\n", `f:5:35: bridge[0].down[0].topic: {2} means nothing here; there are {bridge} {gateway} {topic} {1}`},

		{"modbus: all as it must be", modbusWith("mode = \"8N2\"", "type = \"float32\""), ``},
		{"modbus: no place", "[[modbus]]\nname = \"m\"\n", `f:1:3: modbus[0].port: is missing: give the path of the port, such as /dev/serial/by-id/usb-…, match with its USB identity (packetboat ports lists both), or connect = "HOST:502"
f:1:3: modbus[0].unit: is missing: add a [[modbus.unit]] for each device`},
		{"modbus: two places", modbusWith("connect = \"h:502\"", ""), `f:4:11: modbus[0].connect: is set beside port or match; give one of them`},
		{"modbus: a relative port", "[[modbus]]\nname = \"m\"\nport = \"ttyS0\"\n" + modbusUnit, `f:3:8: modbus[0].port: "ttyS0" is not the path of a port: it must begin with a /, such as /dev/ttyUSB0 (ls /dev/serial/by-id/* /dev/tty[A-Z]* shows those there are)`},
		{"modbus: a bad glob", "[[modbus]]\nname = \"m\"\nport = \"/dev/[\"\n" + modbusUnit, `f:3:8: modbus[0].port: "/dev/[" is not a valid glob; a literal [ is written \[`},
		{"modbus: no address", "[[modbus]]\nname = \"m\"\nconnect = \"h\"\n" + modbusUnit, `f:3:11: modbus[0].connect: "h" is not host:port, such as 127.0.0.1:1883 or [::1]:1883`},
		{"modbus: no host", "[[modbus]]\nname = \"m\"\nconnect = \":502\"\n" + modbusUnit, `f:3:11: modbus[0].connect: ":502" must have a host and a port, such as 10.0.0.7:502`},
		{"modbus: two connections to one host", "[[modbus]]\nname = \"m\"\nconnect = \"h:502\"\n" + modbusUnit + "[[modbus]]\nname = \"n\"\nconnect = \"h:502\"\n" + modbusUnit, ``},
		{"modbus: a baud rate of a network", "[[modbus]]\nname = \"m\"\nconnect = \"h:502\"\nbaud = 9600\n" + modbusUnit, `f:4:8: modbus[0].baud: belongs to a serial port; connect is a network connection`},
		{"modbus: seven bits", modbusWith("mode = \"7E1\"", ""), `f:4:8: modbus[0].mode: must have 8 data bits, and 1 or 2 stop bits: Modbus RTU has bytes`},
		{"modbus: the port of another", modbusWith("", "") + "[[modbus]]\nname = \"n\"\nport = \"/dev/ttyS0\"\n" + modbusUnit, `f:12:8: modbus[1].port: is the port of modbus[0] already (at f:3:8); units on one line belong into one [[modbus]]`},
		{"modbus: the port of a serial device", "[[serial]]\nname = \"s\"\nport = \"/dev/ttyS0\"\n" + modbusWith("", ""), `f:6:8: modbus[0].port: is the port of serial[0] already (at f:3:8); units on one line belong into one [[modbus]]`},
		{"modbus: the name of another adapter", "[[tcp]]\nname = \"m\"\nlisten = \":1\"\n" + modbusWith("", ""), `f:5:8: modbus[0].name: "m" is the name of tcp[0] already (at f:2:8)`},
		{"modbus: one topic for two units", modbusWith("topic = \"t\"", "") + "[[modbus.unit]]\nid = 2\nname = \"v\"\nread = [{ name = \"x\" }]\n", `f:4:9: modbus[0].topic: must have {unit}: there are several units, and nobody could tell whose values come or whom a command is for`},
		{"modbus: one topic for one unit", modbusWith("topic = \"t\"", ""), ``},
		{"modbus: a placeholder of others", modbusWith("status = \"{port}\"", ""), `f:4:10: modbus[0].status: {port} means nothing here; there are {gateway} {name} {unit}`},
		{"modbus: ids and names twice", modbusWith("", "") + "[[modbus.unit]]\nname = \"u\"\nread = [{ name = \"x\" }, { name = \"x\" }]\n", `f:10:10: modbus[0].unit[1].id: 1 is the id of modbus[0].unit[0] already (at f:5:10)
f:11:8: modbus[0].unit[1].name: "u" is the name of modbus[0].unit[0] already (at f:6:8)
f:12:34: modbus[0].unit[1].read[1].name: "x" is the name of modbus[0].unit[1].read[0] already (at f:12:18)`},
		{"modbus: an id for all", modbusWith("", "") + "[[modbus.unit]]\nid = 0\nname = \"v\"\nread = [{ name = \"x\" }]\n", `f:11:6: modbus[0].unit[1].id: must be 1 to 247 on a serial line: 0 is all units, which do not answer, and what is above is reserved`},
		{"modbus: a name that is no level", "[[modbus]]\nname = \"m\"\nport = \"/dev/ttyS0\"\n[[modbus.unit]]\nname = \"a/b\"\n", `f:4:10: modbus[0].unit[0].read: is missing: add a [[modbus.unit.read]] for each value
f:5:8: modbus[0].unit[0].name: "a/b" must not have "/", "+", "#", braces, spaces or control characters`},
		{"modbus: no type", modbusWith("", "type = \"int\""), `f:8:8: modbus[0].unit[0].read[0].type: "int" is none of bool, int16, uint16, int32, uint32, int64, uint64, float32, float64, string:N`},
		{"modbus: a text without a length", modbusWith("", "type = \"string\""), `f:8:8: modbus[0].unit[0].read[0].type: needs its length in registers of two characters: "string:8"`},
		{"modbus: a text that is too long", modbusWith("", "type = \"string:124\""), `f:8:8: modbus[0].unit[0].read[0].type: "string:124" must have 1 to 123 registers, such as "string:8"`},
		{"modbus: a text", modbusWith("", "type = \"string:123\"\norder = \"little\""), ``},
		{"modbus: a text with an order of numbers", modbusWith("", "type = \"string:2\"\norder = \"big-swapped\"\nscale = 2"), `f:9:9: modbus[0].unit[0].read[0].order: of a text is big or, with the two characters of each register swapped, little
f:10:9: modbus[0].unit[0].read[0].scale: belongs to numbers`},
		{"modbus: a number in a coil", modbusWith("", "type = \"int16\"\ntable = \"coil\""), `f:8:8: modbus[0].unit[0].read[0].type: must be bool: a coil has one bit`},
		{"modbus: a coil says nothing of its type", modbusWith("", "table = \"coil\"\nwrite = true"), ``},
		{"modbus: writing what can only be read", modbusWith("", "table = \"input\"\nwrite = true"), `f:9:9: modbus[0].unit[0].read[0].write: is not possible: a unit's table input can only be read`},
		{"modbus: beyond the last register", modbusWith("", "type = \"int32\"\naddress = 65535"), `f:9:11: modbus[0].unit[0].read[0].address: is too high: int32 takes 2 registers, and the last one is 65535`},
		{"modbus: nothing left of a value", modbusWith("", "scale = 0.0"), `f:8:9: modbus[0].unit[0].read[0].scale: must not be 0`},

		{"access: all that there is", accessRule + "publish = [\"a/{user}/{client}/#\", \"{gateway}/+/{{x}}\"]\nsubscribe = [\"$SYS/#\", \"#\"]\n[[auth.rule]]\nclient = \"c[0-9]*\"\n[[auth.rule]]\nadapter = \"bridge/cloud\"\npublish = [\"{gateway}/#\"]\n", ``},
		{"access: nobody is named", "[[auth.rule]]\npublish = [\"#\"]\n[[auth.rule]]\nuser = \"\"\n", `f:1:8: auth.rule[0]: names nobody: say user, client or adapter, such as user = "meter-*" ("*" is everyone who has a user name)
f:3:8: auth.rule[1]: names nobody: say user, client or adapter, such as user = "meter-*" ("*" is everyone who has a user name)`},
		{"access: two are named", accessRule + "adapter = \"a\"\n", `f:3:11: auth.rule[0].adapter: must not be given beside user: a rule names users, clients or adapters; make two rules`},
		{"access: three are named", accessRule + "adapter = \"a\"\nclient = \"c\"\n", `f:4:10: auth.rule[0].client: must not be given beside user: a rule names users, clients or adapters; make two rules`},
		{"access: a placeholder of others", accessRule + "publish = [\"a\", \"{name}\"]\nsubscribe = [\"{usr}/#\"]\n", `f:3:17: auth.rule[0].publish[1]: {name} means nothing here; there are {gateway} {user} {client}
f:4:14: auth.rule[0].subscribe[0]: {usr} means nothing here; there are {gateway} {user} {client} (did you mean {user}?)`},
		{"access: an adapter is no client", "[[auth.rule]]\nadapter = \"a\"\npublish = [\"{client}/#\"]\n", `f:3:12: auth.rule[0].publish[0]: {client} means nothing here; there are {gateway}`},
		{"access: no filters", accessRule + "publish = [\"\", \"a/#/b\", \"{user}#\"]\n", `f:3:12: auth.rule[0].publish[0]: "" must not be empty
f:3:16: auth.rule[0].publish[1]: "a/#/b" has a # that is not the last level
f:3:25: auth.rule[0].publish[2]: "{user}#" has a wildcard that is not a level of its own, in x#`},
		{"access: a group", accessRule + "subscribe = [\"$share/g/a\"]\n", `f:3:14: auth.rule[0].subscribe[0]: must be the filter itself, without $share/GROUP/: who may subscribe to it may do so in any group`},
		{"access: the broker's own topics", accessRule + "publish = [\"$SYS/#\"]\n", `f:3:12: auth.rule[0].publish[0]: must not be below $SYS, which is the broker's own`},
		{"access: no list", accessRule + "publish = \"a\"\n", `f:3:11: auth.rule[0].publish: must be an array, not a string`},

		// What this version does not do.
		{"unrouted is no topic of its own", "broker.unrouted = \"{topic}\"\n", `f:1:19: broker.unrouted: must differ from {topic} itself: a message would go nowhere`},
		{"unrouted below $SYS", "broker.unrouted = \"$SYS/{topic}\"\n", `f:1:19: broker.unrouted: must not be below $SYS, which is the broker's own`},
		{"pending: off is accepted", "admin = { socket = \"\", address = \"\" }\nlimits.failed_logins = 0\n" + bridge + "gaps = \"\"\nstamp = \"off\"\ndead_letter_size = \"16384KiB\"\n", ``},
		{"pending: a key", "queue.retention = \"1h\"\n", `f:1:7: queue.retention: is not supported in this version; remove it or leave it at "0s"`},
		{"admin: an address for others without users and TLS", "admin.address = \":80\"\n", `f:1:17: admin.address: ":80" can be reached from other machines, which needs admin.users (names made by packetboat passwd) and [admin.tls] with cert and key; or keep it on this machine, "127.0.0.1:8580", and come by ` + "`ssh -L 8580:127.0.0.1:8580`"},
		{"admin: an address for others without TLS", "[admin]\naddress = \"gw.lan:80\"\nusers = [\"a\"]\n", `f:2:11: admin.address: "gw.lan:80" can be reached from other machines, which needs [admin.tls] with cert and key; or keep it on this machine, "127.0.0.1:8580", and come by ` + "`ssh -L 8580:127.0.0.1:8580`"},
		{"admin: an address for others without users", "[admin]\naddress = \"0.0.0.0:80\"\ntls = { cert = \"c\", key = \"k\" }\n", `f:2:11: admin.address: "0.0.0.0:80" can be reached from other machines, which needs admin.users (names made by packetboat passwd); or keep it on this machine, "127.0.0.1:8580", and come by ` + "`ssh -L 8580:127.0.0.1:8580`"},
		{"admin: an address for others with both", "[admin]\naddress = \"0.0.0.0:80\"\nusers = [\"a\"]\ntls = { cert = \"c\", key = \"k\" }\n", ``},
		{"admin: on loopback", "[admin]\naddress = \"[::1]:80\"\n", ``},
		{"admin: no address", "[admin]\naddress = \"\"\nusers = [\"a\"]\n", ``},
		{"admin: no port", "admin.address = \"localhost\"\n", `f:1:17: admin.address: "localhost" is not host:port, such as 127.0.0.1:1883 or [::1]:1883`},
		{"admin: a certificate alone", "[admin.tls]\ncert = \"c\"\n", `f:2:8: admin.tls.cert: needs key, the file with the private key of the certificate`},
		{"admin: a key alone", "[admin.tls]\nkey = \"k\"\n", `f:2:7: admin.tls.key: needs cert, the file with the certificate that the key belongs to`},
		{"admin: a user without a name", "[admin]\nusers = [\"\"]\n", `f:2:10: admin.users[0]: must be the name of a user in auth.users`},
		{"admin: an address that a listener has", "[[listener]]\naddress = \"127.0.0.1:8580\"\n[admin]\naddress = \":8580\"\nusers = [\"a\"]\ntls = { cert = \"c\", key = \"k\" }\n", `f:4:11: admin.address: is taken by listener[0] already (at f:2:11)`},
		{"pending: a wrong value is a wrong value first", bridge + "rate = -1\n", `f:5:8: bridge[0].rate: must not be negative`},
		{"pending: a version that does not exist", bridge + "version = 4\n", `f:5:11: bridge[0].version: must be 5 or "3.1.1"`},

		// All at once, in order.
		{"all errors come at once", "[queue]\nmax_size = \"1MiB\"\n[[serial]]\nport = 5\nbaut = 1\n[lo]\n", `f:2:12: queue.max_size: must be at least 16MiB
f:3:3: serial[0].name: is missing
f:4:8: serial[0].port: must be a string, not an integer
f:5:1: serial[0].baut: is not a known key (did you mean baud?)
f:6:2: lo: is not a known key (did you mean log?)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f", []byte(tt.text), fixed)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("%s\n got %s\nwant %s", tt.text, got, tt.want)
			}
		})
	}
}

// serialWith is a [[serial]] without fault and one more line, the fourth.
func serialWith(line string) string {
	return "[[serial]]\nname = \"s\"\nport = \"/p\"\n" + line + "\n"
}

// modbusUnit is a [[modbus.unit]] without fault.
const modbusUnit = "[[modbus.unit]]\nname = \"u\"\n[[modbus.unit.read]]\nname = \"x\"\n"

// modbusWith is a [[modbus]] without fault, with more in line 4 and, of its
// value, from line 8 on.
func modbusWith(line, read string) string {
	return "[[modbus]]\nname = \"m\"\nport = \"/dev/ttyS0\"\n" + line +
		"\n[[modbus.unit]]\nname = \"u\"\n[[modbus.unit.read]]\n" + read + "\nname = \"x\"\n"
}

// bridgeUp is a [[bridge]] with one up rule, in line 3, column 7.
func bridgeUp(keys string) string {
	return "[[bridge]]\nname = \"b\"\nup = [{ " + keys + " }]\nservers = [\"mqtt://h\"]\n"
}
