package adapters

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/adapters/decode"
	"packetboat/broker/store"
	"packetboat/config"
)

// configured is an Options edit that takes what a [[tcp]] section says.
func configured(t testing.TB, section string) func(*rig, *Options) {
	t.Helper()
	cfg, err := config.Parse("f", []byte("gateway.id = \"gw\"\n[[tcp]]\nname = \"dev\"\nlisten = \":1\"\n"+section), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	opt, err := Checking().Stream(&cfg.TCP[0].Stream)
	if err != nil {
		t.Fatal(err)
	}
	return func(_ *rig, o *Options) {
		opt.Broker, opt.Disk, opt.Log, opt.Jitter, opt.Command = o.Broker, o.Disk, o.Log, o.Jitter, o.Command
		*o = opt
	}
}

// said are messages as "topic payload".
func (b *fakeBroker) said() (list []string) {
	for _, m := range b.messages() {
		if !strings.HasSuffix(m.Topic, "/status") {
			list = append(list, m.Topic+" "+string(m.Payload))
		}
	}
	return list
}

// checkSum checks that every frame was counted once.
func checkSum(t *testing.T, st Stats) {
	t.Helper()
	if sum := st.Undecoded + st.NoTopic + st.Published + st.Dropped + st.Filtered + st.Unchanged + st.RateLimited; sum != st.Frame.Frames {
		t.Errorf("%d frames, %d counted: %+v", st.Frame.Frames, sum, st)
	}
}

func TestValuesAreShaped(t *testing.T) {
	for _, tt := range []struct {
		name, section, in string
		want              []string
		check             func(st Stats) bool
	}{
		{"computed, filtered and addressed by fields", `
decode = { type = "csv", names = ["id", "grams"], types = ["string", "float"] }
when = "grams > 5"
set = { kg = "grams / 1000" }
topic = "{gateway}/{field:id}/{field:kg}"`,
			"a,1500\nb,5\nc/d,7\n,8\ngarbage\n",
			[]string{`gw/a/1.5 {"id":"a","grams":1500,"kg":1.5}`, `gw/c_d/0.007 {"id":"c/d","grams":7,"kg":0.007}`},
			func(st Stats) bool { return st.Filtered == 1 && st.NoTopic == 1 && st.Undecoded == 1 }},
		{"a failing expression is counted each time", `
decode = { type = "json" }
set = { kg = "grams / 1000" }`,
			"{\"grams\":1}\n{\"x\":1}\n{\"x\":2}\n",
			[]string{`gw/dev {"grams":1,"kg":0.001}`, `gw/dev {"x":1}`, `gw/dev {"x":2}`},
			func(st Stats) bool { return st.ShapeErrors == 2 }},
		{"only what changed, by topic", `
decode = { type = "keyvalue" }
topic = "{field:id}"
on_change = true`,
			"id=a,t=1\nid=b,t=1\nid=a,t=1\nid=a,t=2\nid=b,t=1\nid=a,t=1\n",
			[]string{`a {"id":"a","t":1}`, `b {"id":"b","t":1}`, `a {"id":"a","t":2}`, `a {"id":"a","t":1}`},
			func(st Stats) bool { return st.Unchanged == 2 }},
		{"by more than a dead band, from what was published last", `
on_change = true
dead_band = 0.1`,
			"20.0\n20.05\n20.1\n20.11\n20.2\n20.0\nERR\nERR\n20.0\n",
			[]string{"gw/dev 20.0", "gw/dev 20.11", "gw/dev 20.0", "gw/dev ERR", "gw/dev 20.0"},
			func(st Stats) bool { return st.Unchanged == 4 }},
		{"at a rate", "rate = 2", "1\n2\n3\n4\n", []string{"gw/dev 1", "gw/dev 2"},
			func(st Stats) bool { return st.RateLimited == 2 }},
		{"what the rate drops did not change anything", "rate = 1\non_change = true", "1\n2\n1\n",
			[]string{"gw/dev 1"}, func(st Stats) bool { return st.RateLimited == 1 && st.Unchanged == 1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, configured(t, tt.section))
				device, wait := r.serve(t.Context(), Place{})
				io.WriteString(device, tt.in)
				device.Close()
				wait()
				st := r.s.Stats()
				if got := r.broker.said(); !reflect.DeepEqual(got, tt.want) || !tt.check(st) {
					t.Errorf("got %q\n%+v", got, st)
				}
				checkSum(t, st)
			})
		})
	}
}

func TestTheSameFailureIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, configured(t, "decode = { type = \"json\" }\nwhen = \"x > 1\"\nset = { a = \"x * 2\" }"))
		for range 2 {
			device, wait := r.serve(t.Context(), Place{})
			io.WriteString(device, strings.Repeat("{}\n", 100))
			device.Close()
			wait()
		}
		const line = "expression failed for a frame; will not be told again"
		if n, st := r.log.count(line), r.s.Stats(); n != 2 || st.ShapeErrors != 400 || st.Published != 200 {
			t.Fatalf("%d lines, %+v", n, st)
		}
	})
	var c causes
	n := 0
	for i := range 100 {
		if c.first("when", fmt.Sprint(i)) {
			n++
		}
	}
	if n != maxCauses || !c.first("set.a", "1") {
		t.Fatalf("%d causes told", n)
	}
}

func TestTheRateIsPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rate{most: 3}
		passed := 0
		for range 100 { // ten seconds
			if r.take(time.Now()) {
				passed++
			}
			time.Sleep(100 * time.Millisecond)
		}
		if passed != 30 {
			t.Fatalf("%d passed", passed)
		}
	})
}

func TestWhatIsDroppedOnPurposeIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(r *rig, o *Options) {
			configured(t, "when = \"value > 0\"\non_change = true\nrate = 1\nack = \"\"")(r, o)
			o.Ack = []byte("OK\n")
			r.disk.gate = make(chan struct{})
		})
		device, wait := r.serve(t.Context(), Place{})
		io.WriteString(device, "1\n1\n0\n2\n")
		synctest.Wait()
		if st := r.s.Stats(); st.Acked != 0 || st.Published != 1 || st.Unchanged != 1 || st.Filtered != 1 || st.RateLimited != 1 {
			t.Fatalf("before the disk has the first: %+v", st)
		}
		close(r.disk.gate)
		in := bufio.NewReader(device)
		for range 4 {
			if line, err := in.ReadString('\n'); err != nil || line != "OK\n" {
				t.Fatalf("%q, %v", line, err)
			}
		}
		device.Close()
		wait()
	})
}

func TestARefusedValueIsNotTheLastOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, configured(t, "on_change = true"))
		refuse := true
		r.broker.setRefuse(func(m *store.Message) error {
			if refuse && string(m.Payload) == "2" {
				refuse = false
				return errors.New("no")
			}
			return nil
		})
		device, wait := r.serve(t.Context(), Place{})
		io.WriteString(device, "1\n2\n1\n2\n2\n")
		device.Close()
		wait()
		if got := r.broker.payloads(""); !reflect.DeepEqual(got, []string{"1", "2"}) {
			t.Fatalf("%q", got)
		}
		checkSum(t, r.s.Stats())
	})
}

func text(s string) *decode.Value { return &decode.Value{Payload: []byte(s)} }

// put publishes a value, or finds it unchanged.
func (c *changes) put(topic, payload string) (same bool) {
	p, value, _, same := c.look(topic, text(payload))
	if !same {
		c.settle(p, value, store.Receipt{}, true)
	}
	return same
}

func TestWhenTwoLinksPublishAtOnceNothingIsKnown(t *testing.T) {
	c := newChanges(0)
	c.put("t", "0")
	a, one, _, _ := c.look("t", text("1"))
	b, two, _, _ := c.look("t", text("2"))
	c.settle(a, one, store.Receipt{}, true)
	c.settle(b, two, store.Receipt{}, true)
	for _, v := range []string{"2", "1"} {
		if c.put("t", v) {
			t.Errorf("%s is taken for the last one", v)
		}
	}
	if !c.put("t", "1") {
		t.Error("1 is published again")
	}
}

func TestTopicsThatAreRememberedAreBounded(t *testing.T) {
	c := newChanges(0)
	c.put("first", "1")
	for i := range 10 * maxTopics {
		c.put(fmt.Sprint(i), "1")
		if i%100 == 0 && !c.put("first", "1") {
			t.Fatal("one in use was forgotten")
		}
	}
	if len(c.topics) != maxTopics || c.recent.Len() != maxTopics {
		t.Fatalf("%d topics", len(c.topics))
	}
	if c.put("0", "1") {
		t.Fatal("an old one is remembered")
	}
}

func TestADeadBandIsForNumbersOnly(t *testing.T) {
	of := func(fields ...decode.Field) *decode.Value {
		return &decode.Value{Payload: decode.AppendObject(nil, fields), Fields: fields}
	}
	many := make([]decode.Field, maxBanded+1)
	for i := range many {
		many[i] = decode.Field{Name: "n", Value: int64(i)}
	}
	more := append([]decode.Field(nil), many...)
	more[maxBanded].Value = 64.05
	for _, tt := range []struct {
		name string
		a, b *decode.Value
		same bool
	}{
		{"numbers within", of(decode.Field{Name: "a", Value: 1.0}, decode.Field{Name: "b", Value: int64(7)}), of(decode.Field{Name: "a", Value: int64(1)}, decode.Field{Name: "b", Value: 7.1}), true},
		{"one beyond", of(decode.Field{Name: "a", Value: 1.0}), of(decode.Field{Name: "a", Value: 1.2}), false},
		{"a text", of(decode.Field{Name: "a", Value: "x"}), of(decode.Field{Name: "a", Value: "y"}), false},
		{"a number that became text", of(decode.Field{Name: "a", Value: 1.0}), of(decode.Field{Name: "a", Value: "1"}), false},
		{"another name", of(decode.Field{Name: "a", Value: 1.0}), of(decode.Field{Name: "b", Value: 1.0}), false},
		{"null", of(decode.Field{Name: "a", Value: nil}), of(decode.Field{Name: "a", Value: nil}), true},
		{"texts that meet", of(decode.Field{Name: "a", Value: "bc"}, decode.Field{Name: "d", Value: "e"}), of(decode.Field{Name: "a", Value: "bcd"}, decode.Field{Name: "d", Value: "e"}), false},
		{"great numbers", of(decode.Field{Name: "a", Value: uint64(math.MaxUint64)}), of(decode.Field{Name: "a", Value: uint64(math.MaxUint64)}), true},
		{"more numbers than are compared", of(many...), of(more...), false},
		{"text that is a number", text("1.0"), text("1.05"), true},
	} {
		c := newChanges(0.1)
		p, value, _, _ := c.look("t", tt.a)
		c.settle(p, value, store.Receipt{}, true)
		if _, _, _, same := c.look("t", tt.b); same != tt.same {
			t.Errorf("%s: %v", tt.name, same)
		}
	}
}

func TestMistakesInSectionsHaveTheirKeys(t *testing.T) {
	for _, tt := range []struct{ section, key, says string }{
		{`decode = { type = "csv", names = ["a", "a"] }`, "decode.names[1]", `"a" is the name of another value already`},
		{`decode = { type = "csv" }`, "decode.names", "is missing"},
		{`decode = { type = "csv", names = ["a"], types = ["flaot"] }`, "decode.types[0]", `"flaot" is none of string, float, int, bool`},
		{`decode = { type = "csv", names = ["a"], types = ["float", "int"] }`, "decode.types", "has 2 items, names has 1"},
		{`decode = { type = "csv", names = ["a"], comma = "" }`, "decode.comma", `"" cannot stand between values`},
		{`decode = { type = "keyvalue", pairs = "" }`, "decode.pairs", "must not be empty"},
		{`decode = { type = "keyvalue", equals = "" }`, "decode.equals", "must not be empty"},
		{`decode = { type = "keyvalue", equals = "," }`, "decode.equals", "must differ from pairs"},
		{`decode = { type = "regexp" }`, "decode.pattern", "is missing"},
		{`decode = { type = "regexp", pattern = "(" }`, "decode.pattern", "is not a regular expression: error parsing regexp: missing closing )"},
		{`decode = { type = "regexp", pattern = "([0-9]+)" }`, "decode.pattern", "has no named groups"},
		{`decode = { type = "binary" }`, "decode.fields", "is missing"},
		{`decode = { type = "binary", fields = [{ name = "a", type = "int8" }, { name = "b", type = "int24" }] }`, "decode.fields[1].type", `"int24" is none of bool, int8`},
		{`decode = { type = "binary", fields = [{ name = "a", type = "int8" }, { name = "a", type = "int8" }] }`, "decode.fields[1].name", `"a" is the name of another field already`},
		{`decode = { type = "binary", fields = [{ name = "a", type = "int8", scale = 0 }] }`, "decode.fields[0].scale", "must not be 0"},
		{`decode = { type = "binary", fields = [{ name = "a", type = "bool", scale = 2 }] }`, "decode.fields[0].scale", "means nothing for a bool"},
		{`decode = { type = "binary", fields = [{ name = "a", type = "int8", offset = 2147483647 }] }`, "decode.fields[0].offset", "must be at most 16777216"},
		{`when = "t >"`, "when", "is no valid expression: unexpected token EOF"},
		{`set = { "a b" = "1 +" }`, `set."a b"`, "is no valid expression"},
		{"decode = { type = \"csv\", names = [\"a\"] }\ntopic = \"{field:b}\"", "topic", "{field:b}: there is no such field; there are a"},
	} {
		cfg, err := config.Parse("f", []byte("[[tcp]]\nname = \"dev\"\nlisten = \":1\"\n"+tt.section), config.Options{})
		if err != nil {
			t.Errorf("%s: %v", tt.section, err)
			continue
		}
		_, err = Checking().Stream(&cfg.TCP[0].Stream)
		var e *KeyError
		if !errors.As(err, &e) || e.Key != tt.key || !strings.HasPrefix(e.Err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.section, err)
		}
	}
}

// BenchmarkShapedLine is a CSV line through all of the way in, to the broker.
func BenchmarkShapedLine(b *testing.B) {
	r := newRig(b, configured(b, `decode = { type = "csv", names = ["id", "grams"], types = ["string", "float"] }
when = "grams > 5"
set = { kg = "grams / 1000" }
topic = "{gateway}/{field:id}"
on_change = true
dead_band = 0.5`))
	_, ours := net.Pipe()
	c := &conn{s: r.s, link: ours, framing: r.s.opt.Framing.NewDecoder(), decoder: r.s.opt.NewDecoder(), shaper: r.s.newShaper()}
	frames := [][]byte{[]byte("a,1500"), []byte("a,1500.1"), []byte("b,7")}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := c.publish(context.Background(), frames[i%len(frames)]); err != nil {
			b.Fatal(err)
		}
	}
}
