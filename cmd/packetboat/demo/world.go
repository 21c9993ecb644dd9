package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"packetboat/cmd/packetboat/sim"
)

// world is everything but the devices: the cloud, the link, the gateway, and
// the tally.
type world struct {
	opt     Options
	dir     string
	tally   *sim.Tally
	cloud   *cloud
	link    *link
	gateway *child

	sensors []*sim.Serial
	loggers []*sim.TCP
	clients []client

	linking   stopper
	collector stopper
}

// client is an MQTT publisher to be.
type client struct {
	source *sim.Source
	qos    byte
	rate   int
}

// The devices: what they are called, and how many messages a second they send.
const (
	sensorRate = 20
	loggerRate = 50
	clientRate = 100
)

// newWorld prepares the accounts. Nothing runs until open.
func newWorld(dir string, opt Options) (*world, error) {
	w := &world{opt: opt, dir: dir, tally: &sim.Tally{}}
	for _, name := range []string{"scale", "weather"} {
		w.sensors = append(w.sensors, &sim.Serial{
			Source: w.tally.Add(sim.Source{Name: name, Kind: "serial, no ack", Silent: true}),
			Rate:   sensorRate,
		})
	}
	w.loggers = append(w.loggers, &sim.TCP{
		Source: w.tally.Add(sim.Source{Name: "logger", Kind: "TCP, ack per line"}),
		Rate:   loggerRate, Ack: "OK",
	})
	for _, c := range []struct {
		name string
		qos  byte
	}{{"press-1", 1}, {"press-2", 1}, {"meter-1", 2}, {"meter-2", 2}} {
		w.clients = append(w.clients, client{
			source: w.tally.Add(sim.Source{Name: c.name, Kind: fmt.Sprintf("MQTT, QoS %d", c.qos), Once: c.qos == 2}),
			qos:    c.qos, rate: clientRate,
		})
	}
	mqtt, err := freePort()
	if err != nil {
		return nil, err
	}
	tcp, err := freePort()
	if err != nil {
		return nil, err
	}
	for i := range w.loggers {
		w.loggers[i].Addr = tcp
	}
	file := filepath.Join(dir, "packetboat.toml")
	w.gateway = &child{
		args: append(append([]string(nil), opt.Gateway...), "-config", file),
		log:  filepath.Join(dir, "gateway.log"), listen: mqtt,
	}
	return w, nil
}

// freePort finds a port that is free now. It has to be known beforehand, as the
// gateway must come back on it after its death.
func freePort() (address string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// open starts the cloud, the link and the collector, plugs the sensors in, and
// writes the gateway's configuration.
func (w *world) open() (err error) {
	if w.cloud, err = openCloud(w.dir); err != nil {
		return err
	}
	if w.link, err = newLink(w.cloud.ln.Addr().String()); err != nil {
		return err
	}
	w.linking.start(w.link.run)

	subscribed := make(chan struct{}, 1)
	s := &sim.Subscriber{
		Addr: w.cloud.ln.Addr().String(), ClientID: "collector", Filter: "plant/#", QoS: 2,
		Message: func(_ string, payload []byte) { w.tally.Arrived(payload) },
		Subscribed: func() {
			select {
			case subscribed <- struct{}{}:
			default:
			}
		},
	}
	failed := make(chan error, 1)
	w.collector.start(func(ctx context.Context) { failed <- s.Run(ctx) })
	select {
	case <-subscribed:
	case err := <-failed:
		return err
	}
	for _, d := range w.sensors {
		if err := d.Open(); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(w.dir, "packetboat.toml"), []byte(w.config()), 0o600)
}

// config is the gateway's configuration: much as one would write it, but for
// the short backoff.
func (w *world) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, `[gateway]
id       = "demo"
data_dir = %q

[admin]
socket  = %q
address = ""

[queue]
max_size = "256MiB"
min_free = "1MiB"

[[listener]]
address = %q
`, filepath.Join(w.dir, "data"), filepath.Join(w.dir, "admin.sock"), w.gateway.listen)
	for _, d := range w.sensors {
		fmt.Fprintf(&b, `
[[serial]]
name   = %q
port   = %q
topic  = "sensors/{name}"
`, d.Source.Name, d.Path())
	}
	for _, d := range w.loggers {
		fmt.Fprintf(&b, `
[[tcp]]
name   = %q
listen = %q
topic  = "sensors/{name}"
ack    = "OK\n"
`, d.Source.Name, d.Addr)
	}
	fmt.Fprintf(&b, `
[[bridge]]
name    = "cloud"
servers = ["mqtt://%s"]
backoff = { min = "100ms", max = "1s", stable = "1s" }
[[bridge.up]]
filter = "sensors/#"
topic  = "plant/{gateway}/{1}"
`, w.link.addr())
	return b.String()
}

// close stops everything, the gateway first.
func (w *world) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := w.gateway.end(ctx)
	if errors.Is(err, errEnded) {
		err = nil // what it died of was reported where it was noticed
	}
	for _, d := range w.sensors {
		if d.Path() != "" {
			err = errors.Join(err, d.Close())
		}
	}
	w.linking.stop()
	w.collector.stop()
	if w.cloud != nil {
		err = errors.Join(err, w.cloud.close())
	}
	return err
}

// devices are all devices while they run.
type devices struct {
	halt   chan struct{} // closed: no new numbers
	cancel context.CancelFunc
	wg     sync.WaitGroup
	failed chan error // one that ended before it should
	once   sync.Once
}

// startDevices lets all devices send.
func (w *world) startDevices(ctx context.Context) *devices {
	d := &devices{halt: make(chan struct{}), failed: make(chan error, 1)}
	ctx, d.cancel = context.WithCancel(ctx)
	run := func(f func(ctx context.Context) error) {
		d.wg.Go(func() {
			if err := f(ctx); err != nil {
				select {
				case d.failed <- err:
				default:
				}
			}
		})
	}
	for _, s := range w.sensors {
		s.Stop = d.halt
		run(s.Run)
	}
	for _, l := range w.loggers {
		l.Stop = d.halt
		run(l.Run)
	}
	for _, c := range w.clients {
		p := &sim.Publisher{
			Addr: w.gateway.listen, Topic: "sensors/" + c.source.Name, QoS: c.qos,
			Source: c.source, Rate: c.rate, Stop: d.halt,
		}
		run(p.Run)
	}
	return d
}

// wait lets time pass, unless ctx ends or a device fails.
func (d *devices) wait(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case err := <-d.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop lets the devices finish what they have in flight, and returns when they
// have.
func (d *devices) stop(ctx context.Context, most time.Duration) error {
	d.once.Do(func() { close(d.halt) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.wg.Wait()
	}()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case err := <-d.failed:
		return err
	case <-timer.C:
		return errors.New("the gateway does not acknowledge what devices have in flight")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end ends the devices, whatever they have in flight.
func (d *devices) end() {
	d.cancel()
	d.wg.Wait()
}
