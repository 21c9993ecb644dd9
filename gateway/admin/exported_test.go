package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// exportOf is the line of a message.
func exportOf(t testing.TB, d *store.Delivery) []byte {
	t.Helper()
	b, err := json.Marshal(messageOf(d, false))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// deliveryOf is what a queue would give of what is stored.
func deliveryOf(m *store.Message, to store.Target) *store.Delivery {
	d := &store.Delivery{Message: *m, SubscriptionIDs: to.SubscriptionIDs}
	d.QoS, d.Retain = to.QoS, to.KeepRetain
	if !m.Earlier.IsZero() {
		d.At, d.AtTrusted = time.UnixMicro(m.Earlier.Micro), m.Earlier.Trusted
	}
	return d
}

// FuzzExported: what is taken is exported again as what it was taken as.
func FuzzExported(f *testing.F) {
	for _, s := range []string{
		`{"seq":1,"topic":"a/b","qos":1,"received":"2026-05-04T10:00:01Z","received_trusted":true,"text":"12.5"}`,
		`{"seq":1,"topic":"a","qos":2,"retain":true,"received":"2026-05-04T10:00:01.123456+02:00","received_trusted":false,"base64":"/wA=","expiry_seconds":0}`,
		`{"topic":"é","text":"","payload_format":1,"content_type":"","response_topic":"r","correlation_data":"","user_properties":[["a","b"],["a",""]],"subscription_ids":[1,268435455],"share":268435456}`,
		`{"message":{"topic":"a","text":"x","dead_letter":{"reason":"refused","queue":"bridge/b/0","received":"2026-05-04T10:00:01Z"}}}`,
		`{"end":true}`, `{"error":"3 messages are damaged"}`, ``, `{"topic":"\ud83d\ude00","text":"\ud83d"}`, `{"topic":"a","text":"x"} {}`, `{"topic":"#","text":""}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := ParseExported(line)
		if err != nil || e.Message == nil {
			return
		}
		m, to := e.stored()
		again := exportOf(t, deliveryOf(m, to))
		e2, err := ParseExported(again)
		if err != nil {
			t.Fatalf("%s\nis exported as %s\n%v", line, again, err)
		}
		m2, to2 := e2.stored()
		if !reflect.DeepEqual(to, to2) && len(to.SubscriptionIDs)+len(to2.SubscriptionIDs) > 0 || !sameMessage(m, m2) {
			t.Fatalf("%s\nis taken as %+v %+v,\nexported as %s,\nand taken as %+v %+v", line, m, to, again, m2, to2)
		}
	})
}

func sameMessage(a, b *store.Message) bool {
	x, y := *a, *b
	x.Payload, y.Payload, x.Props, y.Props = nil, nil, nil, nil
	return reflect.DeepEqual(x, y) && bytes.Equal(a.Payload, b.Payload) && bytes.Equal(a.Props, b.Props)
}

// randomMessage has everything that a message may have, or not.
func randomMessage(r *rand.Rand) (*store.Message, store.Target) {
	some := func() bool { return r.IntN(2) == 0 }
	text := func(most int) string {
		alphabet := []rune("ab/ \"\\<>&\t\u2028é😀\uFFFD\uFEFF")
		var s strings.Builder
		for range r.IntN(most) {
			s.WriteRune(alphabet[r.IntN(len(alphabet))])
		}
		return s.String()
	}
	data := func(most int) []byte {
		b := make([]byte, r.IntN(most))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	m := &store.Message{Topic: "t" + text(20), QoS: byte(r.IntN(3)), Payload: data(60)}
	if some() {
		m.Payload = []byte(text(60) + "\x00")
	}
	if r.IntN(100) == 0 {
		m.Payload = data(20_000)
	}
	if some() {
		m.Props = packet.AppendByteProp(m.Props, packet.PropPayloadFormat, byte(r.IntN(2)))
	}
	if some() {
		m.Props = packet.AppendStringProp(m.Props, packet.PropContentType, text(10))
	}
	if some() {
		m.Props = packet.AppendStringProp(m.Props, packet.PropResponseTopic, "r/"+text(10))
	}
	if some() {
		m.Props = packet.AppendStringProp(m.Props, packet.PropCorrelationData, data(20))
	}
	for range r.IntN(4) {
		m.Props = packet.AppendUserProp(m.Props, text(4), text(10))
	}
	if some() {
		m.Expiry, m.HasExpiry = 4_000_000_000+r.Uint32N(1000), true // whatever the clock says
	}
	if some() {
		m.Earlier = store.WallOf(time.UnixMicro(r.Int64N(1<<51)), some())
	}
	to := store.Target{QoS: m.QoS, KeepRetain: some()}
	for range r.IntN(3) {
		to.SubscriptionIDs = append(to.SubscriptionIDs, 1+r.Uint32N(maxSubscriptionID))
	}
	if some() {
		to.SubscriptionIDs = append(to.SubscriptionIDs, maxSubscriptionID+1+r.Uint32N(1000))
	}
	return m, to
}

// exported is what `queue export` prints.
func exported(t testing.TB, s source, queue string) (lines [][]byte) {
	t.Helper()
	err := s.Messages(t.Context(), queue, 0, func(m *Message) error {
		m.Seq = 0
		b, err := json.Marshal(m)
		lines = append(lines, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// TestAnExportThatIsImportedIsTheSameExport: everything of every message, in its
// order, in another gateway, and there on the disk.
func TestAnExportThatIsImportedIsTheSameExport(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 15))
	from := newRig(t)
	c, err := from.local.Store.Consumer("session/a", store.SessionIDs)
	if err != nil {
		t.Fatal(err)
	}
	var last store.Receipt
	for i := range 3000 {
		m, to := randomMessage(r)
		to.Consumer = c
		if i%3 == 0 {
			m.Earlier = store.Wall{}
			last, err = from.local.Store.Publish(m, []store.Target{to})
		} else {
			last, err = from.local.Store.Append(m, to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := from.local.Store.Wait(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	lines := exported(t, from.client, "session/a")
	for name, of := range map[string]func(r *rig) source{
		"in this process":    func(r *rig) source { return r.local },
		"through the socket": func(r *rig) source { return r.client },
	} {
		t.Run(name, func(t *testing.T) {
			to := newRig(t)
			to.publish("session/a", 2)
			before := exported(t, to.local, "session/a")
			for i := 0; i < len(lines); i += 500 {
				b := &Batch{Queue: "session/a", ID: "x", Lines: lines[i:min(i+500, len(lines))], End: i+500 >= len(lines)}
				if did, err := of(to).Import(t.Context(), b); err != nil || did.Queued != 500 || did.Lines != 500 {
					t.Fatalf("%+v, %v", did, err)
				}
			}
			got := exported(t, of(to), "session/a")
			if want := append(before, lines...); !reflect.DeepEqual(got, want) {
				for i := range want {
					if i >= len(got) || !bytes.Equal(got[i], want[i]) {
						t.Fatalf("%d messages of %d; message %d is\n%s, not\n%s", len(got), len(want), i, got[min(i, len(got)-1)], want[i])
					}
				}
			}
			if v, err := to.local.Verify(t.Context(), nil); err != nil || !v.OK {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}

func TestWrongLinesOfAnExport(t *testing.T) {
	long := strings.Repeat("x", 65536)
	for _, tt := range []struct{ name, line, want string }{
		{"no JSON", `topic`, "no JSON object"},
		{"another kind of JSON", `["topic"]`, "no JSON object"},
		{"cut off in the middle", `{"topic":"a","te`, "cut off"},
		{"two of them", `{"topic":"a","text":""}{"topic":"b","text":""}`, "something stands behind"},
		{"not UTF-8", "{\"topic\":\"a\xff\",\"text\":\"\"}", "not UTF-8"},
		{"half a character", `{"topic":"a","text":"\ud83d"}`, `\ud83d is half a character`},
		{"the other half", `{"topic":"a","text":"\ude00\ud83d"}`, `\ude00 is half a character`},
		{"halves that do not belong together", `{"topic":"a","text":"\ud83d\ud83d"}`, `\ud83d is half a character`},
		{"a field that there is not", `{"topic":"a","text":"","colour":1}`, `unknown field "colour"`},
		{"no topic", `{"text":""}`, `"topic" is missing or empty`},
		{"a wildcard", `{"topic":"a/+","text":""}`, `"topic" has a wildcard`},
		{"a NUL in the topic", `{"topic":"a\u0000","text":""}`, `"topic" has the character U+0000`},
		{"a long topic", `{"topic":"` + long + `","text":""}`, `"topic" has 65536 bytes`},
		{"no payload", `{"topic":"a"}`, "there is no payload"},
		{"two payloads", `{"topic":"a","text":"","base64":""}`, "there are two payloads"},
		{"no base64", `{"topic":"a","base64":"!"}`, "base64"},
		{"QoS 3", `{"topic":"a","qos":3,"text":""}`, `"qos" is 3`},
		{"QoS 256", `{"topic":"a","qos":256,"text":""}`, `cannot unmarshal number 256`},
		{"a negative expiry", `{"topic":"a","expiry_seconds":-1,"text":""}`, `cannot unmarshal number -1`},
		{"no time", `{"topic":"a","received":"yesterday","text":""}`, `yesterday`},
		{"a payload format that there is not", `{"topic":"a","payload_format":2,"text":""}`, `"payload_format" is 2`},
		{"a content type that is too long", `{"topic":"a","content_type":"` + long + `","text":""}`, `"content_type" has 65536 bytes`},
		{"a response topic with a wildcard", `{"topic":"a","response_topic":"#","text":""}`, `"response_topic" has a wildcard`},
		{"no response topic", `{"topic":"a","response_topic":"","text":""}`, `"response_topic" is empty`},
		{"half a property", `{"topic":"a","user_properties":[["a"]],"text":""}`, `a name and a value`},
		{"more than a property", `{"topic":"a","user_properties":[["a","b","c"]],"text":""}`, `a name and a value`},
		{"a NUL in a property", `{"topic":"a","user_properties":[["a","\u0000"]],"text":""}`, `"user_properties" has the character U+0000`},
		{"subscription identifier 0", `{"topic":"a","subscription_ids":[0],"text":""}`, `"subscription_ids" has 0`},
		{"a share that is none", `{"topic":"a","share":7,"text":""}`, `"share" is 7`},
		{"an answer of something else", `{"message":{"topic":"a"},"colour":1}`, `unknown field "colour"`},
	} {
		if e, err := ParseExported([]byte(tt.line)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v", tt.name, e, err)
		}
	}
	for _, line := range []string{"", " \r", `{"end":true}`, `{"error":"damaged"}`} {
		if e, err := ParseExported([]byte(line)); err != nil || e.Message != nil || strings.Contains(line, "damaged") != (e.Note == "damaged") {
			t.Errorf("%q: %+v, %v", line, e, err)
		}
	}
	for _, line := range []string{`{"topic":"a","text":"\\ud83d"}`, `{"topic":"a","text":"\ud83d\ude00"}`, "{\"topic\":\"a\",\"text\":\"\"}\r"} {
		if e, err := ParseExported([]byte(line)); err != nil || e.Message == nil {
			t.Errorf("%q: %+v, %v", line, e, err)
		}
	}
}

// BenchmarkParseExported is what an import costs beside the disk, twice.
func BenchmarkParseExported(b *testing.B) {
	line := fmt.Appendf(nil, `{"seq":1,"topic":"plant-7/scale/1/weight","qos":1,"received":"2026-05-04T10:00:01.123456Z","received_trusted":true,"text":%q}`, strings.Repeat("x", 100))
	for b.Loop() {
		if _, err := ParseExported(line); err != nil {
			b.Fatal(err)
		}
	}
}
