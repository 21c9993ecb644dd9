package doctor

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"packetboat/adapters"
	"packetboat/bridge"
)

// listeners looks who has the ports that the gateway listens on.
func (d *Doctor) listeners() {
	for i := range d.cfg.Listeners {
		l := &d.cfg.Listeners[i]
		network, address := l.Network()
		switch network {
		case "systemd":
			d.found("listener "+l.Address, "port", bridge.Skipped, "systemd opens it", "")
		case "unix":
			d.socket(l.Address, address)
		default:
			d.port("listener "+l.Address, address, l.Implied)
		}
	}
	for i := range d.cfg.TCP {
		if c := &d.cfg.TCP[i]; c.Enabled && c.Listen != "" {
			d.port("adapter "+c.Name, c.Listen, false)
		}
	}
	if a := d.cfg.Admin.Address; a != "" {
		d.port("admin.address "+a, a, false)
	}
}

// socket looks at the directory of a unix socket.
func (d *Doctor) socket(configured, path string) {
	if _, err := os.Stat(filepath.Dir(path)); err != nil && d.running == nil {
		d.found("listener "+configured, "socket", bridge.Failed, err.Error(), "make the directory; below /run, RuntimeDirectory= in the systemd unit does")
		return
	}
	d.found("listener "+configured, "socket", bridge.Fine, path, "")
}

// port looks who listens on a port, and if nobody does, whether the gateway could.
func (d *Doctor) port(subject, address string, implied bool) {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		d.found(subject, "port", bridge.Failed, err.Error(), "correct the address")
		return
	}
	if inode, ok := d.listens(at.AddrPort()); ok {
		d.taken(subject, inode)
		return
	}
	ln, err := adapters.ListenTCP(context.Background(), address)
	switch {
	case err == nil:
		_ = ln.Close() // nobody has connected
		d.found(subject, "port", bridge.Fine, "free, and may be listened on", "")
	case implied:
		d.found(subject, "port", bridge.Skipped, err.Error(), "")
	default:
		d.found(subject, "port", bridge.Failed, err.Error(), adapters.ListenRemedy(address, err))
	}
}

// taken tells who has the socket of that inode.
func (d *Doctor) taken(subject, inode string) {
	pid, name := d.owner(inode)
	switch {
	case pid == 0 && d.running != nil:
		d.found(subject, "port", bridge.Fine, "listened on, as it seems by the gateway that runs (root would see by whom)", "")
	case pid == 0:
		d.found(subject, "port", bridge.Failed, "another program listens there; which, root may see", "run this as root, then stop that program, or set another address")
	case d.isGateway(pid):
		d.process = pid
		d.found(subject, "port", bridge.Fine, fmt.Sprintf("listened on by the gateway (process %d)", pid), "")
	default:
		remedy := "stop it, or set another address"
		if name == "mosquitto" {
			remedy = "systemctl disable --now mosquitto, or set another address for one of the two"
		}
		d.found(subject, "port", bridge.Failed, fmt.Sprintf("%s (process %d) listens there", name, pid), remedy)
	}
}

// isGateway reports whether a process is the gateway that answers: it runs this
// program, or one that was replaced by it.
func (d *Doctor) isGateway(pid int) bool {
	if d.running == nil {
		return false
	}
	exe, err := os.Readlink(d.path(fmt.Sprintf("proc/%d/exe", pid)))
	own, ownErr := os.Executable()
	return err != nil || ownErr != nil || filepath.Base(strings.TrimSuffix(exe, " (deleted)")) == filepath.Base(own)
}

// listens finds a socket that listens where to would, by its inode.
func (d *Doctor) listens(to netip.AddrPort) (inode string, ok bool) {
	for _, table := range []string{"proc/self/net/tcp", "proc/self/net/tcp6"} {
		f, err := os.Open(d.path(table))
		if err != nil {
			continue
		}
		defer f.Close()
		for sc := bufio.NewScanner(f); sc.Scan(); {
			// sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
			w := strings.Fields(sc.Text())
			if len(w) < 10 || w[3] != "0A" {
				continue
			}
			if at, err := socketAddress(w[1]); err == nil && collide(at, to) {
				return w[9], true
			}
		}
	}
	return "", false
}

// collide reports whether two cannot be listened on at once.
func collide(a, b netip.AddrPort) bool {
	if a.Port() != b.Port() {
		return false
	}
	x, y := a.Addr(), b.Addr()
	if !x.IsValid() || !y.IsValid() || x == netip.IPv6Unspecified() || y == netip.IPv6Unspecified() {
		return true // [::] takes IPv4 along, unless it was told not to
	}
	x, y = x.Unmap(), y.Unmap()
	return x == y || x.Is4() == y.Is4() && (x.IsUnspecified() || y.IsUnspecified())
}

// socketAddress reads an address of /proc/net/tcp: words of 32 bits in the
// machine's order, hexadecimal.
func socketAddress(text string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	n, portErr := strconv.ParseUint(port, 16, 16)
	if err := errors.Join(err, portErr); err != nil {
		return netip.AddrPort{}, err
	}
	if len(raw)%4 != 0 {
		return netip.AddrPort{}, errors.New("not an address")
	}
	if littleEndian {
		for i := 0; i < len(raw); i += 4 {
			raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
		}
	}
	a, ok := netip.AddrFromSlice(raw)
	if !ok {
		return netip.AddrPort{}, errors.New("not an address")
	}
	return netip.AddrPortFrom(a, uint16(n)), nil
}

// owner finds the process that has a socket open, as far as we may look: those of
// the same user, all for root.
func (d *Doctor) owner(inode string) (pid int, name string) {
	want := "socket:[" + inode + "]"
	processes, err := filepath.Glob(d.path("proc/[0-9]*"))
	if err != nil {
		return 0, ""
	}
	for _, p := range processes {
		fds, err := os.ReadDir(filepath.Join(p, "fd"))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if to, err := os.Readlink(filepath.Join(p, "fd", fd.Name())); err == nil && to == want {
				pid, _ = strconv.Atoi(filepath.Base(p))
				return pid, d.text(fmt.Sprintf("proc/%d/comm", pid))
			}
		}
	}
	return 0, ""
}
