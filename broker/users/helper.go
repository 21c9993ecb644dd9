package users

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A helper is a process of our own program that computes hashes, one after the
// other, for one worker.
//
// In the gateway's own process a hash would hold a processor of the runtime for
// milliseconds, and each would leave the garbage collector memory as large as all
// the rest: 2,000 wrong passwords in 20 s made PUBACK take 7 ms (p99) instead of 1.
// Between processes the kernel shares out time, for which it was made. The helper
// runs while there is something to do, and for a while after.
type helper struct {
	command []string // none: there is no helper, hashes are computed here
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *os.File
	answers *json.Decoder
	end     context.CancelFunc
}

// question is what a helper is asked for, and answer what it says; both as JSON.
type question struct {
	Kind       byte
	Salt       []byte
	Sum        int // bytes
	Memory     uint32
	Time       uint32
	Threads    uint8
	Iterations int
	Password   []byte
}

type answer struct {
	Sum []byte
}

const (
	// helperIdle is how long a helper waits for work before it is ended.
	helperIdle = 30 * time.Second
	// helperPatience is how long a hash may take it; the dearest take a Pi Zero
	// some seconds.
	helperPatience = time.Minute
)

// sum computes a hash, in the helper when there is one that works. The error says
// why it was not there. When ctx has ended there is no sum.
func (p *helper) sum(ctx context.Context, h *hash, password []byte) (sum []byte, err error) {
	if len(p.command) == 0 {
		return h.compute(password), nil
	}
	if p.cmd == nil {
		if err = p.start(ctx); err != nil {
			return h.compute(password), fmt.Errorf("start the process that computes hashes: %w", err)
		}
	}
	if sum, err = p.ask(h, password); err == nil {
		return sum, nil
	}
	p.stop()
	if ctx.Err() != nil {
		return nil, nil // nobody waits any more
	}
	return h.compute(password), fmt.Errorf("ask the process that computes hashes: %w", err)
}

func (p *helper) start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, p.command[0], p.command[1:]...)
	cmd.Env = []string{}                                  // it needs none of our secrets
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the gateway, which ends it
	in, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return err
	}
	out, ours, err := os.Pipe()
	if err != nil {
		cancel()
		return err
	}
	cmd.Stdout = ours
	err = cmd.Start()
	_ = ours.Close()
	if err != nil {
		cancel()
		_ = in.Close()
		_ = out.Close()
		return err
	}
	p.cmd, p.in, p.out, p.end = cmd, in, out, cancel
	p.answers = json.NewDecoder(out)
	return nil
}

func (p *helper) ask(h *hash, password []byte) ([]byte, error) {
	err := json.NewEncoder(p.in).Encode(&question{
		Kind: h.kind, Salt: h.salt, Sum: len(h.sum), Memory: h.memory, Time: h.time, Threads: h.threads,
		Iterations: h.iterations, Password: password,
	})
	if err != nil {
		return nil, err
	}
	if err := p.out.SetReadDeadline(time.Now().Add(helperPatience)); err != nil {
		return nil, err
	}
	var a answer
	if err := p.answers.Decode(&a); err != nil {
		return nil, err
	}
	if len(a.Sum) != len(h.sum) {
		return nil, fmt.Errorf("it answered with %d bytes, not %d", len(a.Sum), len(h.sum))
	}
	return a.Sum, nil
}

// stop ends the process, if there is one.
func (p *helper) stop() {
	if p.cmd == nil {
		return
	}
	p.end()
	_ = p.cmd.Wait()
	_ = p.in.Close()
	_ = p.out.Close()
	p.cmd = nil
}

// Help is what the process of [Options.Helper] does: it computes the hashes that
// it is asked for at in until that ends.
func Help(in io.Reader, out io.Writer) error {
	questions, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q question
		if err := questions.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read what to compute: %w", err)
		}
		h := &hash{
			kind: q.Kind, salt: q.Salt, sum: make([]byte, q.Sum), memory: q.Memory, time: q.Time, threads: q.Threads,
			iterations: q.Iterations,
		}
		if err := answers.Encode(&answer{Sum: h.compute(q.Password)}); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}
