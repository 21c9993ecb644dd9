package bridge

import (
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"

	"packetboat/bridge/dial"
)

// noConnack is a CONNECT that got no answer, or one that is not MQTT.
type noConnack struct{ error }

// Unwrap gives what came instead.
func (e *noConnack) Unwrap() error { return e.error }

// Diagnose takes an error of [State] apart: what is wrong, in one line, and what an
// operator can do about it, "" where nothing is known. Nil is nothing wrong.
func Diagnose(err error) (what, remedy string) {
	if err == nil {
		return "", ""
	}
	each := []error{err}
	if all, ok := err.(interface{ Unwrap() []error }); ok { // one for each server
		each = all.Unwrap()
	}
	var texts, remedies []string
	for _, e := range each {
		text, r := diagnoseOne(e)
		texts = append(texts, strings.ReplaceAll(text, "\n", "; "))
		if r = strings.ReplaceAll(r, "\n", "; "); r != "" && !slices.Contains(remedies, r) {
			remedies = append(remedies, r)
		}
	}
	return strings.Join(texts, "; "), strings.Join(remedies, "; ")
}

func diagnoseOne(err error) (what, remedy string) {
	what = err.Error()
	var no *refusedConnect
	var at *dial.Error
	var none *noConnack
	var left *disconnected
	switch {
	case errors.As(err, &no):
		return what, connectRemedy(no.code)
	case errors.As(err, &at):
		inner, remedy := ofKeys(at.Err)
		if at.Remedy != "" {
			remedy = at.Remedy
		}
		return strings.Replace(what, at.Error(), at.Stage+": "+inner, 1), remedy
	case errors.As(err, &none):
		return what, "something takes connections there and does not answer as an MQTT broker: check the port, that the URL's scheme fits it (mqtts:// is with TLS), and version"
	case errors.As(err, &left):
		return what, "see the server's log"
	case errors.Is(err, errAckTimeout), errors.Is(err, errNoPong):
		return what, "the link is there and nothing comes back: check it, and the server's load; it is tried again"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection was closed from there: " + what, "if it is not back soon, see the server's log, and whether something on the way cuts connections"
	}
	return what, ""
}

// ofKeys takes mistakes in the TLS files apart, which may be several.
func ofKeys(err error) (what, remedy string) {
	each := []error{err}
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		each = all.Unwrap()
	}
	var texts, remedies []string
	for _, e := range each {
		var of *dial.KeyError
		if all, ok := e.(interface{ Unwrap() []error }); ok {
			text, r := ofKeys(errors.Join(all.Unwrap()...))
			texts, remedies = append(texts, text), append(remedies, r)
		} else if errors.As(e, &of) {
			texts, remedies = append(texts, of.Key+": "+of.Err.Error()), append(remedies, of.Remedy)
		} else {
			texts = append(texts, e.Error())
		}
	}
	remedies = slices.DeleteFunc(remedies, func(r string) bool { return r == "" })
	return strings.Join(texts, "; "), strings.Join(slices.Compact(remedies), "; ")
}
