package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"packetboat/bridge"
	"packetboat/gateway"
	"packetboat/gateway/quantity"
)

const dataDir = "data directory"

// dataDir looks at the directory of the queue and the disk below it.
func (d *Doctor) dataDir(ctx context.Context) {
	dir, err := filepath.Abs(d.cfg.Gateway.DataDir)
	if err == nil {
		_, err = os.Stat(dir)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.found(dataDir, "there", bridge.Doubtful, dir+" does not exist yet", "the gateway makes it, if its user may write above; StateDirectory= in the systemd unit does")
		return
	case err != nil:
		d.found(dataDir, "there", bridge.Failed, err.Error(), "let the gateway's user enter the directories above")
		return
	}
	m := d.mountOf(dir)
	writable := d.writable(dir, m)
	d.mounted(m)
	d.space(dir)
	if writable {
		d.syncs(ctx, dir, m)
	}
}

func (d *Doctor) writable(dir string, m mount) bool {
	err := unix.Access(dir, unix.W_OK|unix.X_OK)
	switch {
	case err == nil:
		d.found(dataDir, "writable", bridge.Fine, dir, "")
	case errors.Is(err, unix.EROFS):
		d.found(dataDir, "writable", bridge.Failed, dir+" is on a file system that is mounted read-only",
			"dmesg says why: after an error the kernel makes ext4 so; check the card (fsck), then mount -o remount,rw "+m.point)
	default:
		d.found(dataDir, "writable", bridge.Failed, fmt.Sprintf("%s: %v", dir, err), "it must belong to the user that runs the gateway (chown -R packetboat "+dir+"); run this as that user: sudo -u packetboat packetboat doctor")
	}
	return err == nil
}

// mount is a file system where it is mounted.
type mount struct {
	point, kind, source string
	options             []string // of the mount, and of the file system
	device              string   // MAJOR:MINOR
}

// mountOf finds the mount that dir is on.
func (d *Doctor) mountOf(dir string) (best mount) {
	f, err := os.Open(d.path("proc/self/mountinfo"))
	if err != nil {
		return best
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if m, ok := parseMount(sc.Text()); ok && within(dir, m.point) && len(m.point) >= len(best.point) {
			best = m // a later one at the same place covers the earlier
		}
	}
	return best
}

// parseMount reads a line of /proc/PID/mountinfo.
func parseMount(line string) (m mount, ok bool) {
	// 36 35 98:0 /root /point opts tag… - type source superopts
	own, rest, found := strings.Cut(line, " - ")
	a, b := strings.Fields(own), strings.Fields(rest)
	if !found || len(a) < 6 || len(b) < 3 {
		return m, false
	}
	space := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`)
	return mount{
		point: space.Replace(a[4]), kind: b[0], source: space.Replace(b[1]), device: a[2],
		options: append(strings.Split(a[5], ","), strings.Split(b[2], ",")...),
	}, true
}

func within(dir, point string) bool {
	return point == "/" || dir == point || strings.HasPrefix(dir, point+"/")
}

// volatile are file systems that do not outlive a restart.
var volatile = []string{"tmpfs", "ramfs"}

func (d *Doctor) mounted(m mount) {
	text := fmt.Sprintf("%s (%s) on %s", m.source, m.kind, m.point)
	own := strings.Contains(strings.Join(m.options, ","), "barrier")
	switch {
	case m.point == "":
		d.found(dataDir, "mount", bridge.Skipped, "/proc/self/mountinfo does not tell", "")
	case d.cfg.Gateway.RequireMount && !within(m.point, d.cfg.Gateway.DataDir):
		d.found(dataDir, "mount", bridge.Failed, "no file system is mounted there, and gateway.require_mount is set: it is on "+text, "mount the disk, or set require_mount = false")
	case slices.Contains(volatile, m.kind):
		d.found(dataDir, "mount", bridge.Failed, text+": this is memory, and nothing of it is left after a restart", "set gateway.data_dir to a directory on a disk")
	case m.kind == "overlay":
		d.found(dataDir, "mount", bridge.Doubtful, text+": a layer of a container, which goes with it", "mount a volume there")
	case own && (slices.Contains(m.options, "nobarrier") || slices.Contains(m.options, "barrier=0")):
		d.found(dataDir, "mount", bridge.Failed, text+" with nobarrier: a power cut may lose what was synced, and the file system with it", "take nobarrier out of /etc/fstab")
	case slices.Contains([]string{"nfs", "nfs4", "cifs", "9p", "fuse.sshfs"}, m.kind):
		d.found(dataDir, "mount", bridge.Doubtful, text+": a file system over the network, which goes when the network does", "keep the queue on a disk of this machine")
	case m.kind == "vfat" || m.kind == "exfat":
		d.found(dataDir, "mount", bridge.Doubtful, text+": it has no journal, and a power cut may damage it", "use ext4")
	default:
		d.found(dataDir, "mount", bridge.Fine, text, "")
	}
}

// fewInodes is how many files there should be room for: a queue has some hundred.
const fewInodes = 1000

func (d *Doctor) space(dir string) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		d.found(dataDir, "space", bridge.Failed, err.Error(), "")
		return
	}
	free, minFree, most := int64(st.Bavail)*int64(st.Bsize), gateway.MinFree(d.cfg), int64(d.cfg.Queue.MaxSize)
	used := filesIn(dir)
	text := fmt.Sprintf("%s free; the queue has %s of %s (queue.max_size), and %s are kept free (queue.min_free)", quantity.Bytes(free), quantity.Bytes(used), quantity.Bytes(most), quantity.Bytes(minFree))
	const cure = "free space (du -x, journalctl --vacuum-size), or lower queue.max_size"
	switch {
	case free < minFree:
		d.found(dataDir, "space", bridge.Failed, text+": the queue takes nothing more", cure)
	case free-minFree < most-used:
		d.found(dataDir, "space", bridge.Doubtful, fmt.Sprintf("%s: max_size is out of reach, it ends after %s more", text, quantity.Bytes(free-minFree)), cure)
	default:
		d.found(dataDir, "space", bridge.Fine, text, "")
	}
	switch {
	case st.Files == 0: // a file system without a fixed number of them
	case st.Ffree < fewInodes:
		d.found(dataDir, "inodes", bridge.Failed, fmt.Sprintf("%d of %d are free: no more files can be made, whatever the space", st.Ffree, st.Files), "remove small files that nobody needs: find / -xdev | cut -d/ -f2-3 | sort | uniq -c")
	default:
		d.found(dataDir, "inodes", bridge.Fine, fmt.Sprintf("%d of %d are free", st.Ffree, st.Files), "")
	}
}

// filesIn is the size of the files in dir.
func filesIn(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil // what cannot be read is not counted
		}
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
