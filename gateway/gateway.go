package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/adapters"
	"packetboat/bridge"
	"packetboat/broker"
	"packetboat/broker/store"
	"packetboat/config"
	"packetboat/gateway/admin"
)

// Options are what a gateway takes from the process it runs in.
type Options struct {
	Log     *slog.Logger // nil: slog.Default
	Version string       // for $SYS

	// Helper is the command whose process calls users.Help, and so verifies
	// passwords; none: this process does.
	Helper []string

	// SetLevel has Log tell what is of that level ("debug", "info", "warn", "error")
	// and above from now on; nil: it cannot be changed.
	SetLevel func(level string)

	// Load reads the configuration again, and checks it, for Reload; nil: it cannot
	// be.
	Load func() (*config.Config, error)

	// Notify is told the service states ("READY=1", "STATUS=…"), by several
	// goroutines; nil: systemd, when it asks for them.
	Notify func(state string)

	// Watchdog is how long Notify may go without WATCHDOG=1, which is told while the
	// router makes progress; 0: as long as systemd says, or for ever.
	Watchdog time.Duration
}

// Gateway is a configured gateway. Run it once.
type Gateway struct {
	cfg     *config.Config
	opt     Options
	log     *slog.Logger
	limits  limits
	started time.Time

	store    *store.Store
	broker   *broker.Broker
	bridges  bridges
	devices  devices
	passed   func() sockets
	sockets  sockets // that systemd has passed
	connects *connectPace
	files    fileRoom
	logins   logins
	listened listeners
	beat     *pulse // the router's
	web      atomic.Pointer[web]
	trend    trend
	logs     admin.LogRing // what log has told, for operators
	folding  *folding      // of repeats in log
	shown    atomic.Pointer[config.Config]
	wear     *wear

	work chan func(ctx context.Context) // for the goroutine of Run, see do
	over chan struct{}                  // closed when Run returns

	reloading chan struct{} // one slot: full while the configuration is read and acted on
}

// New makes a gateway; nothing is opened or started. The configuration must
// have passed [Check].
func New(cfg *config.Config, opt Options) *Gateway {
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	g := new(Gateway)
	fold := newFolder(g.logs.Handler(opt.Log.Handler()))
	g.folding, opt.Log = fold.state, slog.New(fold)
	if opt.Notify == nil {
		opt.Notify = systemd(opt.Log)
	}
	g.cfg, g.opt, g.log, g.passed = cfg, opt, opt.Log, passedSockets
	g.shown.Store(cfg)
	g.connects = newConnectPace(cfg.Limits.ConnectsPerSecond)
	g.work, g.over = make(chan func(context.Context)), make(chan struct{})
	g.reloading = make(chan struct{}, 1)
	g.bridges.make = g.newBridge
	return g
}

// Run runs the gateway until ctx ends and everything has stopped; it returns
// nil then. An error means that the gateway could not start, that one of the
// parts that all others need has failed, or that the disk queue could not be
// closed.
func (g *Gateway) Run(ctx context.Context) (err error) {
	defer close(g.over)
	defer g.folding.end(context.WithoutCancel(ctx))
	if err := checkMount(g.cfg.Gateway); err != nil {
		return err
	}
	g.started = time.Now()
	g.limits = limitsOf(g.cfg, measure(g.cfg.Gateway.DataDir))
	g.sockets = g.passed()
	defer g.sockets.close()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	g.store, err = store.Open(g.cfg.Gateway.DataDir, g.storeOptions())
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; the user that runs the gateway must be able to write there: set gateway.data_dir to a directory of its own, or StateDirectory= in the systemd unit (at %s)",
			err, g.cfg.At("gateway.data_dir"))
	}
	if err != nil {
		return err
	}
	disk := newStage(ctx, fail)
	disk.run("disk queue", g.store.Run)
	end := func(s *stage) { err = errors.Join(err, s.stop()) }
	defer end(disk)

	if err := g.build(); err != nil {
		return err
	}
	routing := newStage(ctx, fail)
	routing.run("broker", g.broker.Run)
	routing.run("logins", g.logins.users.Run)
	defer end(routing)

	// Detached last, when nobody can publish any more: what is published until
	// then is queued for the next start.
	defer g.detach()
	bridging := newStage(ctx, fail)
	g.bridges.start(bridging)
	defer end(bridging)

	edge := newStage(ctx, fail)
	defer end(edge)
	g.beat = newPulse(g.routes)
	edge.run("sign of life", g.beat.run)
	g.devices.start(edge)
	edge.run("trend", func(ctx context.Context) error { return g.trend.run(ctx, g.sample) })
	open := g.listen(edge)
	g.awaitDoors(ctx)
	g.openAdmin(edge) // when there is something to tell
	bridges := len(g.bridges.all())
	if open+len(g.devices.all())+bridges == 0 {
		return errors.New("nothing can run: no listener could be opened, and no adapter or bridge is configured")
	}

	g.log.Info("gateway runs", "id", g.cfg.Gateway.ID, "version", g.opt.Version, "data_dir", g.cfg.Gateway.DataDir,
		"listeners", open, "adapters", len(g.devices.all()), "bridges", bridges)
	if limit := g.watchdogOf(); limit > 0 {
		edge.run("watchdog", func(ctx context.Context) error { return feed(ctx, g.beat, limit, g.opt.Notify) })
	}
	g.report(ctx)
	g.opt.Notify(stateStopping)
	g.log.Info("stopping")
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// build makes the broker and attaches to it all that it queues messages for,
// before anybody can publish.
func (g *Gateway) build() error {
	opt := g.brokerOptions()
	var err error
	g.openLogins()
	if opt.Rules, err = rulesOf(g.cfg); err != nil {
		return fmt.Errorf("%s: %w", g.cfg.At("auth.rule"), err)
	}
	if g.broker, err = broker.New(opt); err != nil {
		return err
	}
	if _, err := g.bridges.apply(g.cfg.Bridges); err != nil {
		return fmt.Errorf("%s: %w", g.cfg.At("bridge"), err)
	}
	host := adapters.NewHost(g.broker, g.store, g.log)
	g.devices.make = func(c any) (adapters.Adapter, error) { return newAdapter(c, host) }
	if _, err := g.devices.apply(g.cfg, deviceSections(g.cfg)); err != nil {
		return err
	}
	g.warnAbandoned(g.cfg)
	return nil
}

// newBridge makes a bridge, in the place of another or of none.
func (g *Gateway) newBridge(c config.Bridge, replaces *bridge.Bridge) (*bridge.Bridge, error) {
	return bridge.New(c, bridge.Options{
		Broker: g.broker, Store: g.store, MaxPacket: int(g.limits.maxPacket), Log: g.log, Replaces: replaces,
	})
}

func (g *Gateway) detach() {
	g.devices.detach()
	g.bridges.detach()
}

// A stage is a set of parts that run at the same time and stop together.
type stage struct {
	ctx    context.Context
	cancel context.CancelFunc
	fail   func(error)
	wg     sync.WaitGroup

	mu   sync.Mutex
	errs []error
}

// newStage makes a stage that ends when stop is called, not when ctx does: the
// order of stopping is its owner's. fail is called when a part ends by itself.
func newStage(ctx context.Context, fail func(error)) *stage {
	s := &stage{fail: fail}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

// run starts a part.
func (s *stage) run(name string, f func(ctx context.Context) error) { s.begin(name, f) }

// A part is one of a stage that may end before it.
type part struct {
	stop context.CancelFunc
	done chan struct{}
}

// halt ends a part and returns when it has ended.
func (p *part) halt() {
	p.stop()
	<-p.done
}

// begin is run, of a part that may be halted.
func (s *stage) begin(name string, f func(ctx context.Context) error) *part {
	ctx, stop := context.WithCancel(s.ctx)
	p := &part{stop: stop, done: make(chan struct{})}
	s.wg.Go(func() {
		defer close(p.done)
		defer stop()
		err := f(ctx)
		if ctx.Err() == nil {
			s.fail(fmt.Errorf("%s ended: %w", name, errors.Join(err, errUnexpected)))
			return
		}
		if err != nil {
			s.mu.Lock()
			s.errs = append(s.errs, fmt.Errorf("stop %s: %w", name, err))
			s.mu.Unlock()
		}
	})
	return p
}

var errUnexpected = errors.New("it should have run until the gateway stops")

// stop ends all parts and returns when they have ended, with their errors.
func (s *stage) stop() error {
	s.cancel()
	s.wg.Wait()
	return errors.Join(s.errs...)
}
