package config

import (
	"fmt"
	"strings"
	"time"
)

// Stream is what adapters over byte streams, serial and TCP, have in common.
type Stream struct {
	// Name is unique among all adapters: {name} in templates, and the adapter's
	// identity. It has no "/", "+", "#", spaces or braces.
	Name    string `toml:"name" required:"yes"`
	Enabled bool   `toml:"enabled" default:"true"`
	Frame   Frame  `toml:"frame"`
	Decode  Decode `toml:"decode"`
	// When is an expression over the decoded value; false drops the frame.
	When string `toml:"when"`
	// Set are fields computed by expressions.
	Set map[string]string `toml:"set"`
	// Topic to publish to. Bound: {gateway} and {name}. Left to expand: {port},
	// {time}, {remote} (TCP only), {field:NAME} (decoders with fields only).
	Topic  Template `toml:"topic" default:"{gateway}/{name}"`
	QoS    int      `toml:"qos" default:"1" min:"0" max:"2"`
	Retain bool     `toml:"retain"`
	// MaxAge is the message expiry; 0 is none. A part of a second counts as one.
	MaxAge time.Duration `toml:"max_age" default:"0s"`
	// OnChange publishes only when the value changed, per topic, by more than
	// DeadBand for numbers.
	OnChange bool    `toml:"on_change"`
	DeadBand float64 `toml:"dead_band" default:"0" min:"0"`
	// Rate is in messages a second; 0 is no limit.
	Rate int `toml:"rate" default:"0" min:"0"`
	// SilentAfter so long without a frame the presence is "silent"; 0 is never.
	SilentAfter time.Duration `toml:"silent_after" default:"0s"`
	// Status is the topic of the retained presence; "" is none. Bound: {gateway}
	// and {name}. Left to expand: {remote} (TCP only).
	Status  Template `toml:"status" default:"{gateway}/{name}/status"`
	Poll    *Poll    `toml:"poll"`    // nil: none
	Command *Command `toml:"command"` // nil: none
}

// Frame is how a byte stream is cut into frames. What is wrong with a type's
// keys, beyond what stands here, is said by who makes framings of them.
type Frame struct {
	// Type is line, delimiter, fixed, length, start-end, slip, cobs, idle or
	// modbus-rtu.
	Type string `toml:"type" default:"line" enum:"line delimiter fixed length start-end slip cobs idle modbus-rtu"`
	// Max is the longest frame in bytes; longer ones are dropped and counted.
	Max Size `toml:"max" default:"4KiB" min:"1B" max:"16MiB"`
	// CRC is the check sum that frames end with; "" is none.
	CRC string `toml:"crc" enum:"crc16-modbus crc16-ccitt crc32 xor sum" empty:"yes"`

	// Type line: what ends a line, and whether white space around it goes.
	Ending Bytes `toml:"ending" default:"\n"`
	Trim   bool  `toml:"trim" default:"true"`

	Bytes Bytes `toml:"bytes"` // type delimiter: what ends a frame

	// Type fixed: the frame's size. Type length: the size of the length field,
	// both in bytes.
	Size           int    `toml:"size" min:"1"`
	Offset         int    `toml:"offset" default:"0" min:"0"` // of the length field
	Order          string `toml:"order" default:"big" enum:"big little"`
	IncludesHeader bool   `toml:"includes_header"`            // the length counts the header
	Header         int    `toml:"header" default:"0" min:"0"` // bytes before the payload; 0: up to the length field's end

	// Type start-end.
	Start  Bytes `toml:"start"`
	End    Bytes `toml:"end"`
	Escape Bytes `toml:"escape"` // one byte; "" is none

	// FlushAfter such a silence a frame that is not complete ends: of type
	// start-end it comes out, of types fixed and length it is dropped. 0 is never.
	FlushAfter time.Duration `toml:"flush_after" default:"1s"`

	// Gap is the silence that ends a frame, types idle and modbus-rtu.
	Gap time.Duration `toml:"gap" default:"20ms" min:"1ms"`
}

// frameKeys are the keys that each type of frame has beside type, max and crc.
var frameKeys = map[string][]string{
	"line":       {"ending", "trim"},
	"delimiter":  {"bytes"},
	"fixed":      {"size", "flush_after"},
	"length":     {"offset", "size", "order", "includes_header", "header", "flush_after"},
	"start-end":  {"start", "end", "escape", "flush_after"},
	"slip":       nil,
	"cobs":       nil,
	"idle":       {"gap"},
	"modbus-rtu": {"gap"},
}

// Decode is how a frame becomes a value.
type Decode struct {
	// Type is text, hex, base64, raw, json, nmea, keyvalue, csv, regexp or
	// binary.
	Type string `toml:"type" default:"text" enum:"text hex base64 raw json nmea keyvalue csv regexp binary"`

	Pairs  string `toml:"pairs" default:","`  // type keyvalue: between pairs
	Equals string `toml:"equals" default:"="` // type keyvalue: between key and value

	Names []string `toml:"names"` // type csv
	Types []string `toml:"types"` // type csv
	Comma string   `toml:"comma" default:","`

	Pattern string `toml:"pattern"` // type regexp, with named groups

	Fields []DecodeField `toml:"fields"` // type binary
}

// DecodeField is a field of a binary frame.
type DecodeField struct {
	Name   string  `toml:"name" required:"yes"`
	Offset int     `toml:"offset" default:"0" min:"0"` // in bytes
	Type   string  `toml:"type" required:"yes"`
	Order  string  `toml:"order" default:"big" enum:"big little big-swapped little-swapped"`
	Scale  float64 `toml:"scale" default:"1"`
}

// decodeKeys are the keys that each decoder has beside type.
var decodeKeys = map[string][]string{
	"text": nil, "hex": nil, "base64": nil, "raw": nil, "json": nil, "nmea": nil,
	"keyvalue": {"pairs", "equals"},
	"csv":      {"names", "types", "comma"},
	"regexp":   {"pattern"},
	"binary":   {"fields"},
}

// Poll is [serial.poll] or [tcp.poll]: ask, then read a frame.
type Poll struct {
	Every   time.Duration `toml:"every" default:"5s" min:"1ms"`
	Send    string        `toml:"send"`
	SendHex string        `toml:"send_hex"` // or this
	Timeout time.Duration `toml:"timeout" default:"500ms" min:"1ms"`
	Retries int           `toml:"retries" default:"1" min:"0"`
}

// Command is [serial.command] or [tcp.command]: messages to the device.
type Command struct {
	// Topic is the filter that commands come from. Left to expand: {remote} (TCP),
	// for whose devices each then has its own.
	Topic Template `toml:"topic" default:"{gateway}/{name}/set"`
	// Encode makes the bytes to write. Left to expand: {payload}, {topic} and
	// {field:NAME}, a field of the JSON payload.
	Encode Template `toml:"encode" default:"{payload}\r\n"`
	// TTL: older commands are expired, not written; 0 is never.
	TTL time.Duration `toml:"ttl" default:"1m"`
	// Reply is the topic for the next frame, expanded.
	Reply string `toml:"reply" default:"{gateway}/{name}/reply"`
	// States is the topic for what became of a command, expanded; "" is none.
	States  string        `toml:"states" default:"{gateway}/{name}/set/state"`
	Timeout time.Duration `toml:"timeout" default:"2s" min:"1ms"` // of one attempt
	Retries int           `toml:"retries" default:"0" min:"0"`
}

// Serial is one [[serial]] port.
type Serial struct {
	Stream
	// Port is a path or a glob; "" when Match is given.
	Port string `toml:"port"`
	// Match finds a port by its USB identity.
	Match *USB   `toml:"match"`
	Baud  int    `toml:"baud" default:"9600" min:"50" max:"4000000"`
	Mode  Mode   `toml:"mode" default:"8N1"`
	Flow  string `toml:"flow" default:"none" enum:"none rtscts xonxoff"`
	// DTR and RTS are the lines' states while the port is open.
	DTR bool `toml:"dtr" default:"true"`
	RTS bool `toml:"rts" default:"true"`
}

// USB is the identity of a USB serial adapter; what is empty is not compared.
type USB struct {
	VID    string `toml:"vid"` // four hexadecimal digits
	PID    string `toml:"pid"`
	Serial string `toml:"serial"`
}

// Mode is the format of a character on a serial line, such as 8N1.
type Mode struct {
	Data   int    // data bits, 5 to 8
	Parity byte   // N, E, O, M or S
	Stop   string // 1, 1.5 or 2
}

// String writes it as in the file.
func (m Mode) String() string { return fmt.Sprintf("%d%c%s", m.Data, m.Parity, m.Stop) }

func (m *Mode) fromTOML(v any) error {
	s, ok := v.(string)
	if !ok {
		return errWrongType{`a string such as "8N1"`}
	}
	if len(s) < 3 || s[0] < '5' || s[0] > '8' || !strings.Contains("NEOMS", s[1:2]) || s[2:] != "1" && s[2:] != "1.5" && s[2:] != "2" {
		return fmt.Errorf("%q is not data bits 5 to 8, parity N, E, O, M or S and stop bits 1, 1.5 or 2, such as 8N1", s)
	}
	*m = Mode{Data: int(s[0] - '0'), Parity: s[1], Stop: s[2:]}
	return nil
}

// TCP is one [[tcp]] adapter: devices that connect to us, or one that we dial.
type TCP struct {
	Stream
	Listen  string `toml:"listen"`  // host:port; one of Listen and Connect is given
	Connect string `toml:"connect"` // host:port
	TLS     TCPTLS `toml:"tls"`
	// Identity is what {remote} is: peer (its address) or first-frame. With
	// Connect it is the host of that.
	Identity       string        `toml:"identity" default:"peer" enum:"peer first-frame"`
	MaxConnections int           `toml:"max_connections" default:"256" min:"1"`
	IdleTimeout    time.Duration `toml:"idle_timeout" default:"0s"` // 0 is none
	// Ack is written to the device once its frame is durable; "" is none.
	Ack string `toml:"ack"`
}

// TCPTLS is [tcp.tls]. Paths are absolute, or relative to the configuration
// file when it is read.
type TCPTLS struct {
	// Cert and Key are the gateway's: required with Listen, a client's with
	// Connect.
	Cert string `toml:"cert"`
	Key  string `toml:"key"`

	// With Listen. ClientCert username: the certificate's CN is {remote}.
	ClientCA   string `toml:"client_ca"`
	ClientCert string `toml:"client_cert" default:"optional" enum:"optional required username"`

	// With Connect.
	CA         string   `toml:"ca"`          // "": the system's
	ServerName string   `toml:"server_name"` // "": the host of Connect
	ALPN       []string `toml:"alpn"`
}

// On reports whether TLS is spoken: something is said of it.
func (t *TCPTLS) On() bool {
	return t.Cert != "" || t.Key != "" || t.ClientCA != "" || t.CA != "" || t.ServerName != "" || len(t.ALPN) > 0
}
