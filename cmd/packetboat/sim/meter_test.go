package sim

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func (u *ModbusUnit) float(address uint16) float64 {
	return float64(math.Float32frombits(uint32(u.Input[address])<<16 | uint32(u.Input[address+1])))
}

func TestAMeterMeasures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := NewMeter(2)
		m := &Modbus{Units: map[byte]*ModbusUnit{2: u}}
		ctx, cancel := context.WithCancel(t.Context())
		go m.Measure(ctx)
		var before float64
		for range 100 {
			time.Sleep(time.Second) // of synctest's clock
			synctest.Wait()
			m.Lock()
			volts, watts := u.float(meterVoltage), u.float(meterPower)
			m.Unlock()
			if volts < 227 || volts > 233 || watts < 1000 || watts > 1500 || watts == before {
				t.Fatalf("%v V, %v W after %v W", volts, watts, before)
			}
			before = watts
		}
		if kWh := u.float(meterEnergy) - 25; kWh < 0.02 || kWh > 0.05 {
			t.Errorf("%v kWh in 100 s", kWh)
		}
		cancel()
		synctest.Wait()
	})
}
