package quantity

import (
	"math"
	"testing"
	"time"
)

func TestSizesAreInTheUnitThatFits(t *testing.T) {
	for n, want := range map[int64]string{
		-1: "unknown", 0: "0 bytes", 1: "1 byte", 2: "2 bytes", 1023: "1023 bytes",
		1 << 10: "1 KiB", 1536: "1.5 KiB", 768 << 10: "768 KiB",
		1<<20 - 1: "1 MiB", 1 << 20: "1 MiB", 17 << 19: "8.5 MiB", 1023 << 20: "1023 MiB",
		1<<30 - 1: "1 GiB", 1 << 30: "1 GiB", 1<<30 + 1<<20: "1 GiB", 74<<30 + 3<<28: "74.8 GiB",
		1 << 40: "1 TiB", math.MaxInt64: "8 EiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestOneIsNotMany(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 messages wait", 1: "1 message waits", 2: "2 messages wait"} {
		if got := Count(n, "message waits", "messages wait"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDurationsHaveTwoUnitsAtMost(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 499 * time.Millisecond: "0s", 500 * time.Millisecond: "1s", 35 * time.Second: "35s",
		time.Minute - 1: "1m", 2 * time.Minute: "2m", 185 * time.Second: "3m5s",
		time.Hour + time.Second: "1h", 125 * time.Minute: "2h5m", 24*time.Hour - 1: "1d",
		76*time.Hour + time.Minute: "3d4h", 400 * 24 * time.Hour: "400d",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := Seconds(math.Inf(1)); got != "104166d16h" {
		t.Errorf("%q", got)
	}
}

func TestLatenciesHaveTheDigitsThatMatter(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 345 * time.Microsecond: "0.34 ms", 3400 * time.Microsecond: "3.4 ms", 120 * time.Millisecond: "120 ms", 1230 * time.Millisecond: "1.2 s",
	} {
		if got := Latency(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestForecastsAreNoMoreExactThanTheyCanBe(t *testing.T) {
	for s, want := range map[float64]string{
		0.4: "less than 1s", 30: "about 30s", 600: "about 10 min", 3 * 3600: "about 3 h", 5 * 86400: "about 5 days", 1e9: "years", math.Inf(1): "years",
	} {
		if got := About(s); got != want {
			t.Errorf("%v: %q, want %q", s, got, want)
		}
	}
}
