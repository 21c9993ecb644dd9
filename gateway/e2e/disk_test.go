package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/sim"
)

// Disks that fail, for real: a file system in memory that somebody else fills, an
// ext4 on a loop device that hangs (fsfreeze) or gives up (remount,abort). They
// are mounted in the mount namespace of the gateway and end with it. That needs root.

// disk is a directory on a file system of its own and the gateway on it.
type disk struct {
	*gateway
	dir   string
	image string // of the ext4
	tally sim.Tally
}

// newDisk prepares a gateway on a tmpfs of 24 MiB or an ext4 of 64.
func newDisk(t *testing.T, kind, sections string) *disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting takes root")
	}
	dir := t.TempDir()
	d := &disk{dir: filepath.Join(dir, "mnt"), image: filepath.Join(dir, "image")}
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := fmt.Sprintf("mount -t tmpfs -o size=24m none %s", d.dir)
	if kind == "ext4" {
		if out, err := exec.Command("sh", "-c", "truncate -s 64M "+d.image+" && mkfs.ext4 -q "+d.image).CombinedOutput(); err != nil {
			t.Skipf("no ext4 can be made: %v\n%s", err, out)
		}
		mount = fmt.Sprintf("mount -o loop %s %s", d.image, d.dir)
	}
	if out, err := exec.Command("unshare", "-m", "sh", "-c", mount).CombinedOutput(); err != nil {
		t.Skipf("nothing can be mounted here: %v\n%s", err, out)
	}
	d.gateway = newGatewayOn(t, d.dir, "max_size = \"16MiB\"\nmin_free = \"0\"\nsegment_size = \"256KiB\"", sections)
	d.mounted(mount)
	return d
}

// mounted has the gateway started where mount was done before.
func (d *disk) mounted(mount string) {
	d.within = []string{"unshare", "-m", "sh", "-c", mount + ` && exec "$@"`, "sh"}
}

// inside runs a command where the gateway sees its disk.
func (d *disk) inside(command string) string {
	d.t.Helper()
	out, err := exec.Command("nsenter", "-t", strconv.Itoa(d.cmd.Process.Pid), "-m", "sh", "-c", command).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// breakBy runs the command that breaks the disk, and makes sure that it is mended
// before the gateway is killed, however the test ends: a process on a disk that
// hangs cannot be.
func (d *disk) breakBy(command, mend string) {
	d.t.Helper()
	if mend != "" {
		pid := strconv.Itoa(d.cmd.Process.Pid)
		d.t.Cleanup(func() { _ = exec.Command("nsenter", "-t", pid, "-m", "sh", "-c", mend).Run() })
	}
	d.inside(command)
}

// live is a client that hears its own QoS 0 messages.
func (d *disk) live() (heard func() uint64) {
	d.t.Helper()
	var n atomic.Uint64
	subscribed := make(chan struct{}, 1)
	run(d.t, (&sim.Subscriber{Addr: d.mqtt, ClientID: "live", Filter: "live", QoS: 0,
		Message: func(string, []byte) { n.Add(1) },
		Subscribed: func() {
			select {
			case subscribed <- struct{}{}:
			default:
			}
		},
	}).Run)
	<-subscribed
	return n.Load
}

// flows checks that live QoS 0 traffic goes on.
func (d *disk) flows(heard func() uint64) {
	d.t.Helper()
	before := heard()
	mosquittoPub(d.t, d.mqtt, "1\n2\n3\n", "-q", "0", "-t", "live", "-l")
	d.await("QoS 0 flows", func() bool { return heard() == before+3 })
}

// failed waits until the disk counts as failed and checks what is said about it.
func (d *disk) failed(most time.Duration) {
	d.t.Helper()
	await(d.t, most, "the disk counts as failed", func() bool {
		out, code := d.tool("status")
		return code == 1 && strings.Contains(out, "the disk queue takes no writes")
	})
	out, _ := d.tool("status")
	for _, want := range []string{"nothing durable is acknowledged", "at QoS 2 only what the receiver has confirmed already"} {
		if !strings.Contains(out, want) {
			d.t.Errorf("status says\n%s\nwithout %q", out, want)
		}
	}
}

// backlog lets n messages wait for a session at each QoS but 0, of which a session
// that is away gets none.
func (d *disk) backlog(n int) {
	d.t.Helper()
	mosquittoSub(d.t, d.mqtt, "-i", "reader", "-c", "-q", "2", "-t", "backlog/#", "-E")
	for qos := 1; qos <= 2; qos++ {
		mosquittoPub(d.t, d.mqtt, strings.Repeat("m\n", n), "-q", strconv.Itoa(qos), "-t", fmt.Sprint("backlog/", qos), "-l")
	}
}

func TestADiskThatFailsWhileTheGatewayRuns(t *testing.T) {
	for _, tt := range []struct {
		name, kind   string
		breaks       string // command that breaks it; {} is the mount point
		mends        string // "": nothing does but a restart
		within       time.Duration
		onlyFullTest bool
	}{
		{name: "somebody fills it", kind: "tmpfs", breaks: "dd if=/dev/zero of={}/fill bs=64k 2>/dev/null; test -e {}/fill", mends: "rm {}/fill", within: 30 * time.Second},
		{name: "it hangs", kind: "ext4", breaks: "fsfreeze -f {}", mends: "fsfreeze -u {}", within: 60 * time.Second, onlyFullTest: true},
		{name: "its file system gives up", kind: "ext4", breaks: "mount -o remount,abort {}", within: 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.onlyFullTest && !*full {
				t.Skip("a hang counts after 30 s: with -full")
			}
			d := newDisk(t, tt.kind, "")
			d.start()
			const n = 20
			d.backlog(n)
			source := d.tally.Add(sim.Source{Name: "durable", Kind: "QoS 1", Pad: 10_000})
			heard := d.live()
			// Messages for a session that is away: durable ones.
			mosquittoSub(t, d.mqtt, "-i", "away", "-c", "-q", "1", "-t", "durable", "-E")
			stop := make(chan struct{})
			done := make(chan struct{})
			p := &sim.Publisher{Addr: d.mqtt, Topic: "durable", QoS: 1, Version: packet.V311, Source: source, Window: 8, Rate: 100, Stop: stop}
			run(t, func(ctx context.Context) error { defer close(done); return p.Run(ctx) })
			d.await("it is acknowledged", func() bool { return source.Counts().Acked > 20 })

			d.breakBy(strings.ReplaceAll(tt.breaks, "{}", d.dir), strings.ReplaceAll(tt.mends, "{}", d.dir))
			d.failed(tt.within)
			acked := source.Counts().Acked
			d.flows(heard)
			// QoS 1 of the backlog comes; of QoS 2 nothing can be finished.
			out := mosquittoSub(t, d.mqtt, "-i", "reader", "-c", "-q", "2", "-t", "backlog/#", "-C", strconv.Itoa(n), "-F", "%t", "-W", "20")
			if strings.Count(out, "backlog/1\n") != n {
				t.Errorf("of the backlog came\n%s", out)
			}
			if now := source.Counts().Acked; now != acked {
				t.Errorf("%d were acknowledged on a disk that takes no writes", now-acked)
			}
			d.flows(heard)
			if tt.mends == "" {
				d.failedStart()
				close(stop)
				<-done
				d.stop()
				return
			}
			d.inside(strings.ReplaceAll(tt.mends, "{}", d.dir))
			d.await("it is acknowledged again", func() bool { return source.Counts().Acked > acked+20 })
			close(stop)
			<-done
			if out, code := d.tool("status"); code != 0 {
				t.Errorf("exit code %d when all is well again: %s", code, out)
			}
			written := int(source.Counts().Acked)
			out = mosquittoSub(t, d.mqtt, "-i", "away", "-c", "-q", "1", "-t", "durable", "-C", strconv.Itoa(written), "-F", "%t", "-W", "20")
			if strings.Count(out, "\n") < written {
				t.Errorf("%d of %d that were acknowledged arrived", strings.Count(out, "\n"), written)
			}
			d.stop()
		})
	}
}

// failedStart goes on where a file system has given up: a gateway that is started
// on it serves, and one that is started after it was mounted again has
// everything.
func (d *disk) failedStart() {
	t := d.t
	t.Helper()
	source := d.tally.Sources()[0]
	d.signal(syscall.SIGKILL)
	d.mounted(fmt.Sprintf("mount -o loop %s %s && mount -o remount,abort %s", d.image, d.dir, d.dir))
	d.start()
	d.failed(30 * time.Second)
	acked := source.Counts().Acked
	mosquittoPub(t, d.mqtt, "", "-q", "0", "-t", "live", "-m", "x")
	out := mosquittoSub(t, d.mqtt, "-i", "reader", "-c", "-q", "2", "-t", "backlog/#", "-C", "1", "-F", "%t", "-W", "20")
	if !strings.HasPrefix(out, "backlog/") {
		t.Errorf("the backlog is not served: %q", out)
	}
	if now := source.Counts().Acked; now != acked {
		t.Errorf("%d were acknowledged on a disk that takes no writes", now-acked)
	}
	d.signal(syscall.SIGKILL)
	d.mounted(fmt.Sprintf("mount -o loop %s %s", d.image, d.dir))
	d.start()
	d.await("it is acknowledged again", func() bool { return source.Counts().Acked > acked+20 })
	if out, code := d.tool("queue", "verify"); code != 0 && !strings.Contains(out, "at the end") {
		t.Errorf("verify: exit code %d: %s", code, out)
	}
	if out, _ := d.tool("queue", "ls", "-json"); !strings.Contains(out, `{"queue":"session/away"`) || strings.Contains(out, "lost") {
		t.Errorf("queues %s", out)
	}
}
