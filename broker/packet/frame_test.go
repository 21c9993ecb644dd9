package packet

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// FuzzFrames encodes any PUBLISH, and holds what works on the encoded bytes
// against decoding them: sizes, places, topic aliases, expiry.
func FuzzFrames(f *testing.F) {
	f.Add("a/b", []byte("payload"), []byte{1, 1}, byte(1), uint32(0), uint16(7), uint32(3))
	f.Add("", []byte{}, []byte{}, byte(0), uint32(10), uint16(1), uint32(0))
	f.Add("sensors/plant-7/line-2/temperature", make([]byte, 200), AppendUserProp(nil, "k", string(make([]byte, 120))), byte(2), uint32(100), uint16(64), uint32(1<<28-1))
	f.Fuzz(func(t *testing.T, topic string, payload, props []byte, qos byte, expiry uint32, number uint16, subID uint32) {
		p := Publish{QoS: qos % 3, Retain: qos&4 != 0, Topic: topic, Payload: payload, Expiry: expiry, HasExpiry: expiry > 0}
		if len(topic) > 65535 || number == 0 || checkTopicName([]byte(topic)) != nil {
			return
		}
		r := propReader{reader: reader{b: props}, packet: PUBLISH}
		for len(r.b) > 0 && r.err == nil { // only properties that are passed on
			if id := r.next().id; id == PropMessageExpiry || id == PropTopicAlias || id == PropSubscriptionID {
				return
			}
		}
		if r.err != nil {
			return
		}
		p.Props = props
		if p.QoS > 0 {
			p.ID = 0x1234
		}
		if subID = subID & (1<<28 - 1); subID > 0 {
			p.SubscriptionIDs = []uint32{subID}
		}
		frame := AppendPublish(nil, V5, &p)
		if len(frame) != PublishSize(V5, &p) || len(frame) != Size(frame) {
			t.Fatalf("%d bytes, PublishSize %d, Size %d", len(frame), PublishSize(V5, &p), Size(frame))
		}
		if PublishTopic(frame) != topic {
			t.Fatalf("topic %q", PublishTopic(frame))
		}
		if p.QoS > 0 && !bytes.Equal(frame[PublishID(frame):][:2], []byte{0x12, 0x34}) {
			t.Fatalf("identifier at %d of %x", PublishID(frame), frame)
		}
		for _, tell := range []bool{true, false} {
			want := p
			want.Alias = number
			if !tell {
				want.Topic = ""
			}
			agree(t, AppendAliased([]byte("before"), frame, number, tell)[6:], &want)
		}
		want, older := p, slices.Clone(frame)
		if ok := Age(older, 7500*time.Millisecond); ok != (expiry == 0 || expiry > 7) {
			t.Fatalf("Age of %d s = %v", expiry, ok)
		} else if ok && expiry > 0 {
			want.Expiry -= 7
		}
		if topic != "" {
			agree(t, older, &want)
		}
	})
}

// agree checks that frame is p. The order of properties does not matter.
func agree(t *testing.T, frame []byte, p *Publish) {
	t.Helper()
	typ, flags, body, n, err := Next(frame, 0)
	if err != nil || n != len(frame) || typ != PUBLISH {
		t.Fatalf("%x: type %d, %d bytes, %v", frame, typ, n, err)
	}
	var got Publish
	if err := ParsePublish(flags, body, V5, &got); err != nil {
		t.Fatalf("%x: %v", frame, err)
	}
	if got.QoS != p.QoS || got.Retain != p.Retain || got.Topic != p.Topic || got.ID != p.ID || got.Alias != p.Alias ||
		!bytes.Equal(got.Payload, p.Payload) || !bytes.Equal(got.Props, p.Props) || got.Expiry != p.Expiry || got.HasExpiry != p.HasExpiry ||
		!slices.Equal(got.SubscriptionIDs, p.SubscriptionIDs) {
		t.Fatalf("%x:\n%+v\n%+v", frame, got, *p)
	}
}

func TestNext31TakesDupOff(t *testing.T) {
	for _, c := range []struct {
		head  byte
		ok    bool
		flags byte
	}{
		{0x8a, true, 2}, {0x82, true, 2}, {0xaa, true, 2}, {0x6a, true, 2}, // SUBSCRIBE, UNSUBSCRIBE, PUBREL
		{0x3a, true, 10}, // PUBLISH keeps it
		{0x80, false, 0}, {0x48, false, 0}, {0xc8, false, 0},
	} {
		_, flags, _, n, err := Next31([]byte{c.head, 0}, 0)
		if (err == nil && n == 2) != c.ok || c.ok && flags != c.flags {
			t.Errorf("%02x: flags %x, %v", c.head, flags, err)
		}
	}
	if _, _, _, _, err := Next([]byte{0x8a, 0}, 0); err == nil { // [MQTT-3.8.1-1]
		t.Error("Next takes SUBSCRIBE with DUP")
	}
}

func TestAcknowledgementsCarryReasons(t *testing.T) {
	for _, typ := range []byte{PUBACK, PUBREC, PUBREL, PUBCOMP} {
		b := AppendAckReason(nil, typ, 7, PacketIDNotFound, "why")
		if typ == PUBACK || typ == PUBREC {
			b = AppendAckReason(nil, typ, 7, QuotaExceeded, "why")
		}
		got, flags, body, n, err := Next(b, 0)
		a, err2 := ParseAck(typ, flags, body, V5)
		if err != nil || err2 != nil || n != len(b) || got != typ || a.ID != 7 || string(a.Props) != string(AppendStringProp(nil, PropReasonString, "why")) {
			t.Errorf("%x: %+v, %v, %v", b, a, err, err2)
		}
	}
}
