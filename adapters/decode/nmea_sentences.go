package decode

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// item is a field of a sentence: its name, "" for what is not told (mostly units
// that are always the same), and how it is written.
type item struct {
	name string
	kind itemKind
}

type itemKind byte

const (
	plain      itemKind = iota
	numeric             // 12.5
	clock               // 123519.00, as "12:35:19.00"
	date                // 230394, as "1994-03-23"; 80 to 99 are of the last century
	coordinate          // 4807.038,N in degrees: 48.1173, south and west negative
	signed              // 3.1,W: west is negative
)

// sentences says what stands in them; {} is a part that is passed over. Speeds
// and depths come in several units: one or two are enough.
var sentences = map[string][]item{
	"GGA": {{"time", clock}, {"lat", coordinate}, {"lon", coordinate}, {"quality", numeric}, {"satellites", numeric}, {"hdop", numeric},
		{"altitude", numeric}, {}, {"geoid", numeric}, {}, {"dgps_age", numeric}, {"dgps_station", plain}},
	"GLL": {{"lat", coordinate}, {"lon", coordinate}, {"time", clock}, {"status", plain}, {"mode", plain}},
	"RMC": {{"time", clock}, {"status", plain}, {"lat", coordinate}, {"lon", coordinate}, {"speed_knots", numeric}, {"course", numeric},
		{"date", date}, {"variation", signed}, {"mode", plain}},
	"VTG": {{"course", numeric}, {}, {"course_magnetic", numeric}, {}, {"speed_knots", numeric}, {}, {"speed_kmh", numeric}, {}, {"mode", plain}},
	"ZDA": {{"time", clock}, {"day", numeric}, {"month", numeric}, {"year", numeric}, {"zone_hours", numeric}, {"zone_minutes", numeric}},
	"HDT": {{"heading", numeric}},
	"HDM": {{"heading_magnetic", numeric}},
	"HDG": {{"heading_magnetic", numeric}, {"deviation", signed}, {"variation", signed}},
	"ROT": {{"rate_of_turn", numeric}, {"status", plain}},
	"VHW": {{"heading", numeric}, {}, {"heading_magnetic", numeric}, {}, {"speed_knots", numeric}, {}, {"speed_kmh", numeric}},
	"DBT": {{}, {}, {"depth", numeric}},
	"DPT": {{"depth", numeric}, {"offset", numeric}},
	"MTW": {{"water_temperature", numeric}},
	"MWV": {{"wind_angle", numeric}, {"wind_reference", plain}, {"wind_speed", numeric}, {"wind_unit", plain}, {"status", plain}},
}

// nmeaNames are all names of fields that there can be.
func nmeaNames() []string {
	list := []string{"talker", "type", "fields", "selection", "fix", "satellites", "pdop", "hdop", "vdop", "messages", "message", "in_view"}
	for _, items := range sentences {
		for _, it := range items {
			if it.name != "" {
				list = append(list, it.name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// parts is how many parts of a sentence a field takes.
func (k itemKind) parts() int {
	if k == coordinate || k == signed {
		return 2
	}
	return 1
}

// read gives the value of a part, and of the direction behind it where the
// kind has one. Nothing is nil.
func (k itemKind) read(part, direction []byte) (any, error) {
	if len(part) == 0 {
		return nil, nil
	}
	switch k {
	case numeric:
		if n, ok := number(part); ok {
			return n, nil
		}
		return nil, fmt.Errorf("%q is not a number", show(part))
	case clock:
		return readClock(part)
	case date:
		return readDate(part)
	case coordinate:
		return readCoordinate(part, direction)
	case signed:
		x, err := float(part)
		if x, ok := x.(float64); ok && string(direction) == "W" {
			return -x, nil
		}
		return x, err
	}
	return string(part), nil
}

func readClock(b []byte) (any, error) {
	whole, fraction, _ := bytes.Cut(b, []byte("."))
	if len(whole) != 6 || !digits(whole) || !digits(fraction) {
		return nil, fmt.Errorf("%q is not a time (hhmmss)", show(b))
	}
	s := string(whole[:2]) + ":" + string(whole[2:4]) + ":" + string(b[4:])
	return s, nil
}

func readDate(b []byte) (any, error) {
	if len(b) != 6 || !digits(b) {
		return nil, fmt.Errorf("%q is not a date (ddmmyy)", show(b))
	}
	century := "20"
	if b[4] >= '8' {
		century = "19"
	}
	return century + string(b[4:]) + "-" + string(b[2:4]) + "-" + string(b[:2]), nil
}

// readCoordinate turns degrees and minutes, dddmm.mmmm, into degrees.
func readCoordinate(b, direction []byte) (any, error) {
	if x, ok := coordinateOf(b, direction); ok {
		return x, nil
	}
	return nil, fmt.Errorf("%q %q is not a position", show(b), show(direction))
}

func coordinateOf(b, direction []byte) (x float64, ok bool) {
	whole, fraction, _ := bytes.Cut(b, []byte("."))
	if len(whole) < 3 || len(whole) > 5 || !digits(whole) || !digits(fraction) || len(direction) != 1 {
		return 0, false
	}
	degrees, err := strconv.Atoi(string(whole[:len(whole)-2]))
	if err != nil {
		return 0, false
	}
	minutes, err := strconv.ParseFloat(string(b[len(whole)-2:]), 64)
	if err != nil || minutes >= 60 {
		return 0, false
	}
	x = float64(degrees) + minutes/60
	x = math.Round(x*1e9) / 1e9 // a tenth of a millimetre: what lies below is of the division
	limit := 180.0
	switch direction[0] {
	case 'N':
		limit = 90
	case 'S':
		limit, x = 90, -x
	case 'E':
	case 'W':
		x = -x
	default:
		return 0, false
	}
	if math.Abs(x) > limit {
		return 0, false
	}
	return x, true
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
