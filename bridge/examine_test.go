package bridge

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/config"
)

// answering is the address of a cloud that answers packets as f says: nil ends the connection, an
// empty answer is none.
func answering(t *testing.T, f func(typ, flags byte, body []byte) []byte) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var jobs sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		jobs.Wait()
	})
	jobs.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			jobs.Go(func() { answer(c, f) })
		}
	})
	return ln.Addr().String()
}

func answer(c net.Conn, f func(typ, flags byte, body []byte) []byte) {
	defer c.Close()
	buf := make([]byte, 0, 4096)
	for {
		typ, flags, body, n, err := packet.Next(buf, 0)
		if err != nil {
			return
		}
		if n == 0 {
			k, err := c.Read(buf[len(buf):cap(buf)])
			if err != nil {
				return
			}
			buf = buf[:len(buf)+k]
			continue
		}
		out := f(typ, flags, body)
		if out == nil {
			return
		}
		if _, err := c.Write(out); err != nil {
			return
		}
		buf = append(buf[:0], buf[n:]...)
	}
}

func examined(t *testing.T, address string, v Visit, change func(*config.Bridge)) (all []Finding) {
	t.Helper()
	cfg := config.Bridge{
		Name: "cloud", Gateway: "gw", Servers: []string{"mqtt://" + address}, ClientID: "gw1", Version: 5, Status: "site/gw/status",
		KeepAlive: 30 * time.Second, SessionExpiry: 7 * 24 * time.Hour, ConnectTimeout: 5 * time.Second, AckTimeout: 10 * time.Second, Inflight: 64,
		Up: []config.Up{up("#", "{topic}")},
	}
	if change != nil {
		change(&cfg)
	}
	Examine(t.Context(), cfg, v, func(_ string, f Finding) { all = append(all, f) })
	return all
}

func TestAGuestIsToldWhatACloudDoes(t *testing.T) {
	welcome := packet.AppendConnack(nil, packet.V5, &packet.Connack{
		ReceiveMaximum: 10, MaximumQoS: 1, HasMaximumQoS: true, MaxPacketSize: 128 << 10, RetainUnavailable: true, ServerKeepAlive: 60, HasServerKeepAlive: true,
	})
	const limits = "as gw1-doctor: let in; receive maximum 10, maximum QoS 1, packets of 128KiB at most, no RETAIN, session not kept (that of the bridge: asked for 7d), keep alive 60s"
	granted := packet.AppendSuback(nil, packet.V5, packet.SUBACK, &packet.Suback{ID: 1, Codes: []byte{1}})
	for _, c := range []struct {
		name                   string
		onSubscribe, onPublish []byte // answers
		outcome                Outcome
		text                   string
	}{
		{"it ends the connection on SUBSCRIBE", nil, nil, Skipped, "it may not subscribe there: the connection ended"},
		{"it does not answer SUBSCRIBE", []byte{}, nil, Failed, "no answer to SUBSCRIBE: not in time"},
		{"it refuses the subscription", packet.AppendSuback(nil, packet.V5, packet.SUBACK, &packet.Suback{ID: 1, Codes: []byte{packet.NotAuthorized}}), nil, Skipped, "it may not subscribe there: not authorized (0x87)"},
		{"it ends the connection on PUBLISH", granted, nil, Skipped, "it may not publish there: the connection ended"},
		{"it leaves on PUBLISH, and says why", granted, packet.AppendDisconnect(nil, packet.V5, &packet.Disconnect{Code: packet.QuotaExceeded}), Skipped, "quota exceeded (0x97)"},
		{"it does not answer PUBLISH", granted, []byte{}, Failed, "no acknowledgement: not in time"},
		{"it does not send the message back", granted, packet.AppendAck(nil, packet.V5, packet.PUBACK, 1, 0), Skipped, "does not send it back"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address := answering(t, func(typ, _ byte, _ []byte) []byte {
				switch typ {
				case packet.CONNECT:
					return welcome
				case packet.SUBSCRIBE:
					return c.onSubscribe
				case packet.PUBLISH:
					return c.onPublish
				}
				return nil
			})
			all := examined(t, address, Visit{StepTimeout: 200 * time.Millisecond}, nil)
			if len(all) != 4 {
				t.Fatalf("%+v", all)
			}
			if f := all[2]; f.Step != "login" || f.Outcome != Fine || f.Text != limits {
				t.Errorf("login: %+v", f)
			}
			if f := all[3]; f.Step != "round trip" || f.Outcome != c.outcome || !strings.Contains(f.Text, c.text) || f.Remedy == "" || !strings.Contains(f.Text, "site/gw/doctor") {
				t.Errorf("round trip: %+v", f)
			}
		})
	}
}

// TestAVisitWithTheBridgesOwnID asks for its session, without a will, and leaves what
// it is sent unacknowledged.
func TestAVisitWithTheBridgesOwnID(t *testing.T) {
	var mu sync.Mutex
	var got []string
	address := answering(t, func(typ, flags byte, body []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		switch typ {
		case packet.CONNECT:
			var p packet.Connect
			if err := packet.ParseConnect(body, &p); err != nil {
				t.Error(err)
			}
			if p.ClientID != "gw1" || p.CleanStart || p.Will != nil || p.SessionExpiry != 7*24*3600 {
				t.Errorf("%+v", p)
			}
			out := packet.AppendConnack(nil, packet.V5, &packet.Connack{SessionPresent: true})
			return packet.AppendPublish(out, packet.V5, &packet.Publish{Topic: "cmd", Payload: []byte("open"), QoS: 1, ID: 9})
		case packet.DISCONNECT:
			var d packet.Disconnect
			if err := packet.ParseDisconnect(body, packet.V5, &d); err != nil || d.HasSessionExpiry {
				t.Errorf("%+v, %v", d, err)
			}
			got = append(got, "DISCONNECT")
			return nil
		}
		got = append(got, "another packet")
		return []byte{}
	})
	all := examined(t, address, Visit{OwnID: true, StepTimeout: time.Second}, nil)
	if f := all[len(all)-1]; f.Step != "round trip" || f.Outcome != Skipped || !strings.Contains(f.Text, "session that the bridge has") {
		t.Errorf("%+v", f)
	}
	deadline := time.After(10 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		mu.Lock()
		n := len(got)
		mu.Unlock()
		if n > 0 {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it takes no leave")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 1 || got[0] != "DISCONNECT" {
		t.Errorf("the server got %v", got)
	}
}

func TestCloudsThatKnowTheBridgesIDAlone(t *testing.T) {
	b := &Bridge{cfg: config.Bridge{ClientID: "gw1", Version: 5}, profile: profileOf("aws-iot")}
	var f Finding
	e := examination{b: b, visit: Visit{StepTimeout: time.Second}, tell: func(x Finding) { f = x }}
	e.refused(&refusedConnect{code: packet.NotAuthorized}, time.Millisecond)
	if f.Outcome != Doubtful || !strings.Contains(f.Remedy, "-own-id") {
		t.Errorf("AWS IoT Core: %+v", f)
	}
	e.visit.OwnID = true
	e.refused(&refusedConnect{code: packet.NotAuthorized}, time.Millisecond)
	if f.Outcome != Failed || strings.Contains(f.Remedy, "-own-id") {
		t.Errorf("AWS IoT Core, own id: %+v", f)
	}
	b.profile, e.visit.OwnID = profileOf("azure-iot-hub"), false
	e.mqtt(t.Context(), nil)
	if f.Outcome != Skipped || !strings.Contains(f.Remedy, "-own-id") {
		t.Errorf("Azure IoT Hub: %+v", f)
	}
}
