package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		numbers []uint64
		want    string
	}{
		{nil, ""},
		{[]uint64{4}, "4"},
		{[]uint64{3, 4, 5, 9}, "3-5, 9"},
		{[]uint64{1, 3, 4, 6}, "1, 3-4, …"},
	} {
		if got := ranges(c.numbers, 2); got != c.want {
			t.Errorf("%v is written %q, want %q", c.numbers, got, c.want)
		}
	}
}

// What a run says in the end, for what happened in it.
func TestTheVerdict(t *testing.T) {
	broken := errors.New("the gateway does not start")
	for _, c := range []struct {
		name                   string
		lie                    bool
		acked, arrive, flushes uint64
		err                    error
		fine                   bool
	}{
		{"all arrived", false, 5, 5, 3, nil, true},
		{"one is lost", false, 5, 4, 3, nil, false},
		{"no flush was seen", false, 5, 5, 0, nil, false},
		{"the gateway did not start", false, 5, 5, 3, broken, false},
		{"nothing is lost on a disk that lies", true, 5, 5, 3, nil, false},
		{"one is lost on a disk that lies", true, 5, 4, 3, nil, true},
		{"no gateway starts from a disk that lies", true, 5, 0, 3, broken, true},
		{"no gateway ever started", true, 0, 0, 0, broken, false},
		{"stopped on a disk that lies", true, 5, 0, 3, context.Canceled, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			r := newRig(&options{lie: c.lie}, t.TempDir(), newDisk(nil), &out)
			r.work.flushes = c.flushes
			for range c.acked {
				r.numbers.Acked(r.numbers.Next())
			}
			for n := range c.arrive {
				r.tally.Arrived(r.numbers.Payload(n + 1))
			}
			err := c.err
			if err == nil {
				err = r.judge()
			}
			if err = r.close(err); (err == nil) != c.fine {
				t.Errorf("error %v; it said\n%s", err, out.String())
			}
		})
	}
}

func TestTheAccountFindsWhatIsInventedOrOutOfOrder(t *testing.T) {
	for _, c := range []struct {
		name   string
		arrive []string
		fine   bool
	}{
		{"in order, one again", []string{"numbers 1", "numbers 2", "numbers 1", "numbers 3"}, true},
		{"out of order", []string{"numbers 2", "numbers 1", "numbers 3"}, false},
		{"a number never written", []string{"numbers 1", "numbers 2", "numbers 3", "numbers 4"}, false},
		{"bytes of nobody", []string{"numbers 1", "numbers 2", "numbers 3", "xx"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(&options{}, t.TempDir(), newDisk(nil), io.Discard)
			for range 3 {
				r.numbers.Acked(r.numbers.Next())
			}
			for _, p := range c.arrive {
				r.arrived([]byte(p))
			}
			if err := r.judge(); (err == nil) != c.fine {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestFlagsThatMakeNoSense(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"-gateway", "x", "-policy", "most"},
		{"-gateway", "x", "-cycles", "0"},
		{"-gateway", "x", "-again", "2"},
		{"-gateway", "x", "-cutmin", "2s", "-cutmax", "1s"},
		{"-gateway", "x", "more"},
	} {
		if o, code := parse(args, io.Discard); o != nil || code != exitUsage {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
	o, _ := parse([]string{"-gateway", "x", "-lie"}, io.Discard)
	if o == nil || o.policy != drop || o.cutMax != time.Second {
		t.Errorf("-lie is taken as %+v", o)
	}
}
