package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is the gateway in a process of its own.
type child struct {
	args   []string // of the command line
	listen string   // where it is reached when it works
	log    string   // file that it logs to

	mu     sync.Mutex
	pid    int
	ended  chan struct{} // closed when the process has gone; nil: never started
	status error
}

// start starts the gateway and returns when it accepts connections.
func (c *child) start(ctx context.Context) error {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own: Ctrl-C is ours to handle, and a wrapper (-exec) dies
	// with what it runs.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	ended, started := make(chan struct{}), make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the thread that forked ends: it is
		// kept for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		if err == nil {
			c.mu.Lock()
			c.pid, c.ended = cmd.Process.Pid, ended
			c.mu.Unlock()
		}
		started <- err
		if err == nil {
			err = cmd.Wait()
		}
		c.mu.Lock()
		c.pid, c.status = 0, err
		c.mu.Unlock()
	}()
	if err := <-started; err != nil {
		<-ended
		return fmt.Errorf("start the gateway: %w", err)
	}
	return c.awaitListening(ctx, ended)
}

// awaitListening dials until somebody answers.
func (c *child) awaitListening(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startFor)
	defer cancel()
	var d net.Dialer
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		nc, err := d.DialContext(ctx, "tcp", c.listen)
		if err == nil {
			return nc.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the gateway does not listen on %s: %w", c.listen, ctx.Err())
		case <-ended:
			c.mu.Lock()
			defer c.mu.Unlock()
			return fmt.Errorf("the gateway has ended: %w", errors.Join(c.status, errEnded))
		case <-retry.C:
		}
	}
}

var errEnded = errors.New("it should have listened")

// kill ends the gateway as a power cut would, but for the page cache.
func (c *child) kill() error { return c.signal(syscall.SIGKILL) }

// end ends the gateway in order, if it still runs.
func (c *child) end(ctx context.Context) error {
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	if ended == nil {
		return nil
	}
	select {
	case <-ended:
		return nil
	default:
	}
	if err := c.signalGroup(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("the gateway did not stop in time and was killed"), c.kill())
	}
}

// signal ends the process and waits for that.
func (c *child) signal(sig syscall.Signal) error {
	if err := c.signalGroup(sig); err != nil {
		return err
	}
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	<-ended
	return nil
}

func (c *child) signalGroup(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid == 0 {
		return fmt.Errorf("the gateway has ended by itself: %w", errors.Join(c.status, errEnded))
	}
	if err := syscall.Kill(-c.pid, sig); err != nil {
		return fmt.Errorf("signal the gateway: %w", err)
	}
	return nil
}

// running gives the process id, 0 when there is none.
func (c *child) running() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

// lastWords are the end of what the gateway has logged.
func (c *child) lastWords() string {
	data, err := os.ReadFile(c.log)
	if err != nil || len(data) == 0 {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte{'\n'})
	if len(lines) > 10 {
		lines = lines[len(lines)-10:]
	}
	var b strings.Builder
	b.WriteString("\nthe gateway's last words:")
	for _, l := range lines {
		fmt.Fprintf(&b, "\n  %s", l)
	}
	return b.String()
}
