package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Auto is the value of a Size or time.Duration that was left to the program; the
// key's description says what it then is.
const Auto = -1

// A Size is a number of bytes.
type Size int64

// The units a size may be written in, largest first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// String writes the size with the unit that leaves the smallest whole number.
func (s Size) String() string {
	if s == Auto {
		return "auto"
	}
	least, unit := int64(s), ""
	for _, u := range sizeUnits {
		if n := int64(s) / u.bytes; s != 0 && int64(s)%u.bytes == 0 && n < least {
			least, unit = n, u.name
		}
	}
	return strconv.FormatInt(least, 10) + unit
}

func parseSize(s string) (Size, error) {
	digits := strings.TrimRight(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
	unit := strings.TrimLeft(s[len(digits):], " ")
	digits = strings.TrimRight(digits, " ")
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			return 0, fmt.Errorf("%q is too large", s)
		}
		return 0, fmt.Errorf("%q is not a size; write a whole number and a unit, such as 64KiB or 16MiB", s)
	}
	if unit == "" {
		return Size(n), nil
	}
	names := make([]string, 0, len(sizeUnits))
	for _, u := range sizeUnits {
		names = append(names, u.name)
		if u.name != unit {
			continue
		}
		if n > uint64(math.MaxInt64/u.bytes) {
			return 0, fmt.Errorf("%q is too large", s)
		}
		return Size(int64(n) * u.bytes), nil
	}
	return 0, fmt.Errorf("%q is not a unit of size; use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB%s", unit, didYouMean(unit, names))
}

// parseDuration reads Go's syntax with days in front: "7d", "1d12h", "1m30s".
func parseDuration(s string) (time.Duration, error) {
	rest, total := s, time.Duration(0)
	if days, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 31)
		if err != nil || n > uint64(math.MaxInt64/(24*time.Hour)) {
			return 0, badDuration(s)
		}
		total, rest = time.Duration(n)*24*time.Hour, after
		if rest == "" {
			return total, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 && total > 0 || total > math.MaxInt64-max(d, 0) {
		return 0, badDuration(s)
	}
	return total + d, nil
}

func badDuration(s string) error {
	return fmt.Errorf("%q is not a duration; write numbers with units, such as 500ms, 30s, 5m, 12h or 7d", s)
}

// showDuration writes a duration as one would in a file.
func showDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == Auto:
		return "auto"
	case d != 0 && d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
