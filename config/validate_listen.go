package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// Network gives what net.Listen takes: "tcp" and host:port, or "unix" and a path;
// "systemd" and the name of a socket that systemd holds is not for net.Listen.
func (l *Listener) Network() (network, address string) {
	for _, n := range []string{"unix", "systemd"} {
		if rest, ok := strings.CutPrefix(l.Address, n+":"); ok {
			return n, rest
		}
	}
	return "tcp", l.Address
}

// A listen is an address that a section takes.
type listen struct {
	key, network, host, port string
}

func (k *checker) listeners() {
	if len(k.c.Listeners) == 0 {
		for _, address := range []string{"127.0.0.1:1883", "[::1]:1883"} {
			k.c.Listeners = append(k.c.Listeners, Listener{
				Address: address, Transport: "tcp", Anonymous: true, MaxConnections: 10000, Implied: true,
			})
			host, port, _ := net.SplitHostPort(address)
			k.take(listen{"the broker, which listens on loopback when there is no [[listener]],", "tcp", host, port})
		}
		return
	}
	for i := range k.c.Listeners {
		path := index("listener", i)
		l := &k.c.Listeners[i]
		l.Limited = k.c.isSet(path + ".max_connections")
		network, address := l.Network()
		local := false
		switch {
		case address == "" && l.Address == "": // reported
			continue
		case network == "systemd":
			// Whether the socket is a local one is not known here.
			if msg := fdNameProblem(address); msg != "" {
				k.fail(path+".address", "%s", msg)
				continue
			}
			k.take(listen{path + ".address", network, address, ""})
		case network == "unix":
			local = true
			if address == "" || len(address) > 107 { // sockaddr_un
				k.fail(path+".address", "must have a path of 1 to 107 bytes after unix:")
				continue
			}
			k.take(listen{path + ".address", network, address, ""})
		default:
			host, ok := k.hostPort(path+".address", address, "unix:PATH or systemd:NAME")
			if !ok {
				continue
			}
			local = loopback(host)
		}
		if !k.c.isSet(path + ".anonymous") {
			l.Anonymous = local
		}
		k.listenerTLS(path+".tls", l.TLS)
	}
}

// listenerTLS checks what can be known without the files, whose paths are
// relative to the configuration file.
func (k *checker) listenerTLS(path string, t *ListenerTLS) {
	if t == nil {
		return
	}
	k.besideConfig(path, map[string]*string{"cert": &t.Cert, "key": &t.Key, "client_ca": &t.ClientCA})
	if t.ClientCA == "" && t.ClientCert != "optional" {
		k.fail(path+".client_cert", needsClientCA)
	}
}

const needsClientCA = "needs client_ca, the file with the authority that client certificates are verified against"

// besideConfig resolves several.
func (k *checker) besideConfig(path string, files map[string]*string) {
	for key, file := range files {
		k.resolve(path+"."+key, file)
	}
}

// resolve makes the path of a file absolute, which is relative to the configuration
// file that has the key.
func (k *checker) resolve(key string, file *string) {
	if *file != "" && !filepath.IsAbs(*file) {
		*file = filepath.Join(filepath.Dir(k.c.At(key).File), *file)
	}
}

// fdNameProblem says what is wrong with the name of a socket that systemd
// holds, as FileDescriptorName= has it.
func fdNameProblem(name string) string {
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }
	if name == "" || len(name) > 255 || strings.ContainsFunc(name, bad) {
		return "must have a name after systemd:, of 1 to 255 ASCII characters without spaces and colons, as FileDescriptorName= of the socket unit says"
	}
	return ""
}

// hostPort checks an address to listen on and takes it. or names another form
// that it may have, "" is none.
func (k *checker) hostPort(key, address, or string) (host string, ok bool) {
	host, port, msg := splitHostPort(address)
	if msg != "" {
		if or != "" && strings.HasPrefix(msg, "is not") {
			msg += ", or " + or
		}
		k.fail(key, "%q %s", address, msg)
		return "", false
	}
	if port != "0" {
		k.take(listen{key, "tcp", host, port})
	}
	return host, true
}

// splitHostPort gives the parts of host:port, or what is wrong with it.
func splitHostPort(address string) (host, port, problem string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.ContainsAny(host, " /") {
		return "", "", "is not host:port, such as 127.0.0.1:1883 or [::1]:1883"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "", "", "must end in a port number from 0 to 65535"
	}
	return host, port, ""
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// take notes an address and reports when another section has it.
func (k *checker) take(l listen) {
	for _, other := range k.listens {
		if !l.overlaps(other) {
			continue
		}
		at := ""
		if k.c.isSet(other.key) {
			at = " (at " + k.c.At(other.key).String() + ")"
		}
		k.fail(l.key, "is taken by %s already%s", strings.TrimSuffix(strings.TrimSuffix(other.key, ".address"), ".listen"), at)
		return
	}
	k.listens = append(k.listens, l)
}

// overlaps reports whether the two cannot both listen. The addresses of all
// interfaces take the port on each of their family; "" and [::] are both families.
func (l listen) overlaps(o listen) bool {
	if l.network != o.network || l.port != o.port {
		return false
	}
	a, b := canonical(l.host), canonical(o.host)
	if a == b || l.network != "tcp" {
		return a == b
	}
	covers := func(all, one string) bool {
		return all == "::" || all == "0.0.0.0" && (!strings.Contains(one, ":"))
	}
	return covers(a, b) || covers(b, a)
}

func canonical(host string) string {
	switch host {
	case "":
		return "::"
	case "localhost":
		return "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String()
	}
	return host
}
