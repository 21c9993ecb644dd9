package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Modbus is one [[modbus]] line with its units.
type Modbus struct {
	Name    string        `toml:"name" required:"yes"`
	Enabled bool          `toml:"enabled" default:"true"`
	Port    string        `toml:"port"`    // RTU; one of Port, Match and Connect is given
	Match   *USB          `toml:"match"`   // RTU
	Connect string        `toml:"connect"` // TCP, host:port
	Baud    int           `toml:"baud" default:"19200" min:"50" max:"4000000"`
	Mode    Mode          `toml:"mode" default:"8E1"`
	Timeout time.Duration `toml:"timeout" default:"500ms" min:"1ms"`
	// Topic to publish to. Bound: {gateway} and {name}. Left to expand: {unit}.
	Topic  Template `toml:"topic" default:"{gateway}/{name}/{unit}"`
	QoS    int      `toml:"qos" default:"1" min:"0" max:"2"`
	Retain bool     `toml:"retain"`
	// OnChange publishes a unit's values only when one of them changed, by more
	// than DeadBand for numbers.
	OnChange bool    `toml:"on_change"`
	DeadBand float64 `toml:"dead_band" default:"0" min:"0"`
	// SilentAfter so long without an answer the presence is "silent"; 0 is never.
	SilentAfter time.Duration `toml:"silent_after" default:"0s"`
	// Status is the topic of the retained presence, of the line or, with {unit}
	// left to expand, of each unit; "" is none.
	Status Template     `toml:"status" default:"{gateway}/{name}/status"`
	Units  []ModbusUnit `toml:"unit"`
}

// ModbusUnit is one [[modbus.unit]].
type ModbusUnit struct {
	ID    int           `toml:"id" default:"1" min:"0" max:"255"`
	Name  string        `toml:"name" required:"yes"`
	Every time.Duration `toml:"every" default:"10s" min:"1ms"`
	Reads []ModbusRead  `toml:"read"`
}

// ModbusRead is one [[modbus.unit.read]]: a value of the unit.
type ModbusRead struct {
	Name    string `toml:"name" required:"yes"`
	Table   string `toml:"table" default:"holding" enum:"coil discrete input holding"`
	Address int    `toml:"address" default:"0" min:"0" max:"65535"`
	// Type is as in modbusTypes, or string:N, a text in N registers. Coils and
	// discrete inputs are bool whether it says so or nothing.
	Type  string  `toml:"type" default:"uint16"`
	Order string  `toml:"order" default:"big" enum:"big little big-swapped little-swapped"`
	Scale float64 `toml:"scale" default:"1"`
	Write bool    `toml:"write"`
}

// modbusTypes gives the registers of each type but strings.
var modbusTypes = map[string]int{
	"bool": 1, "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "int64": 4, "uint64": 4, "float32": 2, "float64": 4,
}

// maxModbusString is what one request can write, in registers.
const maxModbusString = 123

// registers gives how many registers the value has.
func (r *ModbusRead) registers() (int, error) {
	if r.bits() {
		return 1, nil
	}
	if n, ok := modbusTypes[r.Type]; ok {
		return n, nil
	}
	length, ok := strings.CutPrefix(r.Type, "string:")
	switch n, err := strconv.Atoi(length); {
	case r.Type == "string":
		return 0, fmt.Errorf("needs its length in registers of two characters: \"string:8\"")
	case ok && (err != nil || n < 1 || n > maxModbusString):
		return 0, fmt.Errorf("%q must have 1 to %d registers, such as \"string:8\"", r.Type, maxModbusString)
	case ok:
		return n, nil
	}
	return 0, fmt.Errorf("%q is none of bool, int16, uint16, int32, uint32, int64, uint64, float32, float64, string:N", r.Type)
}

// bits reports whether the value is in a table of bits.
func (r *ModbusRead) bits() bool { return r.Table == "coil" || r.Table == "discrete" }
