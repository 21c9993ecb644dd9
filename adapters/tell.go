package adapters

import (
	"context"
	"log/slog"
	"time"

	"packetboat/broker/store"
)

// States are presence topics and what each should say. TellStates calls its methods
// one at a time.
type States interface {
	// Next finds a topic that does not yet say what it should.
	Next() (topic, state string, ok bool)
	// Said notes that it says so now.
	Said(topic, state string)
	// Due is the time until there may be something to say without a wake; 0: none.
	Due() time.Duration
}

// TellStates publishes retained what s has to say: now, after each wake and when it
// is due, until ctx ends, and then once more. Changes are collapsed: what is
// published is the latest state, and again and again until the broker takes it.
func TellStates(ctx context.Context, s States, wake <-chan struct{}, publish func(topic, state string) error) {
	delay := pauseMin
	for {
		var retry, due <-chan time.Time
		if d := s.Due(); d > 0 {
			due = time.After(d)
		}
		if tellAll(s, publish) != nil {
			retry = time.After(delay)
			delay = min(2*delay, pauseMax)
		} else {
			delay = pauseMin
		}
		select {
		case <-ctx.Done():
			_ = tellAll(s, publish) // a broker that is full keeps the old state; nothing more can be done
			return
		case <-wake:
		case <-retry:
		case <-due:
		}
	}
}

// tellAll publishes what there is to say, up to the first error.
func tellAll(s States, publish func(topic, state string) error) error {
	for {
		topic, state, ok := s.Next()
		if !ok {
			return nil
		}
		if err := publish(topic, state); err != nil {
			return err
		}
		s.Said(topic, state)
	}
}

// PublishState gives an adapter of this origin the way to publish a retained state.
func PublishState(to Publisher, origin string, log *slog.Logger) func(topic, state string) error {
	return func(topic, state string) error {
		_, err := to.Publish(&store.Message{Topic: topic, Payload: []byte(state), QoS: 1, Retain: true, Origin: origin})
		if err != nil {
			log.Debug("presence not published", "topic", topic, "error", err)
		}
		return err
	}
}
