package gateway

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/coreos/go-systemd/v22/daemon"

	"packetboat/broker/acl"
	"packetboat/config"
	"packetboat/gateway/admin"
)

// ErrNotRunning: the gateway has not started yet, or is stopping.
var ErrNotRunning = errors.New("the gateway is not running")

// Reload reads the configuration again and acts on what has changed in it: the
// access rules, the users, the bridges, adapters and listeners, the limits and the
// level of the log. Connections (but for those of users that are gone and of
// listeners that have changed), queues and everything else stay as they are. It returns
// when that is done, and logs the outcome. With mistakes in the configuration
// nothing is changed; the error is [config.Errors] then. Another error says what
// could not be done; what could is. Any goroutine.
func (g *Gateway) Reload(ctx context.Context) (admin.Changes, error) {
	if g.opt.Load == nil {
		return admin.Changes{}, errors.New("this gateway has no configuration file to read again")
	}
	// One after the other from the reading on: of two at once, the one that has read an
	// older file could be the last to act on it.
	var did admin.Changes
	var err error
	if e := g.betweenReloads(ctx, func() { did, err = g.readAndAct(ctx) }); e != nil {
		return admin.Changes{}, e
	}
	return did, err
}

// betweenReloads calls f while the bridges, adapters and listeners stay the same ones.
func (g *Gateway) betweenReloads(ctx context.Context, f func()) error {
	select {
	case g.reloading <- struct{}{}:
		defer func() { <-g.reloading }()
	case <-g.over:
		return ErrNotRunning
	case <-ctx.Done():
		return ctx.Err()
	}
	f()
	return nil
}

func (g *Gateway) readAndAct(ctx context.Context) (did admin.Changes, err error) {
	cfg, err := g.opt.Load()
	if err != nil {
		g.logMistakes(err)
		return admin.Changes{}, err
	}
	if e := g.do(ctx, func(context.Context) { did, err = g.reload(cfg) }); e != nil {
		return admin.Changes{}, e
	}
	return did, err
}

// do has the goroutine of Run, which owns the bridges, call f between its
// reports, and returns when f has returned. The context that f gets ends when the
// gateway stops; ctx is only that of waiting for the turn.
func (g *Gateway) do(ctx context.Context, f func(ctx context.Context)) error {
	done := make(chan struct{})
	work := func(ctx context.Context) {
		defer close(done)
		f(ctx)
	}
	select {
	case g.work <- work:
		<-done // it was taken, so it is done
		return nil
	case <-g.over:
		return ErrNotRunning
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *Gateway) logMistakes(err error) {
	list := []error{err}
	if all, ok := err.(config.Errors); ok {
		list = list[:0]
		for _, e := range all {
			list = append(list, e)
		}
	}
	for _, e := range list {
		g.log.Error("the new configuration has a mistake; nothing was changed", "error", e)
	}
}

// reload does what Reload says, between the reports of a gateway that runs.
func (g *Gateway) reload(cfg *config.Config) (did admin.Changes, err error) {
	g.opt.Notify(reloading())
	defer func() {
		g.opt.Notify(daemon.SdNotifyReady)
		switch {
		case err != nil:
			g.log.Error("the new configuration was not acted on, or not all of it", "error", err, "done", did.String())
		default:
			g.log.Info("configuration read again", "result", did.String())
		}
	}()
	did.Restart = otherSections(g.cfg, cfg)
	if !reflect.DeepEqual(g.cfg.Gateway, cfg.Gateway) {
		return did, fmt.Errorf("%s: [gateway] has changed, and topics, client ids and the queue follow from it: restart the gateway (systemctl restart packetboat); nothing was changed",
			cfg.At("gateway"))
	}
	g.logins.users.Reload()
	was := g.shown.Load() // what is in force
	rules, err := rulesOf(cfg)
	if err != nil {
		return did, fmt.Errorf("%s: %w", cfg.At("auth.rule"), err)
	}
	if did.Limits = cfg.Limits != was.Limits; did.Limits {
		g.changeLimits(cfg.Limits)
	}
	if g.opt.SetLevel != nil && cfg.Log.Level != was.Log.Level {
		g.opt.SetLevel(cfg.Log.Level)
		did.LogLevel = cfg.Log.Level
	}
	b, err := g.bridges.apply(cfg.Bridges)
	did.Added, did.Changed, did.Removed = b.Added, b.Changed, b.Removed
	// What adapters have read, and that they go, they publish by the rules that were
	// theirs.
	g.devices.halt(deviceSections(cfg))
	did.Rules = g.changeRules(rules, was, cfg)
	var e error
	did.Adapters, e = g.devices.apply(cfg, deviceSections(cfg))
	err = errors.Join(err, e)
	did.Listeners = g.changeListeners(cfg)
	g.warnAbandoned(cfg)
	g.shown.Store(cfg)
	return did, err
}

// changeRules puts the access rules of a new configuration in force, with those of
// its adapters' own topics, and reports whether what the file says of access is
// another.
func (g *Gateway) changeRules(rules *acl.Rules, was, now *config.Config) (changed bool) {
	changed = !reflect.DeepEqual(was.Auth.Rules, now.Auth.Rules)
	if changed || !reflect.DeepEqual(was.Serial, now.Serial) || !reflect.DeepEqual(was.TCP, now.TCP) {
		g.broker.SetRules(rules)
	}
	return changed
}

// changeLimits puts other limits in force. What a client may send in a second is
// that of its connection: from the next one on.
func (g *Gateway) changeLimits(l config.Limits) {
	g.connects.set(l.ConnectsPerSecond)
	g.logins.users.SetFailedLogins(l.FailedLogins)
	g.broker.SetPace(l.MessagesPerSecond, int64(l.BytesPerSecond))
}

// reloading is what systemd is told first [sd_notify(3)].
func reloading() string {
	return daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()
}

// otherSections are the sections that differ, but for what is acted on at once.
func otherSections(old, now *config.Config) []string {
	var list []string
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(now).Elem()
	for i := range a.NumField() {
		f := a.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		x, y := a.Field(i).Interface(), b.Field(i).Interface()
		switch f.Name {
		case "Bridges", "Serial", "TCP", "Modbus", "Listeners", "Limits":
			continue
		case "Auth":
			x, y = old.Auth.Users, now.Auth.Users
		case "Log":
			x, y = old.Log.Format, now.Log.Format
		}
		if !reflect.DeepEqual(x, y) {
			list = append(list, "["+f.Tag.Get("toml")+"]")
		}
	}
	return list
}
