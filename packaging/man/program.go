package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// programPage makes packetboat.1 of `packetboat help` and `packetboat help
// COMMAND`.
func programPage(program, date string) (string, error) {
	all, err := help(program)
	if err != nil {
		return "", err
	}
	names := commandNames(all)
	if len(names) == 0 {
		return "", errors.New("packetboat help names no commands")
	}
	var s strings.Builder
	fmt.Fprintf(&s, `.TH PACKETBOAT 1 "%s" packetboat "User Commands"
.SH NAME
packetboat \- IoT edge gateway that keeps what it has acknowledged
.SH SYNOPSIS
.B packetboat
.I COMMAND
.RI [ flags ]
.SH DESCRIPTION
It takes in what devices send over serial ports, TCP, Modbus and MQTT, keeps it on
disk, and carries it to a cloud broker whenever that can be reached.
.SH COMMANDS
`, date)
	for _, name := range names {
		text, err := help(program, name)
		if err != nil {
			return "", err
		}
		s.WriteString(commandSection(name, text))
	}
	s.WriteString(`.SH EXIT STATUS
.TP
.B 0
fine
.TP
.B 1
failed
.TP
.B 2
wrong usage or configuration
.SH ENVIRONMENT
.TP
.B PACKETBOAT_CONFIG
the configuration file, where
.B \-config
does not say another
.TP
.B PACKETBOAT_PASSWORD
the password of pub, sub and bench, when
.B \-u
names a user
.SH FILES
.TP
.I /etc/packetboat/packetboat.toml
the configuration; conf.d/*.toml beside it is read too
.TP
.I /var/lib/packetboat
the queue, sessions and retained messages
.TP
.I /run/packetboat/admin.sock
by which the commands reach the gateway that runs
.SH SEE ALSO
.BR packetboat.toml (5),
.BR systemctl (1),
.BR journalctl (1).
More is in
.IR /usr/share/doc/packetboat .
`)
	return s.String(), nil
}

func help(program string, command ...string) (string, error) {
	out, err := exec.Command(program, append([]string{"help"}, command...)...).Output()
	if err != nil {
		return "", fmt.Errorf("%s help %s: %w", program, strings.Join(command, " "), err)
	}
	return string(out), nil
}

// commandNames finds them in the lines of `packetboat help` that are indented.
func commandNames(help string) []string {
	var names []string
	for line := range strings.Lines(help) {
		if strings.HasPrefix(line, "  ") {
			names = append(names, strings.Fields(line)[0])
		}
	}
	return names
}

// commandSection is the help of one command: usage, summary, text, flags.
func commandSection(name, help string) string {
	text, flags, _ := strings.Cut(help, "\nflags:\n")
	usage, text, _ := strings.Cut(text, "\n\n")
	summary, text, _ := strings.Cut(text, "\n")
	args := strings.TrimSpace(strings.TrimPrefix(usage, "usage: packetboat "+name))
	var s strings.Builder
	fmt.Fprintf(&s, ".SS \"packetboat %s\"\n.B packetboat %s\n%s\n.PP\n%s\n", name, name, escaped(args), escaped(sentence(summary)))
	if text = strings.Trim(text, "\n"); text != "" {
		fmt.Fprintf(&s, ".PP\n.nf\n%s\n.fi\n", escaped(text))
	}
	for line := range strings.Lines(flags) {
		line = strings.TrimRight(line, "\n")
		if flag, ok := strings.CutPrefix(line, "  -"); ok {
			flag, value, _ := strings.Cut(flag, " ")
			head := `\fB\-` + escaped(flag) + `\fR`
			if value != "" {
				head += ` \fI` + escaped(value) + `\fR`
			}
			fmt.Fprintf(&s, ".TP\n%s\n", head)
			continue
		}
		fmt.Fprintln(&s, escaped(strings.TrimSpace(line)))
	}
	return s.String()
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
