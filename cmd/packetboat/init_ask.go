package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"packetboat/adapters/serial"
)

// questions asks on a terminal for what a starter is made of.
type questions struct {
	ctx   context.Context
	e     *env
	in    *os.File
	ports []serial.Info
}

// ask asks until it is right, or the answers end.
func (q *questions) ask(s *starter) error {
	host, _ := os.Hostname()
	fmt.Fprint(q.e.err, "A first configuration, by a few questions. Enter takes what stands in brackets.\n\n")
	err := q.text(&s.id, "The gateway's name, at the cloud and in topics", host, nil)
	if s.id == host {
		s.id = "" // as it is without
	}
	if err == nil {
		err = q.device(s)
	}
	if err == nil {
		err = q.cloud(s)
	}
	if err != nil {
		return err
	}
	return s.complete()
}

// device asks where the data comes from.
func (q *questions) device(s *starter) error {
	fmt.Fprint(q.e.err, "\nWhere does the data come from?\n")
	for i := range q.ports {
		p := &q.ports[i]
		fmt.Fprintf(q.e.err, "  %d     the serial port %s%s\n", i+1, p.Path, describePort(p))
	}
	fmt.Fprint(q.e.err, "  PATH  another serial port, such as /dev/ttyUSB0\n  tcp   devices that connect by TCP and send lines\n  none  MQTT clients only\n")
	usual := "none"
	if len(q.ports) > 0 {
		usual = "1"
	}
	what := ""
	if err := q.text(&what, "Which", usual, func(a string) error {
		n, err := strconv.Atoi(a)
		if a == "tcp" || a == "none" || strings.HasPrefix(a, "/") || err == nil && n >= 1 && n <= len(q.ports) {
			return nil
		}
		return fmt.Errorf("%q is none of these", a)
	}); err != nil {
		return err
	}
	switch {
	case what == "none":
		return nil
	case what == "tcp":
		return q.text(&s.tcp, "Address to listen on", ":7000", nil)
	case what[0] == '/':
		s.port = what
	default:
		n, _ := strconv.Atoi(what) // it was looked at
		s.port = q.ports[n-1].Stable()
	}
	rate := ""
	err := q.text(&rate, "Baud rate (packetboat probe PORT finds it)", "9600", func(a string) error {
		if n, err := strconv.Atoi(a); err != nil || n <= 0 {
			return errors.New("that is no rate; common ones are 9600 and 115200")
		}
		return nil
	})
	s.baud, _ = strconv.Atoi(rate)
	return err
}

// cloud asks where it is to go.
func (q *questions) cloud(s *starter) error {
	fmt.Fprintln(q.e.err)
	s.profile = "generic"
	if err := q.text(&s.cloud, "The cloud broker's URL, such as mqtts://mqtt.example.com, or none", "none", func(a string) error {
		if a == "none" {
			return nil
		}
		_, err := brokerURL(a)
		if err != nil {
			err = errors.New("it must be like mqtts://mqtt.example.com:8883, without a user name")
		}
		return err
	}); err != nil {
		return err
	}
	if s.cloud == "none" {
		s.cloud = ""
		return nil
	}
	switch host := hostOfURL(s.cloud); {
	case strings.HasSuffix(host, ".amazonaws.com"):
		return errors.Join(q.file(&s.cert, "File with the thing's certificate"), q.file(&s.key, "File with its private key"))
	case strings.HasSuffix(host, ".azure-devices.net"):
		return q.secret(s, "The device's primary key")
	}
	if err := q.text(&s.user, "User name there, or none", "none", nil); err != nil {
		return err
	}
	if s.user == "none" {
		s.user = ""
		return nil
	}
	return q.secret(s, "Password of "+s.user)
}

// file asks for one that is there.
func (q *questions) file(to *string, question string) error {
	return q.text(to, question, "", func(a string) error {
		_, err := os.Stat(a)
		return err
	})
}

// secret asks for one that is not shown.
func (q *questions) secret(s *starter, question string) error {
	shown, err := hideInput(int(q.in.Fd()))
	if err != nil {
		return err
	}
	defer shown()
	s.password, err = askPassword(q.ctx, q.e, q.in, question+" (not shown): ")
	if err == nil && len(s.password) == 0 {
		err = errors.New("there is no password; nothing was written")
	}
	return err
}

// text asks until check is content with the answer.
func (q *questions) text(to *string, question, usual string, check func(string) error) error {
	for {
		brackets := ""
		if usual != "" {
			brackets = " [" + usual + "]"
		}
		fmt.Fprintf(q.e.err, "%s%s: ", question, brackets)
		answer, err := q.line()
		if err != nil {
			fmt.Fprintln(q.e.err)
			return err
		}
		if answer == "" {
			answer = usual
		}
		if answer == "" {
			continue
		}
		if check != nil {
			if err := check(answer); err != nil {
				fmt.Fprintf(q.e.err, "  %v\n", err)
				continue
			}
		}
		*to = answer
		return nil
	}
}

// line is the next line of the terminal. A signal gives up.
func (q *questions) line() (string, error) {
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // after a signal it ends with the process
		line, err := firstLine(q.in)
		answered <- answer{line, err}
	}()
	select {
	case a := <-answered:
		return strings.TrimSpace(string(a.text)), a.err
	case <-q.ctx.Done():
		return "", errors.New("given up; nothing was written")
	}
}
