package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"packetboat/adapters"
	"packetboat/adapters/serial"
	"packetboat/config"
)

const initHelp = `It writes a first configuration of some twelve lines: a device, and a cloud broker to
bring its messages to. On a terminal it asks; with flags it does not:

  packetboat init -serial /dev/ttyUSB0 -baud 9600 -cloud mqtts://mqtt.example.com \
      -user plant-7 -password-file - < password
  packetboat init -tcp :7000 -cloud mqtts://EXAMPLE-ats.iot.eu-central-1.amazonaws.com \
      -profile aws-iot -id plant-7 -cert plant-7.pem -key plant-7.key

What it writes is right (packetboat check), and has a port by the name that it keeps
(/dev/serial/by-id/…), where there is one. Nothing is replaced without -force, but for
a configuration in which nothing is set, such as the one that the package installs. A
password that is asked for, or comes on standard input, goes into a file beside it
which only its owner may read. Who only tries gives a directory of his own for the
queue and the socket of the commands, as an ordinary user:

  packetboat init -serial /dev/ttyUSB0 -dir try -o try.toml
`

// starter is what a first configuration is made of.
type starter struct {
	id            string // "": the host name
	dir           string // "": the service's directories
	port          string // "": no serial device
	baud          int
	tcp           string // "": no TCP device
	cloud         string // "": no cloud
	profile       string // "", generic, aws-iot, azure-iot-hub
	user          string
	password      []byte // to be written into a file; nil: none
	passwordFile  string // that is there, or will be; "": none
	ca, cert, key string
}

type initFlags struct {
	starter
	out   string
	force bool
}

func initCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	var s initFlags
	f.StringVar(&s.out, "o", *configFlag(flag.NewFlagSet("", flag.ContinueOnError)), "write this `FILE`")
	f.BoolVar(&s.force, "force", false, "replace a file that is there")
	f.StringVar(&s.dir, "dir", "", "`DIR` for the queue and the admin socket; none: /var/lib/packetboat and /run/packetboat, which are the service's")
	f.StringVar(&s.id, "id", "", "the gateway's `NAME`: its client id at the cloud, {gateway} in topics; none: the host name")
	f.StringVar(&s.port, "serial", "", "a device on this serial `PORT`; packetboat ports lists them")
	f.IntVar(&s.baud, "baud", 9600, "its `RATE`; packetboat probe finds it")
	f.StringVar(&s.tcp, "tcp", "", "devices that connect to this `ADDRESS` and send lines, such as :7000")
	f.StringVar(&s.cloud, "cloud", "", "the cloud broker: `URL`, such as mqtts://mqtt.example.com")
	f.StringVar(&s.profile, "profile", "generic", "of the cloud: `NAME`, generic, aws-iot or azure-iot-hub")
	f.StringVar(&s.user, "user", "", "`USER` name at the cloud")
	f.StringVar(&s.passwordFile, "password-file", "", "`FILE` with the password (azure-iot-hub: with the device's key); -: the first line of standard input")
	f.StringVar(&s.ca, "ca", "", "`FILE` with the authorities that the cloud's certificate is verified by; none: the system's")
	f.StringVar(&s.cert, "cert", "", "`FILE` with the client's certificate at the cloud")
	f.StringVar(&s.key, "key", "", "`FILE` with its key")
	if code, ok := e.parse(f, args); !ok {
		return code
	}
	err := s.gather(ctx, e, f)
	if err == nil {
		err = s.write(ctx, e)
	}
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(e.err, "packetboat init: %v\n", usage.err)
		return exitUsage
	}
	if err != nil {
		return e.fail(err)
	}
	return exitFine
}

// gather completes what the flags say, by questions when they say nothing.
func (s *initFlags) gather(ctx context.Context, e *env, f *flag.FlagSet) error {
	if _, err := os.Lstat(s.out); err == nil && !s.force && !setsNothing(s.out) {
		return &usageError{fmt.Errorf("%s is there already; -force replaces it, -o FILE writes another", s.out)}
	}
	given := false
	f.Visit(func(g *flag.Flag) { given = given || g.Name != "o" && g.Name != "force" && g.Name != "dir" })
	if !given {
		if !term.IsTerminal(int(os.Stdin.Fd())) {
			e.help(e.err, f)
			return &usageError{errors.New("there is no terminal to ask questions on; say with flags what there is, -serial or -tcp, and -cloud")}
		}
		ports, err := serial.Ports("/")
		if err != nil {
			ports = nil // there may be none to see in a container; the path can be typed
		}
		q := &questions{ctx: ctx, e: e, in: os.Stdin, ports: ports}
		return q.ask(&s.starter)
	}
	if s.passwordFile == "-" {
		line, err := firstLine(os.Stdin)
		if err != nil && !errors.Is(err, errNothing) {
			return err
		}
		if len(line) == 0 {
			return &usageError{errors.New("no password came on standard input")}
		}
		s.password, s.passwordFile = line, ""
	}
	if ports, err := serial.Ports("/"); err == nil {
		s.port = lastingName(ports, s.port)
	}
	return s.complete()
}

// lastingName is the name of a port under which it is found again after it was
// plugged in elsewhere: what is /dev/ttyUSB0 now may be another one tomorrow.
func lastingName(ports []serial.Info, path string) string {
	for i := range ports {
		if ports[i].Path == path {
			return ports[i].Stable()
		}
	}
	return path
}

// complete finds what is missing or does not go together, and puts in what is known.
func (s *starter) complete() error {
	bad := func(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }
	host := hostOfURL(s.cloud)
	switch {
	case s.profile == "generic" && strings.HasSuffix(host, ".amazonaws.com"):
		s.profile = "aws-iot"
	case s.profile == "generic" && strings.HasSuffix(host, ".azure-devices.net"):
		s.profile = "azure-iot-hub"
	}
	switch {
	case s.cloud == "" && (s.user != "" || s.password != nil || s.passwordFile != "" || s.cert != "" || s.ca != "" || s.profile != "generic"):
		return bad("-user, -password-file, -profile, -ca, -cert and -key are about the cloud: give it with -cloud URL")
	case s.profile == "aws-iot" && (s.cert == "" || s.key == ""):
		return bad("aws-iot knows a gateway by its certificate: give -cert FILE and -key FILE, as the service made them for the thing")
	case s.profile == "azure-iot-hub" && s.password == nil && s.passwordFile == "" && s.cert == "":
		return bad("azure-iot-hub knows a gateway by the key of its device: give -password-file FILE with the primary key, or -cert and -key")
	case s.user != "" && s.password == nil && s.passwordFile == "" && s.cert == "":
		return bad("-user %s has no password: give -password-file FILE, or - for standard input", s.user)
	case s.user == "" && (s.password != nil || s.passwordFile != "") && s.profile != "azure-iot-hub":
		return bad("there is a password and no -user")
	}
	if s.cloud != "" {
		u, err := brokerURL(s.cloud)
		if err != nil || strings.HasPrefix(u, "unix:") {
			return bad("-cloud must be a URL such as mqtts://mqtt.example.com:8883; a user name goes into -user")
		}
		s.cloud = u
	}
	for _, path := range []*string{&s.dir, &s.port, &s.passwordFile, &s.ca, &s.cert, &s.key} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path) // the configuration may stand elsewhere
		if err != nil {
			return err
		}
		*path = abs
	}
	return nil
}

func hostOfURL(s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	s, _, _ = strings.Cut(s, "/")
	s, _, _ = strings.Cut(s, ":")
	return strings.ToLower(s)
}

// write writes the configuration and what belongs to it, and says what is next.
func (s *initFlags) write(ctx context.Context, e *env) error {
	out, err := filepath.Abs(s.out)
	if err != nil {
		return err
	}
	if err := s.tryOut(out); err != nil {
		return err
	}
	var files []newFile
	if s.password != nil {
		s.passwordFile = "cloud.password"
		if s.profile == "azure-iot-hub" {
			s.passwordFile = "cloud.key"
		}
		files = append(files, newFile{path: filepath.Join(filepath.Dir(out), s.passwordFile), data: append(s.password, '\n'), secret: true})
	}
	if err := writeNew(files, s.force); err != nil {
		return err
	}
	if err := writeNew([]newFile{{path: out, data: []byte(s.text())}}, s.force); err != nil {
		return err
	}
	s.next(ctx, e, out, files)
	return nil
}

// tryOut checks the configuration before anything is written, with the password in
// a file elsewhere.
func (s *initFlags) tryOut(out string) error {
	try := s.starter
	if s.password != nil {
		t, err := os.CreateTemp("", "packetboat-*") // mode 0600
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(t.Name()) }()
		_, err = t.Write(s.password)
		if err = errors.Join(err, t.Close()); err != nil {
			return err
		}
		try.passwordFile = t.Name()
	}
	if err := checkText(out, try.text()); err != nil {
		return &usageError{fmt.Errorf("nothing was written; what is wrong with it:\n%w\nin\n%s", err, try.text())}
	}
	return nil
}

// next says what to do with it.
func (s *initFlags) next(ctx context.Context, e *env, out string, secrets []newFile) {
	fmt.Fprintf(e.out, "written: %s\n", out)
	for _, f := range secrets {
		fmt.Fprintf(e.out, "         %s, which only its owner may read\n", f.path)
		if os.Geteuid() == 0 && serviceUser() == nil && s.dir == "" {
			fmt.Fprintf(e.out, "         it belongs to root: chown packetboat %s\n", f.path)
		}
	}
	if _, err := loadChecked(out); err != nil {
		fmt.Fprintf(e.out, "\ntogether with the files in conf.d beside it, something is wrong:\n%v\n", err)
	}
	at := ""
	if out != "/etc/packetboat/packetboat.toml" {
		at = " -config " + s.out
	}
	fmt.Fprint(e.out, "\nnext:\n")
	cfg, err := config.Load(out, config.Options{})
	if err == nil {
		if l, err := takenListener(ctx, cfg); l != nil {
			fmt.Fprintf(e.out, "  MQTT clients cannot connect to %s: %s:\n      [[listener]]\n      address = \"127.0.0.1:1884\"\n", l.Address, adapters.ListenRemedy(l.Address, err))
		}
	}
	if s.port != "" {
		fmt.Fprintf(e.out, "  packetboat probe %s\n      what the device sends, and whether the rate is right\n", s.port)
	}
	if s.cloud != "" && s.id == "" && err == nil {
		fmt.Fprintf(e.out, "  the gateway is %q, by its host name: -id NAME gives it another\n", cfg.Gateway.ID)
	}
	if at == "" {
		fmt.Fprint(e.out, "  systemctl restart packetboat\n")
	} else {
		fmt.Fprintf(e.out, "  packetboat run%s\n", at)
	}
	fmt.Fprintf(e.out, "  packetboat status%s\n  packetboat sub%[1]s -t '#' -v\n      what comes in, as it comes\n", at)
}
