package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"packetboat/broker/users"
)

// users checks that those can log in who have to, and that nobody else on the
// machine may read how.
func (c *checker) users() {
	path := c.cfg.Auth.Users
	st, err := os.Stat(path)
	if err == nil {
		if text := users.Exposed(path, st); text != "" {
			c.fail("auth.users", "%s", text)
		}
	}
	none := c.nobody(path)
	if none == "" {
		return
	}
	for i := range c.cfg.Listeners {
		l := &c.cfg.Listeners[i]
		certs := "client certificates that name the users ([listener.tls] with client_cert = \"username\")"
		if l.TLS != nil && l.TLS.ClientCA != "" {
			if l.TLS.ClientCert == "username" {
				continue
			}
			certs = `client_cert = "username"`
		}
		if !l.Anonymous {
			c.fail(fmt.Sprintf("listener[%d].anonymous", i),
				"false lets nobody connect: %s. Make a user (packetboat passwd NAME), or have %s; set anonymous = true only if everybody who reaches %s may connect", none, certs, l.Address)
		}
	}
}

// nobody says why there are no users; "" when there are, or when it cannot be
// known here.
func (c *checker) nobody(path string) string {
	if path == "" {
		return "auth.users is empty"
	}
	list, err := users.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no users file " + path
	case err == nil && len(list.Names()) == 0:
		return "there are no users in " + path
	}
	return ""
}

// usersFile reports what is wrong within the file.
func (c *checker) usersFile() {
	path := c.cfg.Auth.Users
	if path == "" {
		return
	}
	list, err := users.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, fs.ErrPermission):
		c.fail("auth.users", "%v (%s)", err, permissionRemedy(path))
	case err != nil:
		c.fail("auth.users", "%v", err)
	default:
		for _, p := range list.Problems {
			c.fail("auth.users", "%s: %v", path, p)
		}
	}
}
