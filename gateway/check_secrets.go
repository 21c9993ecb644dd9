package gateway

import (
	"fmt"
	"os"
	"path/filepath"
)

// secrets checks that nobody else on the machine can read passwords and keys, or
// put others in their place. That of the users is looked at elsewhere.
func (c *checker) secrets() {
	for i := range c.cfg.Listeners {
		if t := c.cfg.Listeners[i].TLS; t != nil {
			c.keyFile(fmt.Sprintf("listener[%d].tls.key", i), t.Key)
		}
	}
	for i := range c.cfg.TCP {
		c.keyFile(fmt.Sprintf("tcp[%d].tls.key", i), c.cfg.TCP[i].TLS.Key)
	}
	for i := range c.cfg.Bridges {
		b, section := &c.cfg.Bridges[i], fmt.Sprintf("bridge[%d]", i)
		c.keyFile(section+".token_key_file", b.TokenKeyFile)
		c.keyFile(section+".tls.key", b.TLS.Key)
		c.password(section)
		c.inURL(section + ".proxy")
		for j := range b.Servers {
			c.inURL(fmt.Sprintf("%s.servers[%d]", section, j))
		}
	}
	c.keyFile("admin.tls.key", c.cfg.Admin.TLS.Key)
}

// keyFile checks the file that is the value of key.
func (c *checker) keyFile(key, path string) {
	if text := exposed(path); text != "" {
		c.fail(key, "%s", text)
	}
}

// password checks where the one of a section stands: in a file of its own, or in
// the configuration.
func (c *checker) password(section string) {
	key := section + ".password"
	path := c.cfg.SecretFile(key)
	text := exposed(path)
	switch {
	case text == "":
	case path == c.cfg.At(key).File:
		c.fail(key, "%s; or put the password into a file of its own, and name that in password_file", text)
	default:
		c.fail(key+"_file", "%s", text)
	}
}

// inURL checks the configuration file when there is a password in a URL.
func (c *checker) inURL(key string) {
	if text := exposed(c.cfg.SecretFile(key)); text != "" {
		c.fail(key, "has a secret, and %s; or take it from the environment: ${NAME}", text)
	}
}

// exposed says what lets everybody on the machine at a secret, and what to do
// about it; "" when nothing does, or when it cannot be known. A file behind a
// directory that others may not enter is safe whatever its mode.
func exposed(path string) string {
	if path == "" {
		return ""
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "" // who reads it says so
	}
	st, err := os.Stat(real)
	if err != nil || st.Mode().Perm()&0o006 == 0 {
		return ""
	}
	for dir := filepath.Dir(real); ; dir = filepath.Dir(dir) {
		if d, err := os.Stat(dir); err != nil || d.Mode().Perm()&0o001 == 0 {
			return ""
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	verb := "read"
	switch st.Mode().Perm() & 0o006 {
	case 0o006:
		verb = "read and change"
	case 0o002:
		verb = "change"
	}
	return fmt.Sprintf("everybody on this machine may %s %s (mode %04o): chmod o= %[2]s (and chgrp packetboat %[2]s, so that the service still may read it)", verb, real, st.Mode().Perm())
}
