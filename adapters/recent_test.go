package adapters

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/adapters/decode"
	"packetboat/adapters/frame"
)

func TestFramesAreKeptWhileSomebodyLooks(t *testing.T) {
	var r Recent
	now := time.Unix(1000, 0)
	frame := func(after time.Duration, text string) { r.Frame(now.Add(after), "p", []byte(text), "t") }
	frame(0, "nobody looks")
	if list := r.Look(now); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	for i := range recentFrames + 5 {
		frame(time.Duration(i)*time.Millisecond, strings.Repeat("x", 60+i))
	}
	frame(lookFor, "too late")
	for i := range recentErrors + 5 {
		r.Wrong(now.Add(time.Duration(i)*time.Hour), "p", []byte{byte(i)}, "bad")
	}
	list := r.Look(now.Add(lookFor))
	if len(list) != recentFrames {
		t.Fatalf("%d", len(list))
	}
	errs, frames := list[:recentErrors], list[recentErrors:]
	if errs[0].Head[0] != recentErrors+4 || errs[recentErrors-1].Error != "bad" || frames[0].Bytes != 60+recentFrames+4 || len(frames[0].Head) != recentBytes || frames[0].Topic != "t" {
		t.Errorf("%+v", list)
	}
	for i := 1; i < len(list); i++ {
		if list[i].At.After(list[i-1].At) {
			t.Errorf("%d is newer than the one before it", i)
		}
	}
}

func TestTroubleIsOneLineAndIsOver(t *testing.T) {
	var r Trouble
	r.Set(errors.Join(errors.New("a"), errors.New("b")))
	if why := r.String(); why != "a; b" {
		t.Errorf("%q", why)
	}
	r.Set(nil)
	if why := r.String(); why != "" {
		t.Errorf("%q", why)
	}
}

func TestNothingIsAllocatedWhenNobodyLooks(t *testing.T) {
	var r Recent
	now, b := time.Now(), make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() { r.Frame(now, "p", b, "t") }); n != 0 {
		t.Errorf("%v", n)
	}
	r.Look(now)
	for range recentFrames {
		r.Frame(now, "p", b, "t")
	}
	if n := testing.AllocsPerRun(100, func() { r.Frame(now, "p", b, "t") }); n != 0 {
		t.Errorf("%v while somebody looks", n)
	}
}

// TestWhatALinkBringsIsSeen: good frames, frames that are not decoded, and bytes
// that are none.
func TestWhatALinkBringsIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(_ *rig, o *Options) {
			o.Topic = tmpl(t, "gw/dev")
			o.Framing = frame.Line{Trim: true, Max: 10}
			o.NewDecoder = func() decode.Decoder { return new(decode.Object) }
		})
		r.s.Recent().Look(time.Now())
		device, wait := r.serve(t.Context(), Place{Port: "ttyUSB0"})
		for _, text := range []string{"{\"a\":1}\n", "{\"a\":\n", strings.Repeat("y", 30) + "\n"} {
			time.Sleep(time.Second)
			io.WriteString(device, text)
		}
		device.Close()
		_ = wait()
		list := r.s.Recent().Look(time.Now())
		if len(list) != 3 {
			t.Fatalf("%+v", list)
		}
		if bad := list[0]; bad.Bytes != 31 || !strings.HasPrefix(bad.Error, "a frame that is too long") || bad.Link != "ttyUSB0" {
			t.Errorf("%+v", bad)
		}
		if bad := list[1]; string(bad.Head) != "{\"a\":" || !strings.HasPrefix(bad.Error, "not decoded: ") || bad.Topic != "" {
			t.Errorf("%+v", bad)
		}
		if good := list[2]; string(good.Head) != "{\"a\":1}" || good.Topic != "gw/dev" || good.Error != "" {
			t.Errorf("%+v", good)
		}
	})
}
