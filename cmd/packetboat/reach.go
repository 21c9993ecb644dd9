package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"packetboat/bridge/dial"
	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/client"
	"packetboat/config"
)

// reachHelp is what pub and sub have in common.
const reachHelp = `It connects to the gateway of the configuration, at the first listener that it has (on
a machine without a configuration, to 127.0.0.1:1883), or to any broker with -url:
mqtt://HOST, mqtts://HOST (TLS), ws://HOST/PATH, wss://HOST/PATH, unix:PATH, or
HOST:PORT. The certificate of a broker with -url is verified by the system's
authorities or those in -ca; that of the gateway must be the one in its
configuration.

A password is better in a file (-password-file FILE, or - for a line of standard
input) or in $PACKETBOAT_PASSWORD than behind -P, where everybody on the machine
can read it.
`

// reachFlags say which broker, and as whom.
type reachFlags struct {
	config                      *string
	given                       bool // -config was
	url, user, password, id     *string
	passwordFile, version       *string
	ca, cert, key, name, listen *string
	wait                        waitFlag
	whose                       func(context.Context) error // see checkWhose; nil: of any broker
	gateway                     *config.Config              // that options has found; nil: another broker, or not known
	keep                        *time.Duration
}

// waitFlag is a time: seconds, as Mosquitto's clients have it, or 1m30s.
type waitFlag time.Duration

func (w *waitFlag) String() string { return time.Duration(*w).String() }

func (w *waitFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	if n, numErr := strconv.Atoi(s); numErr == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < 0 {
		return errors.New("must be seconds, or a time such as 1m30s")
	}
	*w = waitFlag(d)
	return nil
}

func addReachFlags(f *flag.FlagSet, wait string) *reachFlags {
	r := &reachFlags{
		config:       configFlag(f),
		url:          f.String("url", "", "another broker: `URL`"),
		user:         f.String("u", "", "`USER` name"),
		password:     f.String("P", "", "`PASSWORD`"),
		passwordFile: f.String("password-file", "", "`FILE` with the password in its first line; -: standard input"),
		id:           f.String("i", "", "client `ID`; none given: one that nobody else has"),
		version:      f.String("V", "5", "`VERSION` of MQTT: 5, 3.1.1 or 3.1"),
		ca:           f.String("ca", "", "`FILE` with the authorities that the broker's certificate is verified by"),
		cert:         f.String("cert", "", "`FILE` with the client's certificate"),
		key:          f.String("key", "", "`FILE` with its key"),
		name:         f.String("server-name", "", "`HOST` that the broker's certificate must be for, if not that of the URL"),
		listen:       f.String("listener", "", "the gateway's listener with this `ADDRESS`, instead of the first"),
		keep:         f.Duration("k", time.Minute, "keep alive `TIME`"),
	}
	f.Var(&r.wait, "W", "`TIME` in seconds, or as 1m30s: "+wait)
	return r
}

// dialTimeout bounds connecting, and each write.
const dialTimeout = 15 * time.Second

// dial connects. Errors of the command line and the configuration are usageErrors.
func (r *reachFlags) dial(ctx context.Context, e *env, f *flag.FlagSet, change func(*packet.Connect)) (*client.Conn, error) {
	o, where, err := r.options(e, f)
	if err != nil {
		return nil, err
	}
	if change != nil {
		change(&o.Connect)
	}
	c, err := client.Dial(ctx, o)
	if err != nil {
		return nil, r.failed(where, err)
	}
	if err := r.checkWhose(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// options are those of a connection, where names where it goes. Errors are
// usageErrors.
func (r *reachFlags) options(e *env, f *flag.FlagSet) (o client.Options, where string, err error) {
	f.Visit(func(g *flag.Flag) { r.given = r.given || g.Name == "config" })
	o = client.Options{Timeout: dialTimeout, Net: dial.Options{CA: *r.ca, Cert: *r.cert, Key: *r.key, ServerName: *r.name, Proxy: "env"}}
	if err := r.connect(&o.Connect); err != nil {
		return o, "", &usageError{err}
	}
	where, r.whose, err = r.server(e, &o)
	if err != nil {
		return o, "", &usageError{err}
	}
	return o, where, nil
}

// checkWhose has an error when what answers there is not the gateway that is meant;
// for what [reachFlags.options] gave.
func (r *reachFlags) checkWhose(ctx context.Context) error {
	if r.whose == nil {
		return nil
	}
	return r.whose(ctx)
}

// connect is what the broker is told.
func (r *reachFlags) connect(c *packet.Connect) error {
	switch strings.TrimPrefix(*r.version, "mqttv") {
	case "5", "50":
		c.Version = packet.V5
	case "3.1.1", "311", "4":
		c.Version = packet.V311
	case "3.1", "31", "3":
		c.Version = packet.V31
	default:
		return fmt.Errorf("-V %s: there are 5, 3.1.1 and 3.1", *r.version)
	}
	if *r.keep < 0 || *r.keep > 65535*time.Second {
		return errors.New("-k must be a time from 0s to 65535s")
	}
	c.CleanStart = true
	c.KeepAlive = uint16((*r.keep + time.Second - 1) / time.Second)
	c.ClientID = *r.id
	if c.ClientID == "" {
		c.ClientID = "packetboat-" + strings.ToLower(rand.Text()[:10])
	}
	password, has, err := r.secret()
	if err != nil {
		return err
	}
	c.User, c.HasUser = *r.user, *r.user != ""
	c.Password, c.HasPass = password, has
	if has && !c.HasUser && c.Version != packet.V5 {
		return errors.New("a password needs a user name (-u) before MQTT 5")
	}
	return nil
}

// secret is the password, from one place.
func (r *reachFlags) secret() (password []byte, has bool, err error) {
	if *r.password != "" && *r.passwordFile != "" {
		return nil, false, errors.New("-P and -password-file are two passwords; give one")
	}
	env, inEnv := os.LookupEnv("PACKETBOAT_PASSWORD")
	switch {
	case *r.password != "":
		return []byte(*r.password), true, nil
	case *r.passwordFile == "-":
		line, err := firstLine(os.Stdin)
		return line, err == nil, wrap("read the password from standard input", err)
	case *r.passwordFile != "":
		file, err := os.Open(*r.passwordFile)
		if err != nil {
			return nil, false, err
		}
		defer file.Close()
		line, err := firstLine(file)
		return line, err == nil, wrap("read the password from "+*r.passwordFile, err)
	case inEnv && *r.user != "":
		return []byte(env), true, nil
	}
	return nil, false, nil
}

// firstLine reads no further than a line: behind it may be what to publish.
func firstLine(from io.Reader) ([]byte, error) {
	var line []byte
	one := make([]byte, 1)
	for len(line) <= 64<<10 {
		n, err := from.Read(one)
		if n == 1 && one[0] != '\n' {
			line = append(line, one[0])
			continue
		}
		if err == io.EOF && n == 0 && len(line) == 0 {
			return nil, errNothing
		}
		if n == 1 || err == io.EOF {
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		if err != nil {
			return nil, fmt.Errorf("read a line: %w", err)
		}
	}
	return nil, errors.New("the line is longer than 64 KiB")
}

var errNothing = errors.New("nothing came, not even an empty line")

// server finds where to go, and for a gateway how to know that it is there.
func (r *reachFlags) server(e *env, o *client.Options) (where string, whose func(context.Context) error, err error) {
	if *r.url != "" {
		o.Server, err = brokerURL(*r.url)
		return config.HideSecrets(*r.url), nil, err
	}
	cfg, err := config.Load(*r.config, config.Options{})
	if err != nil {
		if r.given || os.Getenv("PACKETBOAT_CONFIG") != "" {
			return "", nil, fmt.Errorf("%w\npacketboat %s: -url URL needs no configuration", err, e.cmd.name)
		}
		usual := &config.Config{Listeners: []config.Listener{{Address: "127.0.0.1:1883"}}, Admin: config.Admin{Address: "127.0.0.1:8580"}}
		o.Server = "mqtt://" + usual.Listeners[0].Address
		whose = func(ctx context.Context) error { return notTheGateways(ctx, usual, &usual.Listeners[0]) }
		why, _, _ := strings.Cut(err.Error(), "\n")
		return usual.Listeners[0].Address + " (there is no -url, and of the configuration: " + why + ")", whose, nil
	}
	r.gateway = cfg
	l, err := pickListener(cfg, *r.listen)
	if err != nil {
		return "", nil, err
	}
	whose = func(ctx context.Context) error { return notTheGateways(ctx, cfg, l) }
	return "the gateway on " + l.Address, whose, toListener(o, l)
}

// brokerURL takes the forms that people write for a broker.
func brokerURL(s string) (string, error) {
	if strings.HasPrefix(s, "unix:") {
		return s, nil
	}
	if !strings.Contains(s, "://") {
		s = "mqtt://" + s
	}
	scheme, rest, _ := strings.Cut(s, "://")
	if host, _, _ := strings.Cut(rest, "/"); strings.Contains(host, "@") {
		return "", errors.New("-url must not have a user name in it: there are -u, and -password-file or $PACKETBOAT_PASSWORD")
	}
	switch scheme {
	case "tcp":
		s = "mqtt://" + rest
	case "ssl", "tls":
		s = "mqtts://" + rest
	}
	if _, err := dial.Parse(s); err != nil {
		return "", fmt.Errorf("-url %w", err)
	}
	return s, nil
}

// pickListener is the one with that address, else the first that can be reached.
func pickListener(cfg *config.Config, address string) (*config.Listener, error) {
	var all []string
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		network, at := l.Network()
		if address == l.Address && network != "systemd" || address == "" && network != "systemd" && !strings.HasSuffix(at, ":0") {
			return l, nil
		}
		all = append(all, l.Address)
	}
	if address != "" {
		return nil, fmt.Errorf("-listener %s: there is none with this address; there are %s", address, strings.Join(all, ", "))
	}
	return nil, fmt.Errorf("where the gateway's listeners can be reached (%s) is not known here; say it with -url", strings.Join(all, ", "))
}

// toListener makes the options for a listener of the gateway on this machine.
func toListener(o *client.Options, l *config.Listener) error {
	network, address := l.Network()
	if network == "unix" {
		o.Server = "unix:" + address
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("listener %s: %w", address, err)
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	o.Net.Proxy = "" // it is on this machine
	secure := l.TLS != nil
	scheme := map[bool]string{false: "mqtt", true: "mqtts"}
	if l.Transport == "websocket" {
		scheme = map[bool]string{false: "ws", true: "wss"}
	}
	o.Server = scheme[secure] + "://" + net.JoinHostPort(host, port)
	if secure && o.Net.CA == "" {
		return pin(o, l.TLS.Cert)
	}
	return nil
}

// pin trusts the certificates of the gateway's configuration, and no others.
func pin(o *client.Options, cert string) error {
	data, err := os.ReadFile(cert)
	if err != nil {
		return fmt.Errorf("read the gateway's certificate, to know it again: %w (or say with -ca who has signed it)", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return fmt.Errorf("%s, the gateway's certificate, is not PEM", cert)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("read the gateway's certificate %s: %w", cert, err)
	}
	o.Net.CA = cert
	switch { // it is reached by an address that need not be among its names
	case o.Net.ServerName != "":
	case len(leaf.DNSNames) > 0:
		o.Net.ServerName = strings.Replace(leaf.DNSNames[0], "*", "any", 1)
	case len(leaf.IPAddresses) > 0:
		o.Net.ServerName = leaf.IPAddresses[0].String()
	}
	return nil
}

// failed says what to do about an attempt.
func (r *reachFlags) failed(where string, err error) error {
	var refused *client.Refused
	if !errors.As(err, &refused) {
		return fmt.Errorf("%s: %w", where, err)
	}
	remedy := ""
	switch refused.Code {
	case packet.NotAuthorized, packet.Banned:
		remedy = "say who you are with -u and -password-file; a gateway's users are made by packetboat passwd NAME"
		if *r.user != "" {
			remedy = "this user may not connect: see the broker's log"
		}
	case packet.BadUserNameOrPassword:
		remedy = "check -u and the password"
	case packet.ClientIDNotValid:
		remedy = "give another client id with -i"
	case packet.UnsupportedProtocolVersion:
		remedy = "try -V 3.1.1"
	case packet.ServerUnavailable, packet.ServerBusy, packet.ConnectionRateExceeded, packet.QuotaExceeded:
		remedy = "try again in a minute"
	}
	if remedy == "" {
		return fmt.Errorf("%s: %w", where, err)
	}
	return fmt.Errorf("%s: %w (%s)", where, err, remedy)
}

// lines reads lines without their ends. A line that is too long for a message ends it.
func lines(from io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(from)
	s.Buffer(nil, packet.MaxSize)
	return s
}
