// Command packetboat is an edge gateway: it takes in what devices send over
// serial ports, TCP and MQTT, keeps it on disk, and carries it to a cloud broker
// whenever that can be reached.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Exit codes.
const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
)

// sameSignal is how long after the first signal another is still the same one:
// a terminal and a wrapper may both deliver one Ctrl-C.
const sameSignal = time.Second

// A command is a subcommand.
type command struct {
	name    string
	args    string // as in the usage line
	summary string // one line
	help    string // what there is to know beyond the flags; may be empty
	run     func(ctx context.Context, env *env, args []string) int
}

// env is what a command has of the process.
type env struct {
	out, err *os.File
	cmd      *command
	describe func(f *flag.FlagSet) // takes the place of printing the help; nil: it is printed
}

func commands() []command {
	return []command{
		{name: "init", args: "[-serial PORT | -tcp ADDRESS] [-cloud URL …] [-o FILE]", summary: "write a first configuration, by a few questions or flags", help: initHelp, run: initCommand},
		{name: "run", args: "[-config FILE]", summary: "run the gateway", help: runHelp, run: runCommand},
		{name: "check", args: "[-config FILE] [-print]", summary: "check the configuration and say what it does", help: checkHelp, run: checkCommand},
		{name: "route", args: "[-config FILE] [-down] [-user NAME] [-client ID] [-json] TOPIC", summary: "explain which rule of a bridge takes a topic, and who may publish there", help: routeHelp, run: routeCommand},
		{name: "status", args: "[-config FILE] [-json]", summary: "how the gateway that runs is, and what is wrong", help: statusHelp, run: statusCommand},
		{name: "top", args: "[-config FILE] [-once]", summary: "a live screen: rates, queues, bridges, what is wrong", help: topHelp, run: topCommand},
		{name: "doctor", args: "[-config FILE] [-own-id] [-timeout TIME] [-json] [BRIDGE]", summary: "find what keeps it from flowing: disk, clock, ports, the way to each cloud", help: doctorHelp, run: doctorCommand},
		{name: "reload", args: "[-config FILE]", summary: "have the gateway that runs read its configuration again", help: reloadHelp, run: reloadCommand},
		{name: "queue", args: "ls | tail QUEUE | export QUEUE | verify | rename OLD NEW | purge QUEUE | import QUEUE [FILE] | replay QUEUE", summary: "look into the disk queue, check it, change it", help: queueHelp, run: queueCommand},
		{name: "bridge", args: "ls | reset NAME", summary: "how the bridges are; begin a new session at a cloud", help: bridgeHelp, run: bridgeCommand},
		{name: "clients", args: "[-config FILE] [-json] [MATCH]", summary: "list the MQTT clients and sessions of the gateway that runs", help: clientsHelp, run: clientsCommand},
		{name: "kick", args: "[-config FILE] [-json] CLIENT", summary: "disconnect an MQTT client", help: kickHelp, run: kickCommand},
		{name: "passwd", args: "[-config FILE | -file FILE] [-delete] NAME | -list", summary: "add, change, remove users that may log in", help: passwdHelp, run: passwdCommand},
		{name: "pub", args: "-t TOPIC (-m TEXT | -f FILE | -l | -n) [-q QOS] [-r]", summary: "publish messages, to the gateway or any broker", help: pubHelp, run: pubCommand},
		{name: "sub", args: "-t TOPIC … [-v | -F FORMAT | -json]", summary: "subscribe and print what comes, from the gateway or any broker", help: subHelp, run: subCommand},
		{name: "demo", args: "[-once] [-dir DIR] [-exec CMD]", summary: "show it at work: devices, an outage, a crash, and the count", help: demoHelp, run: demoCommand},
		{name: "import-mosquitto", args: "FILE [-o FILE] [-all]", summary: "make a configuration of a mosquitto.conf", help: importHelp, run: importCommand},
		{name: "ports", args: "[-config FILE] [-json]", summary: "list the serial ports: what they are, who has them", help: portsHelp, run: portsCommand},
		{name: "probe", args: "[-baud RATE] [-time 5s] PORT", summary: "listen on a serial port, and guess rate and framing", help: probeHelp, run: probeCommand},
		{name: "frame", args: "[-config FILE] [-adapter NAME] [-hex BYTES] [-json]", summary: "show what an adapter makes of bytes: frames, fields, topics", help: frameHelp, run: frameCommand},
		{name: "sim", args: "serial | tcp HOST:PORT | modbus | mqtt HOST:PORT", summary: "simulate devices, to try things with", help: simHelp, run: simCommand},
		{name: "bench", args: "[-clients N] [-qos QOS] [-rate N] [-for TIME] [HOST:PORT] | disk [DIR]", summary: "measure what this machine and its card carry", help: benchHelp, run: benchCommand},
		{name: "completion", args: "bash | zsh | fish", summary: "print a script that has the shell complete commands", help: completionHelp, run: completionCommand},
		{name: "version", summary: "print the version", run: versionCommand},
	}
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() { // ends with the process
		<-signals
		first := time.Now()
		cancel()
		for time.Since(first) < sameSignal {
			<-signals
		}
		fmt.Fprintln(os.Stderr, "packetboat: stopped at once, on the second signal")
		os.Exit(exitFailed)
	}()
	os.Exit(dispatch(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// dispatch finds and runs the command.
func dispatch(ctx context.Context, args []string, out, errOut *os.File) int {
	if len(args) == 0 {
		usage(errOut)
		return exitUsage
	}
	name := args[0]
	switch name {
	case "-v", "-version", "--version":
		name = "version"
	case "-h", "-help", "--help", "help":
		if name == "help" && len(args) > 1 {
			return dispatch(ctx, []string{args[1], "-help"}, out, errOut)
		}
		usage(out)
		return exitFine
	}
	if name == helperCommand {
		return runHelper(os.Stdin, out, errOut)
	}
	var names []string
	for _, c := range commands() {
		if c.name == name {
			return c.run(ctx, &env{out: out, err: errOut, cmd: &c}, args[1:])
		}
		names = append(names, c.name)
		for way := range strings.SplitSeq(c.args, " | ") {
			if word, _, _ := strings.Cut(way, " "); word == name {
				fmt.Fprintf(errOut, "packetboat: there is no command %q; there is packetboat %s %s\n", name, c.name, name)
				return exitUsage
			}
		}
	}
	fmt.Fprintf(errOut, "packetboat: there is no command %q; there are %s (packetboat help)\n", name, strings.Join(names, ", "))
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprint(w, "packetboat is an edge gateway: what it has acknowledged is on disk, and reaches the cloud.\n\nusage: packetboat COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-17s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\npacketboat help COMMAND tells more. Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration.\n")
}

// flags makes the flag set of a command. Errors of the command line are
// printed with the usage line.
func (e *env) flags() *flag.FlagSet {
	f := flag.NewFlagSet(e.cmd.name, flag.ContinueOnError)
	f.SetOutput(io.Discard) // parse prints, to where it belongs
	return f
}

// parse reads the command line. When it returns false the command is over,
// with that exit code.
func (e *env) parse(f *flag.FlagSet, args []string) (code int, ok bool) {
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		e.help(e.out, f)
		return exitFine, false
	case err == nil && f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
		if f.Lookup("config") != nil {
			err = fmt.Errorf("%w (-config %s)", err, f.Arg(0))
		}
	}
	if err != nil {
		fmt.Fprintf(e.err, "packetboat %s: %v\n", e.cmd.name, err)
		e.help(e.err, f)
		return exitUsage, false
	}
	return exitFine, true
}

// unset are the default values that are none.
var unset = []string{"", "false", "0", "0s"}

func (e *env) help(w io.Writer, f *flag.FlagSet) {
	if e.describe != nil {
		e.describe(f)
		return
	}
	fmt.Fprintf(w, "usage: packetboat %s\n\n%s\n", strings.TrimSpace(e.cmd.name+" "+e.cmd.args), e.cmd.summary)
	if e.cmd.help != "" {
		fmt.Fprintf(w, "\n%s", e.cmd.help)
	}
	first := true
	f.VisitAll(func(g *flag.Flag) {
		if first {
			fmt.Fprint(w, "\nflags:\n")
			first = false
		}
		value, text := flag.UnquoteUsage(g)
		fmt.Fprintf(w, "  %s\n        %s", strings.TrimSpace("-"+g.Name+" "+value), text)
		if !slices.Contains(unset, g.DefValue) {
			fmt.Fprintf(w, " (default %s)", g.DefValue)
		}
		fmt.Fprintln(w)
	})
}

// fail prints an error in one line.
func (e *env) fail(err error) int {
	fmt.Fprintf(e.err, "packetboat %s: %v\n", e.cmd.name, err)
	return exitFailed
}
