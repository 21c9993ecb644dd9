package gateway

import (
	"errors"
	"fmt"
	"slices"

	"packetboat/broker/users"
)

// admin checks that somebody can log in where operators have to.
func (c *checker) admin() {
	a := &c.cfg.Admin
	if a.Address == "" || len(a.Users) == 0 {
		return
	}
	if none := c.nobody(c.cfg.Auth.Users); none != "" {
		c.fail("admin.users", "lets nobody log in: %s. Make the user (packetboat passwd NAME)", none)
		return
	}
	if missing := c.strangers(); len(missing) == len(a.Users) {
		c.fail("admin.users", "lets nobody log in: none of them is in %s. Make the user (packetboat passwd %s)", c.cfg.Auth.Users, a.Users[0])
	}
}

// adminFiles checks what [admin] needs of the disk.
func (c *checker) adminFiles() {
	a := &c.cfg.Admin
	if a.Address == "" {
		return
	}
	if missing := c.strangers(); len(missing) < len(a.Users) { // else admin says it
		for _, i := range missing {
			c.fail(fmt.Sprintf("admin.users[%d]", i), "%q is not in %s: make the user (packetboat passwd %s), or remove the name", a.Users[i], c.cfg.Auth.Users, a.Users[i])
		}
	}
	if a.TLS.Cert == "" {
		return
	}
	if _, err := readCerts(adminTLS(&a.TLS)); err != nil {
		var e *tlsError
		errors.As(err, &e)
		c.fail("admin.tls."+e.key, "%v (%s)", e.err, e.remedy)
	}
}

// strangers are those of admin.users that are no users; none, when the file cannot
// be read.
func (c *checker) strangers() (missing []int) {
	list, err := users.Read(c.cfg.Auth.Users)
	if err != nil {
		return nil
	}
	names := list.Names()
	for i, name := range c.cfg.Admin.Users {
		if !slices.Contains(names, name) {
			missing = append(missing, i)
		}
	}
	return missing
}
