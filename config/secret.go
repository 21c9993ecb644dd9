package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/url"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// A Secret is a password or key. It shows itself only when converted to a
// string; printed, logged or marshalled it is a few stars. Beside a key of this
// type there is one with "_file" after its name: a file to read it from, relative
// to the directory of the configuration file that says so; one line end at its
// end is not part of the secret.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText hides the secret from JSON and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the secret from log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// HideSecrets gives a URL with stars for the password in it, for a user without
// one, which may be a token, and for its query. Any other text stays as it is.
func HideSecrets(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || strings.ContainsAny(scheme, " \t\"'") {
		return s
	}
	u, err := url.Parse(s)
	if err != nil {
		return scheme + "://***" // where a password would be cannot be known
	}
	if i := strings.IndexByte(rest, '?'); i >= 0 {
		rest = rest[:i] + "?***"
	}
	if u.User == nil {
		return scheme + "://" + rest
	}
	user := ""
	if _, both := u.User.Password(); both {
		user = u.User.Username() + ":"
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	return scheme + "://" + user + "***" + rest[strings.LastIndexByte(rest[:end], '@'):]
}

// SecretFile gives the file that a secret can be read in: for the key path of a
// [Secret], the file that KEY_file names, else the configuration file that has
// it; for that of a URL, the configuration file when a password is in it. "" when
// there is none, or when it comes from the environment.
func (c *Config) SecretFile(key string) string { return c.secrets[key] }

// secretFile reads the secret that KEY_file names.
func (d *decoder) secretFile(table, n *node, f field, path string) {
	name, ok := n.val.(string)
	switch {
	case n.bad:
		return
	case !ok:
		d.report(n.pos, path, "must be a string, not "+n.what())
		return
	case table.kids[f.name] != nil:
		d.report(n.key, path, "is set beside "+f.name+" (at "+table.kids[f.name].key.String()+"); give one of them")
		return
	case name == "":
		return
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(n.pos.File), name)
	}
	data, err := readLimited(name, 64<<10)
	if err != nil {
		d.report(n.pos, path, unreadable(name, err))
		return
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if secret == "" {
		d.report(n.pos, path, name+" is empty")
		return
	}
	f.v.SetString(secret)
	d.secrets[strings.TrimSuffix(path, "_file")] = name
}

// unreadable says what to do about a file with a secret: an operator who is not
// root meets it at each command, the service when the file was made by root.
func unreadable(name string, err error) string {
	text := "cannot read " + name + ": " + reason(err)
	if errors.Is(err, fs.ErrPermission) {
		text += ": use sudo; if it is the service that may not, chgrp packetboat " + name + "; chmod 640 " + name
	}
	return text
}

// secret notes where a scalar is written that nobody else should read.
func (d *decoder) secret(n *node, v reflect.Value, path string) {
	if !n.env && v.Kind() == reflect.String && v.String() != "" && (v.Type() == secretType || HideSecrets(v.String()) != v.String()) {
		d.secrets[path] = n.pos.File
	}
}
