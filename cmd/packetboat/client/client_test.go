package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
)

// broker is the other end of a connection, played by the test.
type broker struct {
	t    *testing.T
	conn net.Conn
	r    *packet.Reader
}

// meet opens a connection to a broker that gives this answer to CONNECT.
func meet(t *testing.T, keep uint16, answer packet.Connack) (*Conn, *broker, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	b := &broker{t: t, conn: theirs, r: packet.NewReader(theirs, 4<<10, 0)}
	t.Cleanup(func() { _ = theirs.Close() })
	go func() {
		b.want(packet.CONNECT)
		b.send(packet.AppendConnack(nil, packet.V5, &answer))
	}()
	o := &Options{Connect: packet.Connect{Version: packet.V5, KeepAlive: keep, ClientID: "c"}}
	p, err := open(t.Context(), ours, o)
	if err != nil {
		return nil, b, err
	}
	return run(p, o), b, nil
}

func (b *broker) send(p []byte) {
	if _, err := b.conn.Write(p); err != nil {
		b.t.Error(err)
	}
}

// want reads a packet of the type.
func (b *broker) want(typ byte) []byte {
	got, _, body, err := b.r.Next()
	if err != nil || got != typ {
		b.t.Errorf("packet of type %d, %v; want %d", got, err, typ)
	}
	return body
}

func TestARefusedConnectionSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, err := meet(t, 0, packet.Connack{Code: packet.Banned, ReasonString: "go away"})
		var refused *Refused
		if !errors.As(err, &refused) || err.Error() != "the broker refused the connection: banned (0x8A): go away" {
			t.Error(err)
		}
	})
}

func TestABrokerThatIsSilentIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c, b, err := meet(t, 60, packet.Connack{})
		if err != nil {
			t.Fatal(err)
		}
		b.want(packet.PINGREQ)
		b.send(packet.AppendPing(nil, packet.PINGRESP))
		b.want(packet.PINGREQ)
		b.want(packet.PINGREQ)
		if _, open := <-c.Events; open {
			t.Error("an event")
		}
		if err := c.Err(); err == nil || !strings.Contains(err.Error(), "does not answer") {
			t.Error(err)
		}
		if took := time.Since(began); took > 3*time.Minute {
			t.Errorf("after %v", took)
		}
		_ = c.Close()
	})
}

func TestWhoDoesNotReadKeepsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b, err := meet(t, 10, packet.Connack{})
		if err != nil {
			t.Fatal(err)
		}
		b.send(packet.AppendPublish(nil, packet.V5, &packet.Publish{Topic: "a", Payload: []byte("x")}))
		for range 20 { // the answers would stand behind what is not taken
			b.want(packet.PINGREQ)
		}
		if m, ok := (<-c.Events).(*Message); !ok || m.Topic != "a" {
			t.Errorf("%v", m)
		}
		_ = b.conn.Close()
		_ = c.Close()
	})
}

func TestQoS2MessagesComeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b, err := meet(t, 0, packet.Connack{})
		if err != nil {
			t.Fatal(err)
		}
		p := packet.Publish{Topic: "a", QoS: 2, ID: 7, Payload: []byte("x")}
		go b.send(packet.AppendPublish(nil, packet.V5, &p))
		m, ok := (<-c.Events).(*Message)
		if !ok {
			t.Fatal("no message")
		}
		go func() {
			if err := c.Done(m); err != nil {
				t.Error(err)
			}
		}()
		b.want(packet.PUBREC)
		p.Dup = true
		b.send(packet.AppendPublish(nil, packet.V5, &p)) // PUBREC was lost, say
		b.want(packet.PUBREC)
		b.send(packet.AppendAck(nil, packet.V5, packet.PUBREL, 7, packet.Success))
		b.want(packet.PUBCOMP)
		p.Dup, p.Payload = false, []byte("another")
		b.send(packet.AppendPublish(nil, packet.V5, &p))
		if m, ok := (<-c.Events).(*Message); !ok || string(m.Payload) != "another" {
			t.Errorf("%v", m)
		}
		go b.send(packet.AppendDisconnect(nil, packet.V5, &packet.Disconnect{Code: packet.SessionTakenOver}))
		if event, open := <-c.Events; open {
			t.Errorf("%v", event)
		}
		if err := c.Err(); err == nil || err.Error() != "the broker refused to go on: session taken over (0x8E)" {
			t.Error(err)
		}
		_ = b.conn.Close()
		_ = c.Close()
	})
}

func TestAPublishAtQoS2IsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b, err := meet(t, 0, packet.Connack{})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for _, id := range []uint16{1, 2} {
				if err := c.Publish(&packet.Publish{Topic: "a", QoS: 2, ID: id}); err != nil {
					t.Error(err)
				}
			}
		}()
		b.want(packet.PUBLISH)
		b.want(packet.PUBLISH)
		b.send(packet.AppendAck(nil, packet.V5, packet.PUBREC, 1, packet.Success))
		b.want(packet.PUBREL)
		go b.send(packet.AppendAckReason(packet.AppendAck(nil, packet.V5, packet.PUBCOMP, 1, packet.Success), packet.PUBREC, 2, packet.QuotaExceeded, "full"))
		if a := <-c.Events; a != (Ack{ID: 1}) {
			t.Errorf("%+v", a)
		}
		if a := <-c.Events; a != (Ack{2, packet.QuotaExceeded, "full"}) {
			t.Errorf("%+v", a)
		}
		_ = b.conn.Close()
		_ = c.Close()
	})
}

func TestTheLastAcknowledgementIsReadByABrokerThatStillSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b, err := meet(t, 0, packet.Connack{})
		if err != nil {
			t.Fatal(err)
		}
		p := packet.Publish{Topic: "a", QoS: 1, ID: 1}
		go b.send(packet.AppendPublish(nil, packet.V5, &p))
		m, ok := (<-c.Events).(*Message)
		if !ok {
			t.Fatal("no message")
		}
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			if err := c.Done(m); err != nil {
				t.Error(err)
			}
			_ = c.Close()
		}()
		b.want(packet.PUBACK)
		for range 3 {
			p.ID++
			b.send(packet.AppendPublish(nil, packet.V5, &p))
		}
		b.want(packet.DISCONNECT)
		_ = b.conn.Close()
		<-closed
	})
}

func TestWhatIsNoMQTTIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, b, err := meet(t, 0, packet.Connack{})
		if err != nil {
			t.Fatal(err)
		}
		b.send([]byte("HTTP/1.1 400 Bad Request\r\n"))
		if _, open := <-c.Events; open {
			t.Error("an event")
		}
		if err := c.Err(); err == nil || !strings.Contains(err.Error(), "MQTT") {
			t.Error(err)
		}
		_ = b.conn.Close()
		_ = c.Close()
	})
}

func TestDialEndsInTime(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = Dial(t.Context(), Options{Server: "mqtt://" + ln.Addr().String(), Timeout: 20 * time.Millisecond, Connect: packet.Connect{Version: packet.V5, ClientID: "c"}})
	if err == nil || !strings.Contains(err.Error(), "no answer to CONNECT in time") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, Options{Server: "mqtt://" + ln.Addr().String(), Connect: packet.Connect{Version: packet.V5}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
