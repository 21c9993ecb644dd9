package modbus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"packetboat/broker/store"
	"packetboat/cmd/packetboat/sim"
)

func TestCommandsAreWrittenAndSeen(t *testing.T) {
	for _, where := range []string{"port", "connect"} {
		t.Run(where, func(t *testing.T) {
			slaves := oneSlave()
			bubble(t, where, strings.Replace(oneUnit, `every = "1s"`, `every = "10s"`, 1), slaves, func(t *testing.T, r *rig) {
				if r.cmds.filter != "gw/m/+/set" {
					t.Errorf("filter %s", r.cmds.filter)
				}
				pass(time.Second)
				began := time.Now()
				seq := r.cmds.send("gw/m/main/set", `{"limit": 23.1}`)
				pass(time.Second)
				if got := r.cmds.fate(seq); got != "done" || slaves[1].Holding[4] != 231 {
					t.Errorf("%q, register %d", got, slaves[1].Holding[4])
				}
				got, times := r.broker.of("gw/m/main")
				if len(got) != 2 || !strings.Contains(got[1], `"limit":23.1,`) || times[1].Sub(began) > 200*time.Millisecond {
					t.Errorf("%s", got)
				}
				if st := r.Stats(); st.CommandsSent != 1 || st.CommandsWaiting != 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

func TestCommandsThatCannotBe(t *testing.T) {
	slaves := oneSlave()
	bubble(t, "port", oneUnit, slaves, func(t *testing.T, r *rig) {
		var seqs []uint64
		for _, c := range [][2]string{
			{"gw/m/other/set", `{"limit": 1}`}, {"gw/m/main/set", `{"volts": 1}`}, {"gw/m/main/set", `{"limit": 1e9}`}, {"gw/m/main/set", `on`},
		} {
			seqs = append(seqs, r.cmds.send(c[0], c[1]))
		}
		r.change(func() {
			slaves[1].Refuse = func(f byte, _, _ uint16) byte {
				if f == writeRegister || f == writeRegisters {
					return sim.ModbusIllegalValue
				}
				return 0
			}
		})
		seqs = append(seqs, r.cmds.send("gw/m/main/set", `{"limit": 1}`))
		pass(2 * time.Second)
		for i, seq := range seqs {
			if got := r.cmds.fate(seq); got != store.Refused.String() {
				t.Errorf("command %d: %q", i, got)
			}
		}
		if st := r.Stats(); st.CommandsFailed != 5 || slaves[1].Holding[4] != 165 {
			t.Errorf("%+v", st)
		}
	})
}

func TestAUnitWithoutTheFunctionForOneRegister(t *testing.T) {
	slaves := oneSlave()
	slaves[1].Refuse = func(f byte, _, _ uint16) byte {
		if f == writeRegister {
			return sim.ModbusIllegalFunction
		}
		return 0
	}
	bubble(t, "port", oneUnit, slaves, func(t *testing.T, r *rig) {
		seq := r.cmds.send("gw/m/main/set", `{"limit": 1}`)
		pass(time.Second)
		if got := r.cmds.fate(seq); got != "done" || slaves[1].Holding[4] != 10 {
			t.Errorf("%q, register %d", got, slaves[1].Holding[4])
		}
	})
}

func TestCommandsForAnAbsentUnitWaitAndExpire(t *testing.T) {
	slaves := oneSlave()
	bubble(t, "port", oneUnit, slaves, func(t *testing.T, r *rig) {
		pass(time.Second)
		r.change(func() { slaves[1].Dead = true })
		first := r.cmds.send("gw/m/main/set", `{"limit": 1}`)
		short := r.cmds.send("gw/m/main/set", `{"limit": 2}`, func(d *store.Delivery) { d.HasExpiry, d.Expiry = true, 5 })
		unknown := r.cmds.send("gw/m/main/set", `{"limit": 3}`, func(d *store.Delivery) { d.Received.Boot = 7 })
		pass(10 * time.Second)
		if a, b, c := r.cmds.fate(first), r.cmds.fate(short), r.cmds.fate(unknown); a != "" || b != store.Expired.String() || c != store.Expired.String() {
			t.Errorf("%q %q %q", a, b, c)
		}
		r.change(func() { slaves[1].Dead = false })
		pass(40 * time.Second)
		if got := r.cmds.fate(first); got != "done" || slaves[1].Holding[4] != 10 {
			t.Errorf("%q, register %d", got, slaves[1].Holding[4])
		}

		r.setAbsent(errors.New("no such port"))
		late := r.cmds.send("gw/m/main/set", `{"limit": 4}`)
		pass(59 * time.Second)
		if got := r.cmds.fate(late); got != "" {
			t.Errorf("too soon: %q", got)
		}
		pass(2 * time.Second)
		if got := r.cmds.fate(late); got != store.Expired.String() {
			t.Errorf("%q", got)
		}
		r.setAbsent(nil)
		pass(5 * time.Second)
		if slaves[1].Holding[4] != 10 {
			t.Error("an expired command was written")
		}
	})
}

func TestMoreCommandsThanAreHeldAndTheirOrder(t *testing.T) {
	slaves := threeSlaves()
	text := strings.ReplaceAll(threeUnits(""), `{ name = "x" }`, `{ name = "x", write = true }`)
	bubble(t, "port", text, slaves, func(t *testing.T, r *rig) {
		r.change(func() { slaves[2].Dead = true })
		const n = 300
		for i := range n {
			r.cmds.send("gw/m/a/set", fmt.Sprintf(`{"x": %d}`, i+1))
		}
		pass(30 * time.Second)
		if st := r.Stats(); st.CommandsSent != n || !slices.IsSorted(r.cmds.done) || slaves[1].Holding[0] != n {
			t.Errorf("%+v", st)
		}
		_, times := r.broker.of("gw/m/c") // polls have their turn between
		if period := times[len(times)-1].Sub(times[0]) / time.Duration(len(times)-1); period > 110*time.Millisecond {
			t.Errorf("another unit's period was %v", period)
		}
	})
}
