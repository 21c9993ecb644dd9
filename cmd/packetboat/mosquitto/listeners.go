package mosquitto

import (
	"fmt"
	"net"
	"strings"
)

// write makes the configuration of what was sorted.
func (im *importer) write(options []option) {
	d := &im.doc
	d.b.WriteString("# From " + im.main + ", by packetboat import-mosquitto.\n")
	for _, part := range []struct {
		header   string
		settings []setting
	}{{"[log]", im.settings.log}, {"[queue]", im.settings.queue}, {"[broker]", im.settings.broker}} {
		if len(part.settings) == 0 {
			continue
		}
		d.section(part.header)
		for _, s := range unique(part.settings) {
			d.set(s.key, s.value)
		}
	}
	open := im.writeListeners()
	im.writeAccess(open)
	im.writeBridges()
	im.result.TOML = []byte(d.b.String())
}

// unique leaves the last value of a key, as Mosquitto does.
func unique(all []setting) []setting {
	var list []setting
	for i, s := range all {
		last := true
		for _, later := range all[i+1:] {
			last = last && later.key != s.key
		}
		if last {
			list = append(list, s)
		}
	}
	return list
}

// door is a listener as it is written.
type door struct {
	*listener
	security  *security
	anonymous bool
	where     string // for people
}

// doors completes the listeners with what Mosquitto adds: without any it listens on
// loopback, and lets everybody in there.
func (im *importer) doors() []*door {
	var all []*door
	if im.defaults.portLine.set() {
		im.defaults.at = im.defaults.portLine
		all = append(all, &door{listener: im.defaults})
	} else if len(im.listeners) == 0 {
		for _, host := range []string{"127.0.0.1", "::1"} {
			l := *im.defaults
			l.host = host
			all = append(all, &door{listener: &l, anonymous: true})
		}
	}
	for _, l := range im.listeners {
		all = append(all, &door{listener: l})
	}
	for _, d := range all {
		d.security = im.global
		if d.own != nil {
			d.security = d.own
		}
		if d.security.anonymous.set() {
			d.anonymous, _ = d.security.anonymous.bool()
		}
		d.where = d.address(im)
	}
	return all
}

// address is where a listener listens.
func (l *listener) address(im *importer) string {
	if l.unix != "" {
		return "unix:" + l.unix
	}
	port, host := l.port, strings.Trim(l.host, "[]")
	if port == "" {
		port = "1883"
	}
	if host == "" {
		switch l.domain.value {
		case "ipv4":
			host = "0.0.0.0"
		case "ipv6":
			host = "::"
			im.changed(l.domain, "[::] takes IPv4 as well where the system lets it")
		}
	}
	return net.JoinHostPort(host, port)
}

// writeListeners writes them, and returns those that let somebody in.
func (im *importer) writeListeners() (open []*door) {
	doors := im.doors()
	if im.usual(doors) {
		return doors // it is the default here, too
	}
	for _, d := range doors {
		im.guard(d)
		if len(d.blocked) == 0 {
			open = append(open, d)
		}
		im.writeListener(d)
	}
	if len(open) == 0 {
		im.result.Notes = append(im.result.Notes, Note{im.main, 0, "listener", Changed,
			"none is left, so the gateway listens on 127.0.0.1:1883 and [::1]:1883 only, and lets everybody in there"})
	}
	return open
}

// usual: the two that Mosquitto and a gateway have when nothing is said.
func (im *importer) usual(doors []*door) bool {
	l := im.defaults
	return len(im.listeners) == 0 && !l.portLine.set() && doors[0].anonymous && !l.websocket && !l.cert.set() &&
		l.max < 0 && len(l.blocked) == 0
}

// guard finds what would let in more than before, or nobody.
func (im *importer) guard(d *door) {
	if d.cert.set() != d.key.set() {
		one := d.cert
		if d.key.set() {
			one = d.key
		}
		d.block(one, "certfile and keyfile go together; without both there is no TLS")
	}
	secure := d.cert.set() && d.key.set()
	names := secure && d.require && (d.identity || d.subject)
	if d.require && !secure {
		d.block(d.requireLine, "there is no TLS to show certificates in: certfile and keyfile are missing")
	}
	if d.require && secure && !d.cafile.set() && !d.capath.set() {
		d.block(d.requireLine, "there is neither cafile nor capath to verify certificates by")
	}
	if names && !d.identity {
		d.block(d.subjectAt, "the user name would be the certificate's common name (CN), not its whole subject. Give users in [[auth.rule]] these names, and take the # off")
	}
	if d.crl.set() && d.require {
		d.block(d.crl, "there are no revocation lists: clients whose certificates it revokes would be let in. Give those that may connect an authority of their own, or rules in [[auth.rule]]")
	}
	s := d.security
	if s.plugin.set() && d.anonymous && !names {
		d.anonymous = false
		im.changed(s.plugin, "at the listener "+d.where+" clients must show a user name: what the plugin checked is not known")
	}
	if d.anonymous || names || s.passwords.set() {
		return
	}
	at := d.at
	if s.anonymous.set() {
		at = s.anonymous
	}
	if s.plugin.set() {
		at = s.plugin
	}
	if !at.set() {
		at = option{file: im.main, key: "listener"}
	}
	d.block(at, "nobody could log in there: clients must show a user name, and there is no password_file. Make users (packetboat passwd NAME)")
}

// writeListener writes one, as a comment when it cannot be as it was.
func (im *importer) writeListener(d *door) {
	doc := &im.doc
	remarks := []string{}
	if d.at.set() {
		remarks = append(remarks, d.at.at())
	}
	for _, b := range d.blocked {
		remarks = append(remarks, "Left out: "+b.at.at()+": "+b.at.key+": "+b.why)
		im.lost(b.at, "the listener "+d.where+" is left out: "+b.why)
	}
	doc.comment = len(d.blocked) > 0
	doc.section("[[listener]]", remarks...)
	doc.str("address", d.where)
	if d.websocket {
		doc.str("transport", "websocket")
	}
	doc.set("anonymous", fmt.Sprint(d.anonymous))
	switch {
	case d.max > 0:
		doc.num("max_connections", d.max)
	case d.max == 0:
		im.lost(option{d.at.file, d.at.line, "max_connections", "0"}, "a listener takes at least one connection; it has the default, 10000")
	}
	if d.cert.set() && d.key.set() {
		im.writeTLS(d)
	}
	doc.comment = false
	if d.websocket {
		at := d.at
		if !at.set() {
			at = option{file: im.main, key: "protocol"}
		}
		im.changed(at, "WebSockets are answered at the paths /mqtt and / only")
	}
}

func (im *importer) writeTLS(d *door) {
	doc := &im.doc
	doc.raw("[listener.tls]")
	doc.str("cert", d.cert.value)
	doc.str("key", d.key.value)
	if !d.require {
		for _, o := range []option{d.cafile, d.capath} {
			if o.set() {
				im.notNeeded(o, "clients are not asked for certificates (require_certificate is not true)")
			}
		}
		for _, o := range []option{d.identityLine, d.subjectAt} {
			if v, _ := o.bool(); v {
				im.notNeeded(o, "clients are not asked for certificates (require_certificate is not true)")
			}
		}
		if d.crl.set() {
			im.notNeeded(d.crl, "clients are not asked for certificates (require_certificate is not true)")
		}
		return
	}
	if ca := im.authorities(d.cafile, d.capath, "clients-ca"); ca != "" {
		doc.str("client_ca", ca)
	}
	if d.identity || d.subject {
		doc.str("client_cert", "username")
	} else {
		doc.str("client_cert", "required")
	}
}

// authorities gives the file for a cafile or capath: a directory's certificates are
// put into one.
func (im *importer) authorities(file, dir option, name string) string {
	if file.set() {
		if dir.set() {
			im.lost(dir, "there is a file of authorities already, that of "+file.at()+"; append these certificates to it")
		}
		return file.value
	}
	if !dir.set() || strings.TrimSuffix(dir.value, "/") == "/etc/ssl/certs" {
		return "" // of bridges: the system's
	}
	at, names, err := im.readDir(dir.value)
	var bundle []byte
	for _, n := range names {
		if err != nil {
			break
		}
		if !strings.HasSuffix(n, ".pem") && !strings.HasSuffix(n, ".crt") {
			continue
		}
		var data []byte
		if data, err = im.opt.ReadFile(at + "/" + n); err == nil {
			bundle = append(append(bundle, data...), '\n')
		}
	}
	made := name + ".pem"
	if n := im.made(name); n > 0 {
		made = fmt.Sprintf("%s-%d.pem", name, n+1)
	}
	if err != nil || len(bundle) == 0 {
		why := "has no certificates (.pem, .crt)"
		if err != nil {
			why = "cannot be read: " + reason(err)
		}
		im.lost(dir, "authorities are in one file here, and the directory "+why+". Make it: cat "+dir.value+"/*.pem > "+made)
		return made
	}
	im.changed(dir, "authorities are in one file here, "+made+": certificates that come into the directory later do not count")
	return im.secret(made, bundle)
}

// made counts the files with a name like this.
func (im *importer) made(prefix string) (n int) {
	for _, f := range im.result.Files {
		if strings.HasPrefix(f.Name, prefix) {
			n++
		}
	}
	return n
}
