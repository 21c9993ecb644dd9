// Package quantity writes sizes, counts and times as people read them. What
// programs read has numbers in its base unit instead.
package quantity

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

type integer interface{ int | int64 | uint64 }

// Bytes is a size in the largest unit of which it has one at least, with a decimal
// where that says something: "1 GiB", "8.5 MiB", "512 bytes". A negative size is
// one that is not known.
func Bytes[N integer](n N) string {
	switch {
	case n < 0:
		return "unknown"
	case n < 1<<10:
		return Count(n, "byte", "bytes")
	}
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	value, unit := float64(n)/(1<<10), 0
	text := decimal(value)
	for ; unit < len(units)-1 && (value >= 1<<10 || text == "1024"); unit++ { // 1023.96 MiB is 1 GiB, too
		value /= 1 << 10
		text = decimal(value)
	}
	return text + " " + units[unit]
}

// decimal has one digit behind the point, unless that is 0.
func decimal(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// Count is so many of what is named, for one and for any other number:
// Count(n, "message waits", "messages wait").
func Count[N integer](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Duration is a time in whole seconds, in its two largest units: "35s", "3m5s",
// "2h", "3d4h". A negative one, of a clock that was set, is none.
func Duration(d time.Duration) string {
	s := int64(max(d, 0).Round(time.Second) / time.Second)
	units := []struct {
		name    string
		seconds int64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}
	for i, u := range units {
		if s < u.seconds {
			continue
		}
		text := fmt.Sprintf("%d%s", s/u.seconds, u.name)
		if i+1 < len(units) {
			next := units[i+1]
			if rest := s % u.seconds / next.seconds; rest > 0 {
				text += fmt.Sprintf("%d%s", rest, next.name)
			}
		}
		return text
	}
	return "0s"
}

// Seconds is [Duration] of a number of seconds.
func Seconds(s float64) string { return Duration(ofSeconds(s)) }

// Latency is a short time, with as many digits as matter: "0.35 ms", "3.4 ms",
// "120 ms", "1.2 s".
func Latency(d time.Duration) string {
	ms := d.Seconds() * 1000
	switch {
	case d == 0:
		return "0 ms"
	case d < time.Millisecond:
		return fmt.Sprintf("%.2f ms", ms)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", ms)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// About is a forecast of so many seconds, no more exact than it can be.
func About(s float64) string {
	switch d := ofSeconds(s); {
	case s < 1:
		return "less than 1s"
	case s < 120:
		return fmt.Sprintf("about %.0fs", s)
	case d < 2*time.Hour:
		return fmt.Sprintf("about %.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("about %.0f h", d.Hours())
	case d < 730*24*time.Hour:
		return fmt.Sprintf("about %.0f days", d.Hours()/24)
	}
	return "years"
}

// ofSeconds takes no more than a Duration can be.
func ofSeconds(s float64) time.Duration { return time.Duration(min(s, 9e9) * float64(time.Second)) }
