package gateway

import (
	"net"
	"net/netip"
	"sync"

	"packetboat/broker"
	"packetboat/broker/packet"
	"packetboat/broker/users"
)

// logins decides who may connect, and as whom.
type logins struct {
	users *users.Users

	mu        sync.Mutex
	anonymous map[string]bool // by listener; of one that is not there it is false
}

// openLogins reads the users.
func (g *Gateway) openLogins() {
	g.logins.anonymous = make(map[string]bool)
	g.logins.users = users.New(users.Options{
		Path: g.cfg.Auth.Users, Log: g.log, FailedLogins: g.cfg.Limits.FailedLogins, Changed: g.endUsers,
		Helper: g.opt.Helper,
	})
}

// endUsers disconnects the clients of users that are gone.
func (g *Gateway) endUsers() {
	n := g.broker.KickUsers(func(name string) bool { return !g.logins.users.Has(name) })
	if n > 0 {
		g.log.Info("clients were disconnected, as their users are gone", "clients", n)
	}
}

// let says whether clients of a listener need a name.
func (l *logins) let(listener net.Addr, anonymous bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.anonymous[listener.Network()+" "+listener.String()] = anonymous
}

func (l *logins) lets(listener net.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.anonymous[listener.Network()+" "+listener.String()]
}

// authenticate is broker.Options.Authenticate.
//
// A name that a certificate has verified is as good as a password. Who shows a
// name where none is needed has to be that user, or could speak for it; but while
// there are no users at all, a name says nothing there.
func (l *logins) authenticate(c *broker.Credentials) (user string, code byte) {
	if c.Verified {
		return c.User, packet.Success
	}
	anonymous := l.lets(c.Listener)
	switch {
	case !c.HasUser && !anonymous:
		return "", packet.NotAuthorized
	case !c.HasUser, anonymous && l.users.None():
		return "", packet.Success
	}
	switch l.users.Login(c.User, c.Password, addressOf(c.Remote), c.Gone) {
	case users.Right:
		return c.User, packet.Success
	case users.Busy:
		return "", packet.ServerBusy
	case users.Refused:
		return "", packet.ConnectionRateExceeded
	}
	return "", packet.BadUserNameOrPassword
}

// addressOf is the address of a peer, the zero one of a unix socket's.
func addressOf(remote string) netip.Addr {
	p, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}
