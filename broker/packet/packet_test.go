package packet

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// golden packets: bytes and what they mean, in both directions.
var golden = []struct {
	what    string
	version byte
	hex     string
	v       any
}{
	{"3.1.1 table 3.1 CONNECT, clean session", V311, "10 0d 0004 4d515454 04 02 003c 0001 61",
		&Connect{Version: V311, CleanStart: true, KeepAlive: 60, ClientID: "a"}},
	{"3.1 CONNECT", V31, "10 0f 0006 4d5149736470 03 00 000a 0001 61",
		&Connect{Version: V31, KeepAlive: 10, ClientID: "a"}},
	{"3.1.1 figure 3.6 CONNECT with all fields", V311, "10 1b 0004 4d515454 04 ee 000a 0001 61 0001 74 0002 7077 0001 75 0002 7031",
		&Connect{Version: V311, CleanStart: true, KeepAlive: 10, ClientID: "a", HasUser: true, User: "u", HasPass: true, Password: []byte("p1"),
			Will: &Will{Topic: "t", Payload: []byte("pw"), QoS: 1, Retain: true}}},
	{"5.0 3.1.2.11 CONNECT with properties", V5, "10 3b 0004 4d515454 05 04 0000 23 11 00000078 21 0014 27 00010000 22 000a 19 01 17 00 15 0001 6d 16 0001 01 26 0001 6b 0001 76 0000 05 18 00000005 0001 74 0000",
		&Connect{Version: V5, SessionExpiry: 120, ReceiveMaximum: 20, MaxPacketSize: 65536, TopicAliasMax: 10, RequestResponse: true, NoProblemInfo: true,
			AuthMethod: "m", AuthData: []byte{1}, UserProps: []byte{0x26, 0, 1, 'k', 0, 1, 'v'}, Will: &Will{Topic: "t", Payload: []byte{}, Delay: 5}}},
	{"3.1.1 3.2 CONNACK, session present", V311, "20 02 01 00", &Connack{SessionPresent: true}},
	{"3.1.1 3.2 CONNACK, identifier rejected", V311, "20 02 00 02", &Connack{Code: ClientIDNotValid}},
	{"3.1 3.2 CONNACK has no flags", V31, "20 02 00 05", &Connack{Code: NotAuthorized}},
	{"5.0 3.2 CONNACK", V5, "20 03 00 00 00", &Connack{}},
	{"5.0 3.2.2.3 CONNACK with properties", V5, "20 3d 00 00 3a 11 00000001 21 000a 24 01 25 00 27 00000064 12 0001 61 22 0005 1f 0001 72 28 00 29 00 2a 00 13 001e 1a 0001 69 1c 0001 73 15 0001 6d 16 0001 07 26 0000 0000",
		&Connack{SessionExpiry: 1, HasSessionExpiry: true, ReceiveMaximum: 10, MaximumQoS: 1, HasMaximumQoS: true, RetainUnavailable: true, MaxPacketSize: 100,
			AssignedClientID: "a", TopicAliasMax: 5, ReasonString: "r", WildcardsUnavailable: true, SubIDsUnavailable: true, SharedUnavailable: true,
			ServerKeepAlive: 30, HasServerKeepAlive: true, ResponseInfo: "i", ServerReference: "s", AuthMethod: "m", AuthData: []byte{7}, UserProps: []byte{0x26, 0, 0, 0, 0}}},
	{"3.3 PUBLISH QoS 0", V311, "30 07 0003 612f62 6869", &Publish{Topic: "a/b", Payload: []byte("hi")}},
	{"3.3 PUBLISH QoS 1, DUP, RETAIN", V311, "3b 07 0003 612f62 000a", &Publish{Topic: "a/b", QoS: 1, Dup: true, Retain: true, ID: 10, Payload: []byte{}}},
	{"5.0 3.3 PUBLISH without properties", V5, "34 08 0001 61 ffff 00 6869", &Publish{Topic: "a", QoS: 2, ID: 65535, Payload: []byte("hi")}},
	{"5.0 3.3.2.3 PUBLISH with properties", V5, "32 1d 0000 0001 17 02 0000000a 23 0003 0b 07 0b ffff7f 01 01 03 0000 09 0001 ff 70",
		&Publish{QoS: 1, ID: 1, Expiry: 10, HasExpiry: true, Alias: 3, SubscriptionIDs: []uint32{7, 2097151}, Props: []byte{1, 1, 3, 0, 0, 9, 0, 1, 0xff}, Payload: []byte("p")}},
	{"3.4 PUBACK", V311, "40 02 0001", &ack{PUBACK, 1, 0}},
	{"5.0 3.4.2.1 PUBACK with a reason", V5, "40 03 0001 10", &ack{PUBACK, 1, NoMatchingSubscribers}},
	{"3.5 PUBREC", V5, "50 02 0102", &ack{PUBREC, 0x102, 0}},
	{"3.6 PUBREL", V311, "62 02 0003", &ack{PUBREL, 3, 0}},
	{"5.0 3.7 PUBCOMP, identifier not found", V5, "70 03 0003 92", &ack{PUBCOMP, 3, PacketIDNotFound}},
	{"3.1.1 3.8 SUBSCRIBE", V311, "82 0e 000a 0003 612f62 01 0003 632f64 02",
		&Subscribe{ID: 10, Filters: []Filter{{Filter: "a/b", QoS: 1}, {Filter: "c/d", QoS: 2}}}},
	{"5.0 3.8 SUBSCRIBE with all options", V5, "82 0f 000a 08 0b 01 26 0000 0001 78 0001 61 2e",
		&Subscribe{ID: 10, SubscriptionID: 1, UserProps: []byte{0x26, 0, 0, 0, 1, 'x'}, Filters: []Filter{{Filter: "a", QoS: 2, NoLocal: true, RetainAsIs: true, RetainHandling: 2}}}},
	{"3.1.1 3.9 SUBACK", V311, "90 05 000a 00 02 80", &suback{SUBACK, Suback{ID: 10, Codes: []byte{0, 2, 0x80}}}},
	{"5.0 3.9 SUBACK", V5, "90 04 000a 00 8f", &suback{SUBACK, Suback{ID: 10, Codes: []byte{0x8f}}}},
	{"3.1.1 3.10 UNSUBSCRIBE", V311, "a2 07 000a 0003 612f62", &Unsubscribe{ID: 10, Filters: []string{"a/b"}}},
	{"5.0 3.10 UNSUBSCRIBE", V5, "a2 06 000a 00 0001 23", &Unsubscribe{ID: 10, Filters: []string{"#"}}},
	{"3.1.1 3.11 UNSUBACK", V311, "b0 02 000a", &suback{UNSUBACK, Suback{ID: 10, Codes: []byte{}}}},
	{"5.0 3.11 UNSUBACK", V5, "b0 05 000a 00 00 11", &suback{UNSUBACK, Suback{ID: 10, Codes: []byte{0, 0x11}}}},
	{"3.12 PINGREQ", V311, "c0 00", ping(PINGREQ)},
	{"3.13 PINGRESP", V5, "d0 00", ping(PINGRESP)},
	{"3.1.1 3.14 DISCONNECT", V311, "e0 00", &Disconnect{}},
	{"5.0 3.14 DISCONNECT, taken over", V5, "e0 01 8e", &Disconnect{Code: SessionTakenOver}},
	{"5.0 3.14 DISCONNECT with properties", V5, "e0 0f 04 0d 11 00000005 1f 0001 72 1c 0001 73",
		&Disconnect{Code: DisconnectWithWill, SessionExpiry: 5, HasSessionExpiry: true, ReasonString: "r", ServerReference: "s"}},
	{"5.0 3.15 AUTH, success", V5, "f0 00", &Auth{}},
	{"5.0 3.15 AUTH, continue", V5, "f0 0a 18 08 15 0001 6d 16 0001 01", &Auth{Code: ContinueAuthentication, Method: "m", Data: []byte{1}}},
}

type (
	ack struct {
		typ  byte
		id   uint16
		code byte
	}
	suback struct {
		typ byte
		Suback
	}
	ping byte
)

func encode(version byte, v any) []byte {
	switch v := v.(type) {
	case *Connect:
		return AppendConnect(nil, v)
	case *Connack:
		return AppendConnack(nil, version, v)
	case *Publish:
		return AppendPublish(nil, version, v)
	case *ack:
		return AppendAck(nil, version, v.typ, v.id, v.code)
	case *Subscribe:
		return AppendSubscribe(nil, version, v)
	case *suback:
		return AppendSuback(nil, version, v.typ, &v.Suback)
	case *Unsubscribe:
		return AppendUnsubscribe(nil, version, v)
	case *Disconnect:
		return AppendDisconnect(nil, version, v)
	case *Auth:
		return AppendAuth(nil, v)
	case ping:
		return AppendPing(nil, byte(v))
	}
	panic("unknown packet")
}

func decode(version, typ, flags byte, body []byte) (v any, err error) {
	switch typ {
	case CONNECT:
		c := new(Connect)
		return c, ParseConnect(body, c)
	case CONNACK:
		c := new(Connack)
		return c, ParseConnack(body, version, c)
	case PUBLISH:
		p := new(Publish)
		err := ParsePublish(flags, body, version, p)
		p.gathered = nil
		return p, err
	case PUBACK, PUBREC, PUBREL, PUBCOMP:
		a, err := ParseAck(typ, flags, body, version)
		return &ack{typ, a.ID, a.Code}, err
	case SUBSCRIBE:
		s := new(Subscribe)
		return s, ParseSubscribe(body, version, s)
	case SUBACK, UNSUBACK:
		s := &suback{typ: typ}
		return s, ParseSuback(typ, body, version, &s.Suback)
	case UNSUBSCRIBE:
		u := new(Unsubscribe)
		return u, ParseUnsubscribe(body, version, u)
	case DISCONNECT:
		d := new(Disconnect)
		return d, ParseDisconnect(body, version, d)
	case AUTH:
		a := new(Auth)
		return a, ParseAuth(body, a)
	}
	r := reader{b: body}
	return ping(typ), r.end()
}

func TestPacketsAreEncodedAndDecodedAsTheSpecificationShows(t *testing.T) {
	for _, c := range golden {
		t.Run(c.what, func(t *testing.T) {
			want := unhex(t, c.hex)
			got := encode(c.version, c.v)
			if !bytes.Equal(got, want) {
				t.Fatalf("encoded\n%x, want\n%x", got, want)
			}
			typ, flags, body, n, err := Next(want, 0)
			if err != nil || n != len(want) {
				t.Fatalf("Next: n = %d, %v", n, err)
			}
			v, err := decode(c.version, typ, flags, body)
			if err != nil {
				t.Fatal(err)
			}
			if p, ok := v.(*Publish); ok && len(p.SubscriptionIDs) == 0 {
				p.SubscriptionIDs = nil
			}
			if !reflect.DeepEqual(v, c.v) {
				t.Errorf("decoded %+v\nwant %+v", v, c.v)
			}
			for i := range want {
				if _, _, _, n, _ := Next(want[:i], 0); n != 0 {
					t.Errorf("Next finds a packet in its first %d bytes", i)
				}
			}
		})
	}
}

func TestMalformedPacketsAreRefusedWithTheRightCode(t *testing.T) {
	for _, c := range []struct {
		what    string
		version byte
		hex     string
		code    byte
	}{
		{"2.1.2 type 0", V5, "00 00", MalformedPacket},
		{"MQTT-1.5.5-1 a length that is longer than need be", V5, "c0 80 00", MalformedPacket},
		{"1.5.5 a length of five bytes", V5, "30 80 80 80 80 01", MalformedPacket},
		{"MQTT-2.1.3-1 flags of PINGREQ", V5, "c1 00", MalformedPacket},
		{"MQTT-3.6.1-1 flags of PUBREL", V311, "60 02 0001", MalformedPacket},
		{"MQTT-3.8.1-1 flags of SUBSCRIBE", V311, "80 06 0001 0001 61 00", MalformedPacket},
		{"MQTT-3.10.1-1 flags of UNSUBSCRIBE", V311, "a0 05 0001 0001 61", MalformedPacket},
		{"MQTT-3.14.1-1 flags of DISCONNECT", V5, "e1 00", MalformedPacket},
		{"MQTT-3.15.1-1 flags of AUTH", V5, "f1 00", MalformedPacket},
		{"MQTT-3.1.2-1 protocol name", V5, "10 0d 0004 4d515458 05 02 003c 00 0000", UnsupportedProtocolVersion},
		{"MQTT-3.1.2-2 protocol version", V5, "10 0d 0004 4d515454 06 02 003c 00 0000", UnsupportedProtocolVersion},
		{"MQTT-3.1.2-3 reserved connect flag", V5, "10 0d 0004 4d515454 05 03 003c 00 0000", MalformedPacket},
		{"MQTT-3.1.2-11 will QoS without a will", V5, "10 0d 0004 4d515454 05 0a 003c 00 0000", MalformedPacket},
		{"MQTT-3.1.2-12 will QoS 3", V5, "10 0d 0004 4d515454 05 1e 003c 00 0000", MalformedPacket},
		{"MQTT-3.1.2-13 will retain without a will", V5, "10 0d 0004 4d515454 05 22 003c 00 0000", MalformedPacket},
		{"MQTT-3.1.2-17 no user name behind its flag", V5, "10 0d 0004 4d515454 05 82 003c 00 0000", MalformedPacket},
		{"MQTT-3.1.2-22 (3.1.1) password without user name", V311, "10 0e 0004 4d515454 04 42 003c 0000 0000", MalformedPacket},
		{"MQTT-3.1.2-16 bytes after the last field", V5, "10 0e 0004 4d515454 05 02 003c 00 0000 00", MalformedPacket},
		{"MQTT-3.1.3-4 client id not UTF-8", V5, "10 0e 0004 4d515454 05 02 003c 00 0001 ff", MalformedPacket},
		{"MQTT-1.5.4-2 client id with U+0000", V5, "10 0e 0004 4d515454 05 02 003c 00 0001 00", MalformedPacket},
		{"3.1.2.11.9 authentication data without method", V5, "10 11 0004 4d515454 05 02 003c 04 16 0001 00 0000", ProtocolError},
		{"3.1.2.11.3 receive maximum 0", V5, "10 10 0004 4d515454 05 02 003c 03 21 0000 0000", ProtocolError},
		{"3.1.2.11.4 maximum packet size 0", V5, "10 12 0004 4d515454 05 02 003c 05 27 00000000 0000", ProtocolError},
		{"3.1.2.11.6 request response information 2", V5, "10 0f 0004 4d515454 05 02 003c 02 19 02 0000", ProtocolError},
		{"3.1.2.11.2 session expiry twice", V5, "10 17 0004 4d515454 05 02 003c 0a 11 00000000 11 00000000 0000", ProtocolError},
		{"2.2.2.2 a property unknown", V5, "10 0f 0004 4d515454 05 02 003c 02 7f 00 0000", MalformedPacket},
		{"2.2.2.2 a property of another packet", V5, "10 0f 0004 4d515454 05 02 003c 02 24 01 0000", ProtocolError},
		{"MQTT-3.3.1-4 QoS 3", V311, "36 05 0001 61 0001", MalformedPacket},
		{"MQTT-3.3.1-2 DUP at QoS 0", V311, "38 03 0001 61", MalformedPacket},
		{"MQTT-3.3.2-2 wildcard in a topic", V311, "30 03 0001 23", TopicNameInvalid},
		{"MQTT-4.7.3-1 no topic", V311, "30 02 0000", ProtocolError},
		{"3.3.2.1 neither topic nor alias", V5, "30 03 0000 00", ProtocolError},
		{"MQTT-3.3.2-8 alias 0", V5, "30 07 0001 61 03 23 0000", TopicAliasInvalid},
		{"MQTT-2.2.1-3 packet identifier 0", V311, "32 05 0001 61 0000", ProtocolError},
		{"MQTT-3.3.2-14 wildcard in the response topic", V5, "30 08 0001 61 04 08 0001 2b", ProtocolError},
		{"MQTT-2.2.2-1 no property length", V5, "30 03 0001 61", MalformedPacket},
		{"3.3.2.3.8 subscription identifier 0", V5, "30 06 0001 61 02 0b 00", ProtocolError},
		{"MQTT-3.4.2-1 undefined code of PUBACK", V5, "40 03 0001 01", ProtocolError},
		{"MQTT-3.6.2-1 undefined code of PUBREL", V5, "62 03 0001 80", ProtocolError},
		{"PUBACK of 3.1.1 with a code", V311, "40 03 0001 00", MalformedPacket},
		{"MQTT-3.8.3-2 no filter", V311, "82 02 0001", ProtocolError},
		{"MQTT-3.8.3-4 (3.1.1) reserved option bits", V311, "82 06 0001 0001 61 04", MalformedPacket},
		{"MQTT-3.8.3-5 reserved option bits", V5, "82 07 0001 00 0001 61 40", MalformedPacket},
		{"3.8.3.1 QoS 3", V5, "82 07 0001 00 0001 61 03", ProtocolError},
		{"3.8.3.1 retain handling 3", V5, "82 07 0001 00 0001 61 30", ProtocolError},
		{"MQTT-3.10.3-2 no filter", V5, "a2 03 0001 00", ProtocolError},
		{"MQTT-3.9.3-2 undefined code of SUBACK", V311, "90 03 0001 03", ProtocolError},
		{"MQTT-3.2.2-1 flags of CONNACK", V311, "20 02 02 00", MalformedPacket},
		{"MQTT-3.2.2-6 session present in a refusal", V311, "20 02 01 05", ProtocolError},
		{"MQTT-3.14.2-1 undefined code of DISCONNECT", V5, "e0 01 01", ProtocolError},
		{"3.1.1 3.14 DISCONNECT with a body", V311, "e0 01 00", MalformedPacket},
		{"MQTT-3.15.2-1 undefined code of AUTH", V5, "f0 02 01 00", ProtocolError},
	} {
		typ, flags, body, n, err := Next(unhex(t, c.hex), 0)
		if err == nil && n != len(unhex(t, c.hex)) {
			t.Errorf("%s: the test's packet has a wrong length", c.what)
		}
		if err == nil {
			_, err = decode(c.version, typ, flags, body)
		}
		var e *Error
		if !errors.As(err, &e) || e.Code != c.code || CodeOf(err) != c.code {
			t.Errorf("%s: %v, want code %02x", c.what, err, c.code)
		}
	}
}

func TestPacketsAboveTheMaximumAreRefusedByTheirLength(t *testing.T) {
	_, _, _, _, err := Next([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, 1<<20)
	if CodeOf(err) != PacketTooLarge {
		t.Errorf("got %v", err)
	}
	if n := Size([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}); n != MaxSize {
		t.Errorf("Size = %d", n)
	}
}

func TestForwardedPropertiesKeepTheirOrderAmongOthers(t *testing.T) {
	props := AppendUserProp(nil, "a", "1")
	props = AppendUint32Prop(props, PropMessageExpiry, 9)
	props = AppendStringProp(props, PropResponseTopic, "r/t")
	props = AppendUint16Prop(props, PropTopicAlias, 2)
	props = AppendUserProp(props, "a", "2")
	frame := AppendPublish(nil, V5, &Publish{Topic: "t", Props: props})
	_, flags, body, _, err := Next(frame, 0)
	if err != nil {
		t.Fatal(err)
	}
	var p Publish
	for range 2 { // the buffer of p is used again
		if err := ParsePublish(flags, body, V5, &p); err != nil {
			t.Fatal(err)
		}
	}
	want := AppendUserProp(nil, "a", "1")
	want = AppendStringProp(want, PropResponseTopic, "r/t")
	want = AppendUserProp(want, "a", "2")
	if !bytes.Equal(p.Props, want) || p.Expiry != 9 || p.Alias != 2 {
		t.Errorf("got %+v", p)
	}
	if string(ResponseTopic(p.Props)) != "r/t" {
		t.Errorf("response topic %q", ResponseTopic(p.Props))
	}
	if err := EachProp([]byte{PropUser, 0, 1}, func(byte, []byte, []byte) bool { return true }); err == nil {
		t.Error("EachProp takes half a property")
	}
}

func TestThePacketIdentifierIsFoundInAnEncodedPublish(t *testing.T) {
	for _, n := range []int{1, 100, 200, 20_000} {
		p := Publish{Topic: strings.Repeat("t", n), QoS: 1, ID: 0x1234, Payload: make([]byte, n)}
		frame := AppendPublish(nil, V5, &p)
		if at := PublishID(frame); frame[at] != 0x12 || frame[at+1] != 0x34 {
			t.Errorf("topic of %d bytes: found at %d", n, at)
		}
		if PublishSize(V5, &p) != len(frame) {
			t.Errorf("PublishSize = %d, is %d", PublishSize(V5, &p), len(frame))
		}
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	p := Publish{Topic: "sensors/a/temp", QoS: 1, ID: 7, Payload: []byte("21.5"), HasExpiry: true, Expiry: 60, Props: AppendUserProp(nil, "k", "v")}
	buf := make([]byte, 0, 256)
	frame := AppendPublish(nil, V5, &p)
	var q Publish
	for name, f := range map[string]func(){
		"AppendPublish": func() { AppendPublish(buf, V5, &p) },
		"AppendAck":     func() { AppendAck(buf, V5, PUBACK, 1, 0) },
		"ParsePublish": func() {
			_, flags, body, _, _ := Next(frame, 0)
			if err := ParsePublish(flags, body, V5, &q); err != nil {
				t.Error(err)
			}
		},
		"ParseAck": func() { _, _ = ParseAck(PUBACK, 0, frame[4:6], V5) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func FuzzDecodeEncodeDecodeAgree(f *testing.F) {
	for _, c := range golden {
		f.Add(c.version, unhex(f, c.hex))
	}
	f.Fuzz(func(t *testing.T, version byte, b []byte) {
		if version < V31 || version > V5 {
			version = V5
		}
		typ, flags, body, n, err := Next(b, 1<<20)
		if err != nil || n == 0 || version != V5 && typ == AUTH {
			return
		}
		if Size(b) != n {
			t.Fatalf("Size = %d, Next = %d", Size(b), n)
		}
		v, err := decode(version, typ, flags, body)
		if err != nil {
			return
		}
		again := encode(version, v)
		typ2, flags2, body2, n2, err := Next(again, 0)
		if err != nil || n2 != len(again) || typ2 != typ {
			t.Fatalf("%x encoded as %x: %v", b[:n], again, err)
		}
		v2, err := decode(version, typ2, flags2, body2)
		if err != nil {
			t.Fatalf("%x encoded as %x: %v", b[:n], again, err)
		}
		if !reflect.DeepEqual(v, v2) {
			t.Fatalf("%x:\n%+v\n%+v", b[:n], v, v2)
		}
	})
}

func BenchmarkAppendPublish(b *testing.B) {
	p := Publish{Topic: "sensors/a/temp", QoS: 1, ID: 7, Payload: make([]byte, 64)}
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		AppendPublish(buf, V5, &p)
	}
}

func BenchmarkParsePublish(b *testing.B) {
	p := Publish{Topic: "sensors/a/temp", QoS: 1, ID: 7, Payload: make([]byte, 64)}
	frame := AppendPublish(nil, V5, &p)
	var q Publish
	b.ReportAllocs()
	for b.Loop() {
		_, flags, body, _, _ := Next(frame, 0)
		if err := ParsePublish(flags, body, V5, &q); err != nil {
			b.Fatal(err)
		}
	}
}
