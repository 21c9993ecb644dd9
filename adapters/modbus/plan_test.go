package modbus

import (
	"fmt"
	"strings"
	"testing"

	"packetboat/config"
)

func pointsOf(t testing.TB, reads ...config.ModbusRead) []point {
	t.Helper()
	var list []point
	for i, r := range reads {
		if r.Name == "" {
			r.Name = fmt.Sprintf("v%d", i)
		}
		if r.Type == "" {
			r.Type = "uint16"
		}
		if r.Scale == 0 {
			r.Scale = 1
		}
		p, err := newPoint(&r)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func TestValuesThatAreNearAreReadTogether(t *testing.T) {
	at := func(table, typ string, address int) config.ModbusRead {
		return config.ModbusRead{Table: table, Type: typ, Address: address}
	}
	tests := []struct {
		name  string
		reads []config.ModbusRead
		want  string // function:address+count of the values
	}{
		{"one", []config.ModbusRead{at("holding", "int16", 7)}, "3:7+1[0]"},
		{"neighbours", []config.ModbusRead{at("holding", "float32", 0), at("holding", "int16", 2)}, "3:0+3[0 1]"},
		{"in the order of addresses", []config.ModbusRead{at("input", "int16", 9), at("input", "int16", 8)}, "4:8+2[1 0]"},
		{"a gap of eight registers", []config.ModbusRead{at("holding", "int32", 0), at("holding", "int16", 10)}, "3:0+11[0 1]"},
		{"a gap of nine", []config.ModbusRead{at("holding", "int32", 0), at("holding", "int16", 11)}, "3:0+2[0] 3:11+1[1]"},
		{"a gap of 32 bits", []config.ModbusRead{at("coil", "", 0), at("coil", "", 33)}, "1:0+34[0 1]"},
		{"a gap of 33 bits", []config.ModbusRead{at("discrete", "", 0), at("discrete", "", 34)}, "2:0+1[0] 2:34+1[1]"},
		{"tables apart", []config.ModbusRead{at("holding", "int16", 0), at("input", "int16", 1), at("coil", "", 2)}, "1:2+1[2] 3:0+1[0] 4:1+1[1]"},
		{"one within another", []config.ModbusRead{at("holding", "int64", 0), at("holding", "int16", 1), at("holding", "int16", 4)}, "3:0+5[0 1 2]"},
		{"the same twice", []config.ModbusRead{at("holding", "int16", 4), at("holding", "uint16", 4)}, "3:4+1[0 1]"},
		{"as much as a request may carry", []config.ModbusRead{at("holding", "string:123", 0), at("holding", "int32", 123), at("holding", "int16", 125)}, "3:0+125[0 1] 3:125+1[2]"},
		{"the last register", []config.ModbusRead{at("holding", "int32", 65534)}, "3:65534+2[0]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := showPlan(plan(pointsOf(t, tt.reads...))); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
	var many []config.ModbusRead
	for i := range 100 {
		many = append(many, at("coil", "", 30*i))
	}
	if got := showPlan(plan(pointsOf(t, many...))); !strings.HasPrefix(got, "1:0+1981[") || !strings.Contains(got, "1:2010+961[") {
		t.Errorf("many bits: %s", got)
	}
}

func showPlan(queries []query) string {
	var list []string
	for _, q := range queries {
		list = append(list, fmt.Sprintf("%d:%d+%d%v", q.function, q.address, q.count, q.points))
	}
	return strings.Join(list, " ")
}

func TestRequestsOfCommands(t *testing.T) {
	points := pointsOf(t,
		config.ModbusRead{Name: "a", Address: 10, Write: true},
		config.ModbusRead{Name: "b", Address: 11, Type: "float32", Write: true},
		config.ModbusRead{Name: "c", Address: 20, Scale: 0.1, Write: true},
		config.ModbusRead{Name: "same", Address: 12, Write: true},
		config.ModbusRead{Name: "r", Address: 30},
		config.ModbusRead{Name: "on", Table: "coil", Address: 4, Write: true},
		config.ModbusRead{Name: "up", Table: "coil", Address: 5, Write: true},
	)
	tests := []struct{ name, payload, want, err string }{
		{"a register", `{"a": 258}`, "06 000a 0102", ""},
		{"a scaled one", `{"c": 16.5}`, "06 0014 00a5", ""},
		{"two registers", `{"b": 230.1}`, "10 000b 0002 04 4366 199a", ""},
		{"neighbours together", `{"b": 230.1, "a": 258}`, "10 000a 0003 06 0102 4366 199a", ""},
		{"others apart", `{"c": 1, "a": 1}`, "06 000a 0001, 06 0014 000a", ""},
		{"a coil", `{"on": true}`, "05 0004 ff00", ""},
		{"a coil off", `{"on": 0}`, "05 0004 0000", ""},
		{"two coils", `{"up": true, "on": false}`, "0f 0004 0002 01 02", ""},
		{"coils before registers", `{"a": 1, "on": true}`, "05 0004 ff00, 06 000a 0001", ""},
		{"no object", `5`, "", `the payload is not a JSON object such as {"NAME": 1}`},
		{"null", `null`, "", `the payload is not a JSON object such as {"NAME": 1}`},
		{"no value", `{}`, "", `the payload names no value`},
		{"an unknown one", `{"x": 1}`, "", `"x": the unit has no such value`},
		{"one that is only read", `{"r": 1}`, "", `"r": is not to be written: its write is not true`},
		{"out of range", `{"a": 65536}`, "", `"a": out of the range of its type`},
		{"no value for a coil", `{"on": "x"}`, "", `"on": "x" is neither true nor false`},
		{"one place twice", `{"b": 1, "same": 2}`, "", `"b" and "same" are the same place in the unit`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := requests(points, []byte(tt.payload))
			var got []string
			for _, r := range list {
				got = append(got, fmt.Sprintf("%x", r))
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if want := strings.ReplaceAll(strings.ReplaceAll(tt.want, " ", ""), ",", ", "); strings.Join(got, ", ") != want || text != tt.err {
				t.Errorf("%s, %s", got, text)
			}
		})
	}
}

func TestTheOtherFunctionForOne(t *testing.T) {
	for request, want := range map[string]string{
		"06 000a 0102":         "10 000a 0001 02 0102",
		"05 0004 ff00":         "0f 0004 0001 01 01",
		"05 0004 0000":         "0f 0004 0001 01 00",
		"10 000a 0001 02 0102": "",
		"0f 0004 0002 01 02":   "",
	} {
		if got := other(unhex(t, request)); string(got) != string(unhex(t, want)) {
			t.Errorf("%s: % x", request, got)
		}
	}
}
