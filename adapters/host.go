package adapters

import (
	"errors"
	"log/slog"

	"packetboat/adapters/decode"
	"packetboat/broker"
	"packetboat/broker/store"
	"packetboat/config"
)

// Host is what adapters run in: the gateway's broker and store.
type Host struct {
	Broker Publisher
	Disk   Disk
	Log    *slog.Logger // nil: none

	// Attach attaches the durable consumer "adapter/NAME" to the commands that
	// match filter: QoS 0 ones are to be queued too (as QoS 1), retained ones
	// not, as a command is an event and must not be repeated by a restart.
	// detach ends the subscription; what is queued stays.
	Attach func(name, filter string) (src Commands, detach func(), err error)
}

// NewHost is the Host of adapters on b and its store.
//
// An adapter may be made in the place of one of the same name that has ended and is
// not closed yet: no command is missed in between, and one that was not finished is
// there again. The old one's detach does nothing then.
func NewHost(b *broker.Broker, st *store.Store, log *slog.Logger) Host {
	attached := map[string]*broker.Attachment{} // by adapter; Attach is called by one goroutine at a time
	return Host{Broker: b, Disk: st, Log: log, Attach: func(name, filter string) (Commands, func(), error) {
		subs := []broker.Subscription{{Filter: filter, QoS: 2, MinQoS: 1, NoRetained: true}}
		var a *broker.Attachment
		err := errors.New("none before it")
		if old := attached[name]; old != nil {
			a, err = old.Replace(subs, nil) // fails where it is closed
		}
		if err == nil {
			a.Lane(0).Rewind()
		} else if a, err = b.Attach("adapter/"+name, 0, subs, nil); err != nil {
			return nil, nil, err
		}
		attached[name] = a
		a.Lane(0).Prompt() // a crash should not dispense twice
		a.Lane(0).SetOrphan(false)
		return a.Lane(0), a.Close, nil
	}}
}

// Checking is a Host to make adapters in that only have to be checked.
func Checking() Host {
	return Host{Attach: func(string, string) (Commands, func(), error) { return nil, func() {}, nil }}
}

// Stream makes the Options of a configured stream, in whose texts {gateway}
// and {name} are bound already. Its error is a *KeyError,
// or several that are joined.
func (h Host) Stream(cfg *config.Stream) (Options, error) {
	o := Options{
		Name:   cfg.Name,
		Topic:  cfg.Topic,
		Status: cfg.Status,
		QoS:    byte(cfg.QoS),
		Retain: cfg.Retain,
		MaxAge: cfg.MaxAge,

		SilentAfter: cfg.SilentAfter,

		Broker: h.Broker,
		Disk:   h.Disk,
		Log:    h.Log,

		OnChange: cfg.OnChange,
		DeadBand: cfg.DeadBand,
		Rate:     cfg.Rate,
	}
	var err error
	if o.Framing, err = framingOf(&cfg.Frame); err != nil {
		return o, err
	}
	decoding, err := decode.New(cfg.Decode)
	if err != nil {
		return o, keyError(err)
	}
	o.NewDecoder = decoding.New
	if o.Shape, err = decode.NewShape(cfg.When, cfg.Set, decoding); err != nil {
		return o, keyError(err)
	}
	if err := checkFields(cfg.Topic, decoding, o.Shape); err != nil {
		return o, &KeyError{"topic", err}
	}
	if c := cfg.Command; c != nil {
		o.Command = &CommandOptions{
			Attach:  func(filter string) (Commands, func(), error) { return h.Attach(cfg.Name, filter) },
			Topic:   c.Topic,
			Encode:  decode.Command{Template: c.Encode},
			TTL:     c.TTL,
			Timeout: c.Timeout,
			Reply:   c.Reply,
			Retries: c.Retries,
			States:  c.States,
		}
	}
	if p := cfg.Poll; p != nil {
		request, err := pollRequest(p)
		if err != nil {
			return o, err
		}
		o.Poll = &PollOptions{Every: p.Every, Request: request, Timeout: p.Timeout, Retries: p.Retries}
	}
	return o, nil
}

// keyError makes a *KeyError of decode's; of several that are joined, several.
func keyError(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		var list []error
		for _, e := range all.Unwrap() {
			list = append(list, keyError(e))
		}
		return errors.Join(list...)
	}
	var e *decode.KeyError
	if errors.As(err, &e) {
		return &KeyError{e.Key, e.Err}
	}
	return err
}
