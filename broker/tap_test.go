package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
)

func names(list []TopicValue) string {
	var parts []string
	for _, v := range list {
		parts = append(parts, fmt.Sprintf("%s=%s/%d", v.Topic, v.Payload, v.Count))
	}
	return strings.Join(parts, " ")
}

func TestTopicsAreSeenWhileSomebodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rigPipes(t, Options{SysInterval: time.Second})
		publish := func(topic, text string, retain bool) {
			t.Helper()
			if _, err := r.b.Publish(&Message{Topic: topic, Payload: []byte(text), QoS: 1, Retain: retain}); err != nil {
				t.Fatal(err)
			}
		}
		c := r.connect(packet.V5, "c")
		c.subscribe(packet.Filter{Filter: "$SYS/#"}) // which does not show
		publish("kept", "1", true)
		publish("gone", "1", false)
		list, all, more := r.b.Topics("", 10)
		if names(list) != "kept=1/0" || all != 1 || more || !list[0].Retain || time.Since(list[0].At) > time.Second {
			t.Errorf("%s %d %v %v", names(list), all, more, list)
		}
		publish("b/x", "2", false)
		publish("a/x", "3", false)
		publish("a/x", "4", false)
		publish("kept", "5", true)
		for _, tt := range []struct {
			match string
			limit int
			want  string
			all   int
		}{
			{"", 10, "a/x=4/2 b/x=2/1 kept=5/1", 3},
			{"x", 10, "a/x=4/2 b/x=2/1", 2},
			{"", 1, "a/x=4/2", 3},
			{"", 0, "", 3},
			{"nothing", 10, "", 0},
		} {
			if list, all, _ := r.b.Topics(tt.match, tt.limit); names(list) != tt.want || all != tt.all {
				t.Errorf("%q: %s, %d", tt.match, names(list), all)
			}
		}
		time.Sleep(tapFor - time.Second) // of the bubble
		if list, _, _ := r.b.Topics("b/x", 10); names(list) != "b/x=2/1" {
			t.Errorf("a while later: %s", names(list))
		}
		time.Sleep(tapFor + time.Second)
		if r.b.tap.Load() != nil {
			t.Error("it looks on when nobody asks any more")
		}
		if list, _, _ := r.b.Topics("", 10); names(list) != "kept=5/0" {
			t.Errorf("anew: %s", names(list))
		}
		c.nc.Close()
		r.stop()
		if r.b.tap.Load() != nil {
			t.Error("it looks on at the end")
		}
	})
}

func TestWhatATapKeepsIsBounded(t *testing.T) {
	v := &tap{topics: map[string]*TopicValue{}}
	long := strings.Repeat("x", 1<<10)
	for i := range tapTopics + 1 {
		v.see(&Message{Topic: fmt.Sprint("t/", i), Payload: []byte(long)})
	}
	if !v.missed || len(v.topics) != tapTopics || v.size > tapSize {
		t.Errorf("%d topics, %d bytes", len(v.topics), v.size)
	}
	if x := v.topics["t/0"]; len(x.Payload) != tapPayload || x.Bytes != len(long) {
		t.Errorf("%d of %d bytes", len(x.Payload), x.Bytes)
	}
	v = &tap{topics: map[string]*TopicValue{}}
	long = strings.Repeat("x", 60<<10)
	for i := range 1000 {
		v.see(&Message{Topic: fmt.Sprint(long, i)})
	}
	if !v.missed || v.size > tapSize {
		t.Errorf("long names: %d topics, %d bytes", len(v.topics), v.size)
	}
	m := &Message{Topic: "t/0", Payload: []byte(long)}
	v = &tap{topics: map[string]*TopicValue{}}
	v.see(m)
	if n := testing.AllocsPerRun(100, func() { v.see(m) }); n != 0 {
		t.Errorf("%v allocations for a message", n)
	}
}
