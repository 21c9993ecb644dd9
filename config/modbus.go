package config

import "time"

// Modbus is one [[modbus]] line with its units.
type Modbus struct {
	Name        string        `toml:"name" required:"yes"`
	Enabled     bool          `toml:"enabled" default:"true"`
	Port        string        `toml:"port"`    // RTU; one of Port, Match and Connect is given
	Match       *USB          `toml:"match"`   // RTU
	Connect     string        `toml:"connect"` // TCP, host:port
	Baud        int           `toml:"baud" default:"19200" min:"50" max:"4000000"`
	Mode        Mode          `toml:"mode" default:"8E1"`
	Timeout     time.Duration `toml:"timeout" default:"500ms" min:"1ms"`
	Topic       Template      `toml:"topic" default:"{gateway}/{name}/{unit}"`
	QoS         int           `toml:"qos" default:"1" min:"0" max:"2"`
	Retain      bool          `toml:"retain"`
	OnChange    bool          `toml:"on_change"`
	DeadBand    float64       `toml:"dead_band" default:"0" min:"0"`
	SilentAfter time.Duration `toml:"silent_after" default:"0s"`
	Status      Template      `toml:"status" default:"{gateway}/{name}/status"`
	Units       []ModbusUnit  `toml:"unit"`
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
	Name    string  `toml:"name" required:"yes"`
	Table   string  `toml:"table" default:"holding" enum:"coil discrete input holding"`
	Address int     `toml:"address" default:"0" min:"0" max:"65535"`
	Type    string  `toml:"type" default:"uint16" enum:"bool int16 uint16 int32 uint32 int64 uint64 float32 float64 string"`
	Order   string  `toml:"order" default:"big" enum:"big little big-swapped little-swapped"`
	Scale   float64 `toml:"scale" default:"1"`
	Write   bool    `toml:"write"`
}
