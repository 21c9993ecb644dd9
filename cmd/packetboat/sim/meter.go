package sim

import (
	"context"
	"math"
	"time"
)

// Where a meter has its values: as 32-bit floats, high register first, in input
// registers, as common meters for one phase have them. What is between is zero.
const (
	meterVoltage   = 0
	meterCurrent   = 6
	meterPower     = 12
	meterFrequency = 70
	meterEnergy    = 72
	meterRegisters = 80
)

// NewMeter is an energy meter with the unit number id: what it measures is in input
// registers, and its holding registers 0 to 9 may be written.
func NewMeter(id byte) *ModbusUnit {
	u := &ModbusUnit{Holding: map[uint16]uint16{}, Input: map[uint16]uint16{}}
	for r := range uint16(10) {
		u.Holding[r] = uint16(id)*100 + r
	}
	for r := range uint16(meterRegisters) {
		u.Input[r] = 0
	}
	u.measure(id, 0)
	return u
}

// measure sets what a meter shows when it has run for so long. It needs the Lock
// of the line.
func (u *ModbusUnit) measure(id byte, running time.Duration) {
	swing := math.Sin(running.Seconds()/10 + float64(id))
	volts, watts := 230+2*swing, 1250+200*swing
	u.setFloat(meterVoltage, volts)
	u.setFloat(meterCurrent, watts/volts)
	u.setFloat(meterPower, watts)
	u.setFloat(meterFrequency, 50+0.02*swing)
	u.setFloat(meterEnergy, 12.5*float64(id)+running.Hours()*1.25)
}

func (u *ModbusUnit) setFloat(address uint16, v float64) {
	bits := math.Float32bits(float32(v))
	u.Input[address], u.Input[address+1] = uint16(bits>>16), uint16(bits)
}

// Measure has all units measure anew each second, until ctx ends. All of them must
// be meters, and no unit may come or go meanwhile.
func (m *Modbus) Measure(ctx context.Context) {
	start := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m.Lock()
		for id, u := range m.Units {
			u.measure(id, time.Since(start))
		}
		m.Unlock()
	}
}
