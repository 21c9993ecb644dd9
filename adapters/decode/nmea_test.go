package decode

import (
	"fmt"
	"strings"
	"testing"
)

// sentence adds the checksum.
func sentence(body string) string {
	var sum byte
	for i := range len(body) {
		sum ^= body[i]
	}
	return fmt.Sprintf("$%s*%02X", body, sum)
}

func TestNMEA(t *testing.T) {
	examples := []example{
		{name: "a position, its checksum from a receiver", frame: "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n",
			want: `{"talker":"GP","type":"GGA","time":"12:35:19","lat":48.1173,"lon":11.516666667,"quality":1,"satellites":8,"hdop":0.9,"altitude":545.4,"geoid":46.9,"dgps_age":null,"dgps_station":null}`},
		{name: "without a fix", frame: sentence("GPGGA,,,,,,0,,,,M,,M,,"),
			want: `{"talker":"GP","type":"GGA","time":null,"lat":null,"lon":null,"quality":0,"satellites":null,"hdop":null,"altitude":null,"geoid":null,"dgps_age":null,"dgps_station":null}`},
		{name: "the least", frame: "$GPRMC,123519,A,4807.038,S,01131.000,W,022.4,084.4,230394,003.1,W*65",
			want: `{"talker":"GP","type":"RMC","time":"12:35:19","status":"A","lat":-48.1173,"lon":-11.516666667,"speed_knots":22.4,"course":84.4,"date":"1994-03-23","variation":-3.1,"mode":null}`},
		{name: "track", frame: sentence("GNVTG,054.7,T,034.4,M,005.5,N,010.2,K,A"),
			want: `{"talker":"GN","type":"VTG","course":54.7,"course_magnetic":34.4,"speed_knots":5.5,"speed_kmh":10.2,"mode":"A"}`},
		{name: "with parts of a second", frame: sentence("GPGLL,4916.45,N,12311.12,W,225444.50,A,A"),
			want: `{"talker":"GP","type":"GLL","lat":49.274166667,"lon":-123.185333333,"time":"22:54:44.50","status":"A","mode":"A"}`},
		{name: "satellites in use", frame: sentence("GPGSA,A,3,04,05,,09,12,,,24,,,,,2.5,1.3,2.1"),
			want: `{"talker":"GP","type":"GSA","selection":"A","fix":3,"satellites":[4,5,9,12,24],"pdop":2.5,"hdop":1.3,"vdop":2.1}`},
		{name: "satellites in view", frame: sentence("GPGSV,2,1,08,01,40,083,46,02,17,308,"),
			want: `{"talker":"GP","type":"GSV","messages":2,"message":1,"in_view":8,"satellites":[{"id":1,"elevation":40,"azimuth":83,"snr":46},{"id":2,"elevation":17,"azimuth":308,"snr":null}]}`},
		{name: "depth", frame: sentence("SDDBT,7.8,f,2.4,M,1.3,F"), want: `{"talker":"SD","type":"DBT","depth":2.4}`},
		{name: "heading", frame: sentence("HEHDT,274.07,T"), want: `{"talker":"HE","type":"HDT","heading":274.07}`},
		{name: "a sentence not in the table", frame: sentence("GPXTE,A,A,0.67,L,N"), want: `{"talker":"GP","type":"XTE","fields":["A","A","0.67","L","N"]}`},
		{name: "of a maker", frame: sentence("PGRME,15.0,M"), want: `{"talker":"P","type":"GRME","fields":["15.0","M"]}`},
		{name: "of a maker whose name ends as in the table", frame: sentence("PGGA,1"), want: `{"talker":"P","type":"GGA","fields":["1"]}`},
		{name: "AIS", frame: "!AIVDM,1,1,,A,13u?etPv2;0n:dDPwUM1U1Cb069D,0*24", want: `{"talker":"AI","type":"VDM","fields":["1","1","","A","13u?etPv2;0n:dDPwUM1U1Cb069D","0"]}`},
		{name: "without parts", frame: sentence("GPXXX"), want: `{"talker":"GP","type":"XXX","fields":[]}`},
		{name: "a wrong checksum", frame: "$GPGGA,123518,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47", err: "checksum is 47, the sentence's own is 46"},
		{name: "half a sentence", frame: "$GPGGA,123519,4807.0", err: "has no checksum"},
		{name: "half a checksum", frame: "$GPGGA*4", err: `checksum "4" is not two digits`},
		{name: "no checksum at all", frame: "$GPGGA*zz", err: `checksum "zz" is not hexadecimal`},
		{name: "something else", frame: "hello", err: `"hello" begins with neither $ nor !`},
		{name: "no address", frame: sentence(",1"), err: "has no talker and type"},
		{name: "a latitude beyond the pole", frame: sentence("GPGLL,9100.00,N,12311.12,W,225444,A"), err: `GLL: lat: "9100.00" "N" is not a position`},
		{name: "no direction", frame: sentence("GPGLL,4916.45,,12311.12,W,225444,A"), err: "is not a position"},
		{name: "a time that is none", frame: sentence("GPZDA,1234"), err: `ZDA: time: "1234" is not a time (hhmmss)`},
		{name: "a date that is none", frame: sentence("GPRMC,,,,,,,,,1,,"), err: `"1" is not a date (ddmmyy)`},
		{name: "not a number", frame: sentence("HEHDT,x,T"), err: `HDT: heading: "x" is not a number`},
		{name: "too short", frame: sentence("GPGSA,A,3,04"), err: "GSA: has 3 parts, not 17"},
	}
	testDecoder(t, new(NMEA), examples)
	known := strings.Join(nmeaNames(), " ")
	var v Value
	for _, tt := range examples {
		if new(NMEA).Decode([]byte(tt.frame), &v) != nil {
			continue
		}
		for _, f := range v.Fields {
			if !strings.Contains(" "+known+" ", " "+f.Name+" ") {
				t.Errorf("%s: %s is not in the list of names", tt.name, f.Name)
			}
		}
	}
}

func FuzzNMEA(f *testing.F) {
	for _, s := range []string{"GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,", "GPGSV,2,1,08,01,40,083,46", "GPGSA,A,3,,,,,,,,,,,,,2.5,1.3,2.1", "P,", "GPRMC"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, frame := range []string{string(body), sentence(string(body))} {
			var v Value
			if err := new(NMEA).Decode([]byte(frame), &v); err != nil {
				continue
			}
			for _, x := range v.Fields {
				checkValue(t, x)
			}
		}
	})
}

func BenchmarkNMEA(b *testing.B) {
	benchDecoder(b, new(NMEA), "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47")
}
