package config

import (
	"strings"
)

// admin checks [admin]: what others than this machine can reach needs users, and
// TLS, or their passwords would be read on the way.
func (k *checker) admin() {
	a := &k.c.Admin
	k.besideConfig("admin.tls", map[string]*string{"cert": &a.TLS.Cert, "key": &a.TLS.Key})
	switch {
	case a.TLS.Cert != "" && a.TLS.Key == "":
		k.fail("admin.tls.cert", "needs key, the file with the private key of the certificate")
	case a.TLS.Key != "" && a.TLS.Cert == "":
		k.fail("admin.tls.key", "needs cert, the file with the certificate that the key belongs to")
	}
	for i, name := range a.Users {
		if name == "" {
			k.fail(index("admin.users", i), "must be the name of a user in auth.users")
		}
	}
	if a.Address == "" {
		return
	}
	host, ok := k.hostPort("admin.address", a.Address, "")
	if !ok || loopback(host) {
		return
	}
	var needs []string
	if len(a.Users) == 0 {
		needs = append(needs, "admin.users (names made by packetboat passwd)")
	}
	if a.TLS.Cert == "" && a.TLS.Key == "" {
		needs = append(needs, "[admin.tls] with cert and key")
	}
	if len(needs) > 0 {
		k.fail("admin.address", "%q can be reached from other machines, which needs %s; or keep it on this machine, %q, and come by `ssh -L 8580:127.0.0.1:8580`",
			a.Address, strings.Join(needs, " and "), "127.0.0.1:8580")
	}
}

// Local reports whether only this machine can reach the address.
func (a *Admin) Local() bool {
	host, _, problem := splitHostPort(a.Address)
	return problem == "" && loopback(host)
}
