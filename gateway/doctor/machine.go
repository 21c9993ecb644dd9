package doctor

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/bridge"
	"packetboat/gateway"
)

// path is a file below the root.
func (d *Doctor) path(name string) string { return filepath.Join("/", d.opt.Root, name) }

// text reads a small file of /proc or /sys; "" when it cannot be read.
func (d *Doctor) text(name string) string {
	b, err := os.ReadFile(d.path(name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// openFiles compares how many files may be open with how many connections may.
func (d *Doctor) openFiles() {
	need := gateway.FilesNeeded(d.cfg)
	limit, whose := uint64(0), "for the gateway that runs"
	if d.process != 0 {
		limit = filesLimit(d.text(fmt.Sprintf("proc/%d/limits", d.process)))
	}
	if limit == 0 {
		var r unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
			return
		}
		limit, whose = r.Max, "here; the service may have another limit (systemctl show -p LimitNOFILE packetboat)"
	}
	if limit < need {
		d.found("machine", "open files", bridge.Doubtful, fmt.Sprintf("%d may be open %s, and the connections that the configuration allows need %d", limit, whose, need),
			fmt.Sprintf("set LimitNOFILE=%d in the systemd unit, or lower max_connections", need))
		return
	}
	d.found("machine", "open files", bridge.Fine, fmt.Sprintf("%d may be open %s; the configuration needs %d", limit, whose, need), "")
}

// filesLimit takes the limit that counts, the hard one, out of /proc/PID/limits:
// the gateway raises the other.
func filesLimit(limits string) uint64 {
	for sc := bufio.NewScanner(strings.NewReader(limits)); sc.Scan(); {
		if rest, ok := strings.CutPrefix(sc.Text(), "Max open files"); ok {
			if w := strings.Fields(rest); len(w) >= 2 {
				n, _ := strconv.ParseUint(w[1], 10, 64) // "unlimited" is 0: not known
				return n
			}
		}
	}
	return 0
}

// firstYear is before any year in which this program could run.
const firstYear = 2025

// driftMost is how far the battery clock may be from the system's.
const driftMost = time.Minute

// clock looks at the machine's.
func (d *Doctor) clock() {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	synced := err == nil && state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0
	f := judgeClock(time.Now(), synced, d.text("sys/class/rtc/rtc0/since_epoch"))
	f.Subject, f.Check = "machine", "clock"
	d.tell(f)
}

// judgeClock makes a finding of the time, whether the kernel was told that it is
// right, and what the battery clock says ("": there is none).
func judgeClock(now time.Time, synced bool, rtc string) Finding {
	f := Finding{Outcome: bridge.Fine, Text: now.UTC().Format(time.RFC3339)}
	battery := ", no clock with a battery: after a power cut it is wrong until the network has told it"
	drift := time.Duration(0)
	if s, err := strconv.ParseInt(rtc, 10, 64); err == nil {
		drift = now.Sub(time.Unix(s, 0)).Round(time.Second)
		battery = fmt.Sprintf(", the clock with a battery differs by %v", drift)
	}
	switch {
	case now.Year() < firstYear:
		f.Outcome, f.Text = bridge.Failed, "it is "+f.Text+" here, which cannot be"+battery
		f.Remedy = "set it (timedatectl set-time), and have the network keep it (timedatectl set-ntp true): until then no certificate is valid"
	case !synced:
		f.Outcome, f.Text = bridge.Doubtful, f.Text+", not synchronised"+battery
		f.Remedy = "timedatectl shows who should set it (systemd-timesyncd, chrony) and whether that reaches a server; until then receive times are marked as not trusted"
	case drift.Abs() > driftMost:
		f.Outcome, f.Text = bridge.Doubtful, f.Text+", synchronised"+battery
		f.Remedy = "hwclock --systohc sets it; if it is wrong again after a power cut, its battery is empty"
	default:
		f.Text += ", synchronised" + battery
	}
	return f
}
