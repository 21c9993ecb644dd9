package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"packetboat/broker/packet"

	"github.com/eclipse/paho.golang/paho"
)

// client5 is paho on the link.
type client5 struct {
	c     *conn
	paho  *paho.Client
	ended chan error // what paho says about the end: an error, or a DISCONNECT
}

func newClient5(c *conn) *client5 {
	m := &client5{c: c, ended: make(chan error, 2)}
	c.link.acks = c.acks
	m.paho = paho.NewClient(paho.ClientConfig{
		Conn:          c.link,
		Session:       c,
		PingHandler:   pahoPinger{newPinger(c), c},
		PacketTimeout: c.b.cfg.ConnectTimeout,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			p := fromPaho(r.Packet.Packet()) // QoS 0
			c.received(&p)
			return true, nil
		}},
		OnClientError:      func(err error) { post(m.ended, err) },
		OnServerDisconnect: func(*paho.Disconnect) { post(m.ended, nil) }, // ConnectionLost has noted why
	})
	return m
}

func post(ch chan error, err error) {
	select {
	case ch <- err:
	default:
	}
}

func (m *client5) connect(ctx context.Context) error {
	ack, err := m.paho.Connect(ctx, m.packet())
	switch {
	case err == nil:
		return nil
	case ack != nil && ack.ReasonCode >= packet.UnspecifiedError && m.c.ctx.Err() == nil:
		e := &refusedConnect{code: ack.ReasonCode}
		if ack.Properties != nil {
			e.text = ack.Properties.ReasonString
		}
		return e
	case ack != nil:
		return err // the session could not be settled
	}
	return m.c.connectError(err)
}

// packet is the CONNECT for paho.
func (m *client5) packet() *paho.Connect {
	from := m.c.connectPacket()
	p := &paho.Connect{
		ClientID: from.ClientID, CleanStart: from.CleanStart, KeepAlive: from.KeepAlive,
		UsernameFlag: from.HasUser, Username: from.User, PasswordFlag: from.HasPass, Password: from.Password,
		Properties: &paho.ConnectProperties{
			SessionExpiryInterval: &from.SessionExpiry,
			ReceiveMaximum:        &from.ReceiveMaximum,
			RequestProblemInfo:    true,
		},
	}
	if from.MaxPacketSize > 0 {
		p.Properties.MaximumPacketSize = &from.MaxPacketSize
	}
	if w := from.Will; w != nil {
		p.WillMessage = &paho.WillMessage{Topic: w.Topic, Payload: w.Payload, QoS: w.QoS, Retain: w.Retain}
		p.WillProperties = &paho.WillProperties{}
	}
	return p
}

func (m *client5) subscribe(ctx context.Context, subs []packet.Filter) ([]byte, error) {
	p := &paho.Subscribe{}
	for _, s := range subs {
		p.Subscriptions = append(p.Subscriptions, paho.SubscribeOptions{
			Topic: s.Filter, QoS: s.QoS, NoLocal: s.NoLocal, RetainAsPublished: s.RetainAsIs, RetainHandling: s.RetainHandling,
		})
	}
	ack, err := m.paho.Subscribe(ctx, p)
	switch {
	case ack != nil:
		return ack.Reasons, nil
	case errors.Is(err, paho.ErrInvalidArguments):
		return nil, fmt.Errorf("%w: %w", errCannotAsk, err)
	}
	return nil, err
}

func (m *client5) unsubscribe(ctx context.Context, filters []string) error {
	_, err := m.paho.Unsubscribe(ctx, &paho.Unsubscribe{Topics: filters})
	return err
}

func (m *client5) done() <-chan struct{} { return m.paho.Done() }

func (m *client5) problem() error {
	select {
	case err := <-m.ended:
		return err
	case <-time.After(time.Second):
		return nil
	}
}

func (m *client5) close() {
	_ = m.paho.Disconnect(&paho.Disconnect{}) // only to end paho: the link takes no more
	<-m.paho.Done()
}
