package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"packetboat/broker"
	"packetboat/broker/packet"
	"packetboat/broker/users"
)

// logins decides who may connect, and as whom.
type logins struct {
	users *users.Users

	mu        sync.Mutex
	anonymous map[string]bool // by listener; of one that is not there it is false
	failed    failedLogins
}

// failedLogins are how many there were, and the newest.
type failedLogins struct {
	all    uint64
	at     time.Time
	name   string // "" when it gave none
	remote string
	code   byte
}

// text says why the newest has failed.
func (f failedLogins) text() string {
	switch f.code {
	case packet.NotAuthorized:
		return fmt.Sprintf("%s gave no user name, and its listener wants one (anonymous = false)", f.remote)
	case packet.ConnectionRateExceeded:
		return fmt.Sprintf("%s has failed too often and is refused for a minute (limits.failed_logins)", f.remote)
	}
	return fmt.Sprintf("user %q from %s: there is no such user, or the password is wrong", f.name, f.remote)
}

// failures are the failed logins by MQTT since the start. Any goroutine.
func (l *logins) failures() failedLogins {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

const maxLoginName = 64 // bytes that are remembered

// authenticate is broker.Options.Authenticate.
func (l *logins) authenticate(c *broker.Credentials) (user string, code byte) {
	user, code = l.judge(c)
	if code != packet.Success && code != packet.ServerBusy {
		l.mu.Lock()
		defer l.mu.Unlock()
		name := strings.ToValidUTF8(c.User[:min(len(c.User), maxLoginName)], "")
		l.failed = failedLogins{all: l.failed.all + 1, at: time.Now(), name: strings.Clone(name), remote: strings.Clone(c.Remote), code: code}
	}
	return user, code
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

// judge decides.
//
// A name that a certificate has verified is as good as a password. Who shows a
// name where none is needed has to be that user, or could speak for it; but while
// there are no users at all, a name says nothing there.
func (l *logins) judge(c *broker.Credentials) (user string, code byte) {
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
