package modbus

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"packetboat/config"
)

// unit is one device on the line. Its owner is the poller.
type unit struct {
	slot
	id     byte
	name   string
	topic  string
	status string // its own presence topic, or ""

	points  []point
	queries []query // those that were refused are split
	values  []value // of the latest poll
	last    []value // that were published; nil: none yet
	told    []error // what the log has of each value: why the unit refuses it

	answered time.Time // in this life of the line
	stats    UnitStats
}

// UnitStats are a unit's counters since the start.
type UnitStats struct {
	Name       string
	ID         int
	Polls      uint64    // answered, in whole
	Failed     uint64    // without an answer, or with damaged ones
	Exceptions uint64    // values that the unit refused
	Missed     uint64    // times that its period had and the line had not
	Failing    bool      // the latest poll was not answered
	Refused    []string  // values that the unit refused when they were last asked for
	LastAnswer time.Time // zero: none yet
}

func newUnit(cfg *config.ModbusUnit, topic, status string, cost time.Duration) (*unit, error) {
	u := &unit{
		slot: slot{every: cfg.Every, cost: cost},
		id:   byte(cfg.ID), name: cfg.Name, topic: topic, status: status,
		stats: UnitStats{Name: cfg.Name, ID: cfg.ID},
	}
	for i := range cfg.Reads {
		p, err := newPoint(&cfg.Reads[i])
		if err != nil {
			return nil, readError(i, err)
		}
		u.points = append(u.points, p)
	}
	u.queries = plan(u.points)
	u.values = make([]value, len(u.points))
	u.told = make([]error, len(u.points))
	return u, nil
}

func newPoint(cfg *config.ModbusRead) (point, error) {
	key, err := json.Marshal(cfg.Name)
	if err != nil {
		return point{}, err
	}
	p := point{name: cfg.Name, key: append(key, ':'), address: uint16(cfg.Address), write: cfg.Write}
	typ := cfg.Type
	switch cfg.Table {
	case "coil":
		p.function, typ = readCoils, "bool"
	case "discrete":
		p.function, typ = readDiscrete, "bool"
	case "input":
		p.function = readInput
	default:
		p.function = readHolding
	}
	p.codec, err = newCodec(typ, order(cfg.Order), cfg.Scale)
	return p, err
}

// read asks the unit for all its values. The error is of a request that got no
// good answer, or of the link.
func (u *unit) read(ctx context.Context, c *client, log *slog.Logger) error {
	for i := 0; i < len(u.queries); {
		q := u.queries[i]
		data, err := c.ask(ctx, u.id, appendRead(nil, q.function, q.address, q.count))
		var refused Exception
		switch {
		case err == nil:
			for _, n := range q.points {
				u.values[n] = q.take(&u.points[n], data)
				u.told[n] = nil
			}
		case !errors.As(err, &refused) || refused == gatewayNoPath || refused == gatewayTargetSilent:
			return err
		case len(q.points) > 1 && (refused == illegalAddress || refused == illegalValue):
			log.Info("values are asked for one by one from now on: the unit refuses to give them together",
				"unit", u.name, "first", q.address, "count", q.count, "error", refused)
			u.queries = slices.Replace(u.queries, i, i+1, q.split(u.points)...)
			continue
		default:
			u.refused(q, refused, log)
		}
		i++
	}
	return nil
}

// refused notes that the unit has not given the values of a query.
func (u *unit) refused(q query, why Exception, log *slog.Logger) {
	for _, n := range q.points {
		u.stats.Exceptions++
		u.values[n] = null
		if u.told[n] != why {
			u.told[n] = why
			log.Warn("value refused; null is published until the unit gives it",
				"unit", u.name, "value", u.points[n].name, "address", u.points[n].address, "error", why)
		}
	}
}

// refuses are the values that the unit does not give.
func (u *unit) refuses() (names []string) {
	for n, why := range u.told {
		if why != nil {
			names = append(names, u.points[n].name)
		}
	}
	return names
}

// changed reports whether a value differs from what was published.
func (u *unit) changed(band float64) bool {
	if u.last == nil {
		return true
	}
	for i := range u.values {
		if u.values[i].changed(u.last[i], band) {
			return true
		}
	}
	return false
}

// payload appends the values as a JSON object, in the order of the
// configuration.
func (u *unit) payload(dst []byte) []byte {
	dst = append(dst, '{')
	for i := range u.points {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, u.points[i].key...), u.values[i].json...)
	}
	return append(dst, '}')
}
