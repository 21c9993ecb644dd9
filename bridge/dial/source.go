package dial

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// source is where connections come from: the zero value leaves it to the
// system.
type source struct {
	address netip.Addr
	device  string
}

// parseSource takes an IP address or the name of a network interface, which
// need not be there yet.
func parseSource(s string) (source, error) {
	if s == "" {
		return source{}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return source{address: a.Unmap()}, nil
	}
	// What the kernel takes for a name, less what somebody meant as an address.
	if len(s) >= unix.IFNAMSIZ || s == "." || s == ".." || strings.ContainsAny(s, "/: \t\r\n") || strings.Trim(s, "0123456789.") == "" {
		return source{}, errors.New("is neither an IP address of this machine, such as 192.168.1.5, nor a network interface, such as wwan0")
	}
	return source{device: s}, nil
}

func (s source) dialer() *net.Dialer {
	d := new(net.Dialer)
	if s.address.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.address, 0))
	}
	if s.device != "" {
		d.Control = s.bind
	}
	return d
}

// bind ties a socket to the interface, before it connects. Before Linux 5.7
// that takes the capability CAP_NET_RAW; without it the socket gets an address
// of the interface, and the way out is what the routes say.
func (s source) bind(network, remote string, raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) {
		if err = unix.BindToDevice(int(fd), s.device); err == unix.EPERM {
			err = s.bindAddress(int(fd), network, remote)
		}
	}); e != nil {
		return e
	}
	if err != nil {
		return fmt.Errorf("bind to interface %s: %w", s.device, err)
	}
	return nil
}

// bindAddress gives the socket an address of the interface which fits the
// remote one.
func (s source) bindAddress(fd int, network, remote string) error {
	ifi, err := net.InterfaceByName(s.device)
	if err != nil {
		return unix.ENODEV
	}
	all, err := ifi.Addrs()
	if err != nil {
		return err
	}
	to, err := netip.ParseAddrPort(remote)
	if err != nil {
		return err
	}
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		own := p.Addr()
		switch {
		case own.Is4() != to.Addr().Unmap().Is4() || own.IsLinkLocalUnicast() != to.Addr().IsLinkLocalUnicast():
		case own.Is4():
			return unix.Bind(fd, &unix.SockaddrInet4{Addr: own.As4()})
		default:
			sa := &unix.SockaddrInet6{Addr: own.As16()}
			if own.IsLinkLocalUnicast() {
				sa.ZoneId = uint32(ifi.Index)
			}
			return unix.Bind(fd, sa)
		}
	}
	return fmt.Errorf("it has no address for a %s connection to %s: %w", network, to.Addr(), unix.EADDRNOTAVAIL)
}
