package modbus

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"packetboat/broker/store"
	"packetboat/cmd/packetboat/sim"
)

// words is a table of registers from an address on.
func words(address uint16, list ...uint16) map[uint16]uint16 {
	m := map[uint16]uint16{}
	for i, w := range list {
		m[address+uint16(i)] = w
	}
	return m
}

const oneUnit = `
topic = "{gateway}/{name}/{unit}"
[[modbus.unit]]
id = 1
name = "main"
every = "1s"
read = [
  { name = "volts", address = 0, type = "float32" },
  { name = "running", table = "coil", address = 3 },
  { name = "limit", address = 4, scale = 0.1, write = true },
  { name = "fault", table = "discrete", address = 9 },
  { name = "energy", table = "input", address = 100, type = "uint64", order = "big-swapped" },
]
`

func oneSlave() map[byte]*sim.ModbusUnit {
	v := math.Float32bits(230.1)
	return map[byte]*sim.ModbusUnit{1: {
		Holding:  words(0, uint16(v>>16), uint16(v), 0, 0, 165),
		Coils:    map[uint16]bool{3: true},
		Discrete: map[uint16]bool{9: false},
		Input:    words(100, 4, 3, 2, 1),
	}}
}

const oneReading = `{"volts":230.1,"running":true,"limit":16.5,"fault":false,"energy":281483566841860}`

func TestAUnitsValuesAreOneObjectInTheOrderOfTheFile(t *testing.T) {
	for _, where := range []string{"port", "connect"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, where, oneUnit, oneSlave(), func(t *testing.T, r *rig) {
				pass(3500 * time.Millisecond)
				got, times := r.broker.of("gw/m/main")
				if len(got) != 4 || got[0] != oneReading || got[3] != oneReading {
					t.Fatalf("%d readings: %s", len(got), got)
				}
				if d := times[3].Sub(times[2]); d < 990*time.Millisecond || d > 1010*time.Millisecond {
					t.Errorf("period %v", d)
				}
				m := r.broker.message("gw/m/main")
				if m.QoS != 1 || m.Retain || m.Origin != "adapter/m" {
					t.Errorf("%+v", m)
				}
				if n := r.slaves.Units[1].Requests; n != 4*4 { // one for each table
					t.Errorf("%d requests", n)
				}
				st := r.Stats()
				if !st.Ready || st.Open != 1 || st.Opened != 1 || st.Published != 4 || st.Frame.Frames != 16 || st.Frame.Bad() != 0 || st.LastFrame.IsZero() {
					t.Errorf("%+v", st)
				}
				if u := r.Units()[0]; u.Polls != 4 || u.Failed != 0 || u.Missed != 0 || u.Name != "main" || u.ID != 1 || u.LastAnswer.IsZero() {
					t.Errorf("%+v", u)
				}
				if got := r.broker.last("gw/m/status"); got != online {
					t.Errorf("presence %s", got)
				}
				r.end()
				if got := r.broker.last("gw/m/status"); got != offline {
					t.Errorf("presence at the end %s", got)
				}
			})
		})
	}
}

// threeUnits have one value each, every 100 ms.
func threeUnits(keys string) string {
	text := keys + "\n"
	for id, name := range []string{"a", "b", "c"} {
		text += fmt.Sprintf("[[modbus.unit]]\nid = %d\nname = %q\nevery = \"100ms\"\nread = [{ name = \"x\" }]\n", id+1, name)
	}
	return text
}

func threeSlaves() map[byte]*sim.ModbusUnit {
	m := map[byte]*sim.ModbusUnit{}
	for id := byte(1); id <= 3; id++ {
		m[id] = &sim.ModbusUnit{Holding: words(0, uint16(id)), Delay: 5 * time.Millisecond}
	}
	return m
}

func TestOneDeadUnitOfThreeAndThePeriodsOfTheOthers(t *testing.T) {
	for _, where := range []string{"port", "connect"} {
		for _, timeout := range []time.Duration{40 * time.Millisecond, 60 * time.Millisecond, 500 * time.Millisecond, time.Second} {
			t.Run(fmt.Sprint(where, " timeout ", timeout), func(t *testing.T) {
				slaves := threeSlaves()
				slaves[2].Dead = true
				bubble(t, where, threeUnits(fmt.Sprintf("timeout = %q\nstatus = \"{gateway}/{name}/{unit}/status\"", timeout)), slaves, func(t *testing.T, r *rig) {
					pass(max(30*time.Second, 120*timeout))
					for _, name := range []string{"a", "c"} {
						_, times := r.broker.of("gw/m/" + name)
						period := times[len(times)-1].Sub(times[0]) / time.Duration(len(times)-1)
						if period < 90*time.Millisecond || period > 110*time.Millisecond {
							t.Errorf("unit %s has a period of %v", name, period)
						}
						if timeout > 90*time.Millisecond {
							continue
						}
						for i := 30; i < len(times); i++ { // each of them, once the unit is known to be dead
							if d := times[i].Sub(times[i-1]); d < 90*time.Millisecond || d > 110*time.Millisecond {
								t.Fatalf("unit %s: reading %d came after %v", name, i, d)
							}
						}
					}
					if got, _ := r.broker.of("gw/m/b"); len(got) > 0 {
						t.Errorf("the dead unit has readings: %s", got)
					}
					st := r.Units()[1]
					if !st.Failing || st.Failed < 3 || st.Polls != 0 {
						t.Errorf("%+v", st)
					}
					if r.broker.last("gw/m/a/status") != online || r.broker.last("gw/m/b/status") != offline {
						t.Error("presence of the units")
					}
					if n := r.log.count("unit does not answer; it is asked at growing intervals, so that others keep their periods"); n != 1 {
						t.Errorf("told %d times", n)
					}

					r.change(func() { slaves[2].Dead = false })
					pass(100 * time.Second) // tries come at least once a minute, and then 500 ms apart
					_, times := r.broker.of("gw/m/b")
					if n := len(times); n < 500 || times[n-1].Sub(times[n-11]) > 1100*time.Millisecond {
						t.Errorf("back, it has %d readings", n)
					}
					if r.broker.last("gw/m/b/status") != online {
						t.Error("presence of the unit that is back")
					}
				})
			})
		}
	}
}

func TestDamagedRepliesAreCountedAndAskedForAgain(t *testing.T) {
	slaves := oneSlave()
	bubble(t, "port", oneUnit, slaves, func(t *testing.T, r *rig) {
		pass(500 * time.Millisecond)
		r.change(func() { slaves[1].BadCRC = 1 })
		pass(time.Second)
		if got, _ := r.broker.of("gw/m/main"); len(got) != 2 || got[1] != oneReading {
			t.Errorf("%s", got)
		}
		if st := r.Stats(); st.Frame.Checksum != 1 {
			t.Errorf("%+v", st.Frame)
		}
		r.change(func() { slaves[1].BadCRC = 2 }) // both tries
		pass(time.Second)
		if st := r.Stats(); st.Frame.Checksum != 3 {
			t.Errorf("%+v", st.Frame)
		}
		if seen := r.Recent().Look(time.Now()); len(seen) != 3 || seen[0].Bytes == 0 || seen[0].Link != "unit 1" || !strings.Contains(seen[0].Error, "damaged") {
			t.Errorf("%+v", seen)
		}
		pass(time.Second)
		if seen := r.Recent().Look(time.Now()); len(seen) <= 3 || seen[0].Error != "" { // now that somebody looks
			t.Errorf("%+v", seen)
		}
		if u := r.Units()[0]; u.Failed != 1 || u.Failing {
			t.Errorf("%+v", u)
		}
		if got := r.broker.last("gw/m/main"); got != oneReading {
			t.Errorf("%s", got)
		}
	})
}

func TestALateAnswerIsNotTakenForAnother(t *testing.T) {
	// Unit 1 answers after the timeout, just when unit 3 is asked.
	for _, where := range []string{"port", "connect"} {
		t.Run(where, func(t *testing.T) {
			slaves := threeSlaves()
			bubble(t, where, threeUnits(`timeout = "50ms"`), slaves, func(t *testing.T, r *rig) {
				pass(time.Second)
				r.change(func() { slaves[1].Delay = 70 * time.Millisecond })
				pass(10 * time.Second)
				r.change(func() { slaves[1].Delay = 5 * time.Millisecond })
				pass(time.Minute)
				for id, name := range []string{"a", "b", "c"} {
					got, _ := r.broker.of("gw/m/" + name)
					for _, p := range got {
						if want := fmt.Sprintf(`{"x":%d}`, id+1); p != want {
							t.Fatalf("unit %s: %s", name, p)
						}
					}
				}
				if st := r.Stats(); st.Frame.Garbage == 0 {
					t.Errorf("%+v", st.Frame)
				}
				if u := r.Units()[0]; u.Failing {
					t.Errorf("%+v", u)
				}
			})
		})
	}
}

func TestALateAnswerIsNotTakenForOneToTheNextRequest(t *testing.T) {
	// The two requests have replies that look alike.
	slaves := map[byte]*sim.ModbusUnit{1: {Holding: map[uint16]uint16{0: 1, 100: 2}}}
	text := `
timeout = "50ms"
[[modbus.unit]]
name = "u"
every = "100ms"
read = [{ name = "a", address = 0 }, { name = "b", address = 100 }]
`
	for _, delay := range []time.Duration{60, 75, 90, 99} {
		t.Run(fmt.Sprintf("%dms", delay), func(t *testing.T) {
			bubble(t, "port", text, slaves, func(t *testing.T, r *rig) {
				for range 50 {
					r.change(func() { slaves[1].Delay = delay * time.Millisecond })
					pass(130 * time.Millisecond)
					r.change(func() { slaves[1].Delay = time.Millisecond })
					pass(170 * time.Millisecond)
				}
				got, _ := r.broker.of("gw/m/u")
				for _, p := range got {
					if p != `{"a":1,"b":2}` {
						t.Fatal(p)
					}
				}
				if len(got) == 0 || r.Units()[0].Failed == 0 {
					t.Errorf("%d readings, %+v", len(got), r.Units()[0])
				}
			})
		})
	}
}

func TestALineThatIsNeverQuietIsNoUnitsAnswer(t *testing.T) {
	slaves := oneSlave()
	bubble(t, "port", "baud = 9600\n"+oneUnit, slaves, func(t *testing.T, r *rig) {
		pass(1500 * time.Millisecond)
		noise := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-noise:
					return
				case <-time.After(2 * time.Millisecond):
					_, _ = r.theirs.Write([]byte{0x55}) // cut: the test has ended
				}
			}
		}()
		pass(20 * time.Second)
		if u := r.Units()[0]; !u.Failing || u.Failed < 2 {
			t.Errorf("%+v", u)
		}
		close(noise)
		<-ended
		pass(time.Minute)
		if u := r.Units()[0]; u.Failing || r.broker.last("gw/m/main") != oneReading {
			t.Errorf("%+v", u)
		}
	})
}

func TestAUnitThatRefusesAMergedRequestIsAskedForEachValue(t *testing.T) {
	slaves := map[byte]*sim.ModbusUnit{1: {Holding: map[uint16]uint16{0: 7, 3: 8}}} // nothing between
	text := `
[[modbus.unit]]
name = "u"
every = "1s"
read = [{ name = "a", address = 0 }, { name = "b", address = 3 }, { name = "c", address = 5 }]
`
	bubble(t, "port", text, slaves, func(t *testing.T, r *rig) {
		pass(2500 * time.Millisecond)
		got, _ := r.broker.of("gw/m/u")
		if want := `{"a":7,"b":8,"c":null}`; len(got) != 3 || got[0] != want || got[2] != want {
			t.Errorf("%s", got)
		}
		if n := slaves[1].Requests; n != 1+3*3 {
			t.Errorf("%d requests", n)
		}
		if n := r.log.count("values are asked for one by one from now on: the unit refuses to give them together"); n != 1 {
			t.Errorf("told %d times", n)
		}
		if n := r.log.count("value refused; null is published until the unit gives it"); n != 1 {
			t.Errorf("a value's refusal told %d times", n)
		}
		if u := r.Units()[0]; u.Exceptions != 3 || u.Polls != 3 || !slices.Equal(u.Refused, []string{"c"}) {
			t.Errorf("%+v", u)
		}
		r.change(func() { slaves[1].Holding[5] = 9 })
		pass(time.Second)
		if got := r.broker.last("gw/m/u"); got != `{"a":7,"b":8,"c":9}` {
			t.Error(got)
		}
		if u := r.Units()[0]; len(u.Refused) > 0 {
			t.Errorf("%+v", u)
		}
	})
}

func TestAGatewaysExceptionMeansThatTheUnitIsDead(t *testing.T) {
	slaves := threeSlaves()
	slaves[2].Refuse = func(byte, uint16, uint16) byte { return byte(gatewayTargetSilent) }
	bubble(t, "connect", threeUnits(""), slaves, func(t *testing.T, r *rig) {
		pass(10 * time.Second)
		if got, _ := r.broker.of("gw/m/b"); len(got) > 0 {
			t.Errorf("%s", got)
		}
		if u := r.Units()[1]; !u.Failing || u.Failed > 8 {
			t.Errorf("%+v", u)
		}
	})
}

func TestOnChangeWithADeadBand(t *testing.T) {
	slaves := map[byte]*sim.ModbusUnit{1: {Holding: words(0, 100), Coils: map[uint16]bool{0: false}}}
	text := `
on_change = true
dead_band = 2
retain = true
[[modbus.unit]]
name = "u"
every = "1s"
read = [{ name = "x" }, { name = "on", table = "coil" }]
`
	bubble(t, "port", text, slaves, func(t *testing.T, r *rig) {
		for _, x := range []uint16{100, 101, 102, 103, 104, 103} {
			r.change(func() { slaves[1].Holding[0] = x })
			pass(time.Second)
		}
		r.change(func() { slaves[1].Coils[0] = true })
		pass(5 * time.Second)
		got, _ := r.broker.of("gw/m/u")
		if want := []string{`{"x":100,"on":false}`, `{"x":103,"on":false}`, `{"x":103,"on":true}`}; !slices.Equal(got, want) {
			t.Errorf("%s", got)
		}
		if !r.broker.message("gw/m/u").Retain {
			t.Error("not retained")
		}
	})
}

func TestALineThatGoesComesBack(t *testing.T) {
	for _, where := range []string{"port", "connect"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, where, oneUnit, oneSlave(), func(t *testing.T, r *rig) {
				pass(1500 * time.Millisecond)
				r.setAbsent(errors.New("no such port"))
				pass(time.Minute)
				if st := r.Stats(); st.Ready || st.Open != 0 || r.broker.last("gw/m/status") != offline {
					t.Errorf("gone: %+v, %s", st, r.broker.last("gw/m/status"))
				}
				if n := r.log.count("cannot open; will keep trying"); n != 1 {
					t.Errorf("told %d times", n)
				}
				if why := r.Stats().Problem; why != "no such port" {
					t.Errorf("why: %q", why)
				}
				before, _ := r.broker.of("gw/m/main")
				r.setAbsent(nil)
				pass(3 * time.Second)
				after, _ := r.broker.of("gw/m/main")
				if st := r.Stats(); !st.Ready || st.Opened != 2 || len(after) < len(before)+2 || r.broker.last("gw/m/status") != online {
					t.Errorf("back: %+v, %d then %d readings", st, len(before), len(after))
				}
			})
		})
	}
}

func TestAConnectionThatAnswersNothingIsMadeAnew(t *testing.T) {
	slaves := oneSlave()
	bubble(t, "connect", oneUnit, slaves, func(t *testing.T, r *rig) {
		pass(500 * time.Millisecond)
		r.change(func() { slaves[1].Dead = true })
		pass(10 * time.Second)
		if n := r.Stats().Opened; n != 2 {
			t.Errorf("opened %d times", n)
		}
		if n := r.log.count("gone; will reopen"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

func TestPresenceSaysSilent(t *testing.T) {
	slaves := threeSlaves()
	bubble(t, "port", threeUnits("silent_after = \"10s\"\nstatus = \"{gateway}/{name}/{unit}/status\""), slaves, func(t *testing.T, r *rig) {
		pass(time.Second)
		r.change(func() { slaves[2].Dead = true })
		pass(10*time.Second - 300*time.Millisecond)
		if got := r.broker.last("gw/m/b/status"); got != online {
			t.Errorf("too soon: %s", got)
		}
		pass(1500 * time.Millisecond)
		got, _ := r.broker.of("gw/m/b/status")
		if want := []string{offline, online, silent}; !slices.Equal(got, want) {
			t.Errorf("%s", got)
		}
		r.change(func() { slaves[2].Dead = false })
		pass(time.Minute)
		if r.broker.last("gw/m/b/status") != online || r.broker.last("gw/m/a/status") != online {
			t.Error("back")
		}
	})
	slaves = threeSlaves()
	bubble(t, "port", threeUnits("silent_after = \"10s\""), slaves, func(t *testing.T, r *rig) {
		pass(time.Second)
		r.change(func() {
			for _, u := range slaves {
				u.Dead = true
			}
		})
		pass(15 * time.Second)
		if got, _ := r.broker.of("gw/m/status"); !slices.Equal(got, []string{offline, online, silent}) && !slices.Equal(got, []string{online, silent}) {
			t.Errorf("%s", got)
		}
	})
}

func TestReadingsThatTheBrokerDoesNotTakeAreCounted(t *testing.T) {
	bubble(t, "port", oneUnit, oneSlave(), func(t *testing.T, r *rig) {
		pass(500 * time.Millisecond)
		r.broker.setRefuse(store.ErrFull)
		pass(5 * time.Second)
		r.broker.setRefuse(nil)
		pass(time.Second)
		if st := r.Stats(); st.Dropped != 5 || st.Published != 2 {
			t.Errorf("%+v", st)
		}
		if n := r.log.count("readings are dropped: the broker does not take them"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}
