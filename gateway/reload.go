package gateway

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/coreos/go-systemd/v22/daemon"

	"packetboat/config"
	"packetboat/gateway/admin"
)

// reload is a request to act on a configuration.
type reload struct {
	cfg    *config.Config
	answer chan<- reloaded // room for one
}

type reloaded struct {
	changes admin.Changes
	err     error
}

// ErrNotRunning: the gateway has not started yet, or is stopping.
var ErrNotRunning = errors.New("the gateway is not running")

// Reload reads the configuration again and acts on what has changed in it: the
// bridges. Connections, queues and everything else stay as they are. It returns
// when that is done, and logs the outcome. With mistakes in the configuration
// nothing is changed; the error is [config.Errors] then. Another error says what
// could not be done; what could is. Any goroutine.
func (g *Gateway) Reload(ctx context.Context) (admin.Changes, error) {
	if g.opt.Load == nil {
		return admin.Changes{}, errors.New("this gateway has no configuration file to read again")
	}
	cfg, err := g.opt.Load()
	if err != nil {
		g.logMistakes(err)
		return admin.Changes{}, err
	}
	answer := make(chan reloaded, 1)
	select {
	case g.reloads <- reload{cfg, answer}:
	case <-g.over:
		return admin.Changes{}, ErrNotRunning
	case <-ctx.Done():
		return admin.Changes{}, ctx.Err()
	}
	r := <-answer // it was taken, so it is answered
	return r.changes, r.err
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
	b, err := g.bridges.apply(cfg.Bridges)
	did.Added, did.Changed, did.Removed = b.Added, b.Changed, b.Removed
	g.warnAbandoned(cfg)
	return did, err
}

// reloading is what systemd is told first [sd_notify(3)].
func reloading() string {
	return daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()
}

// otherSections are the sections but for the bridges that differ.
func otherSections(old, now *config.Config) []string {
	var list []string
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(now).Elem()
	for i := range a.NumField() {
		f := a.Type().Field(i)
		if !f.IsExported() || f.Name == "Bridges" {
			continue
		}
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			list = append(list, "["+f.Tag.Get("toml")+"]")
		}
	}
	return list
}
