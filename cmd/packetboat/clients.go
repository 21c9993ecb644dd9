package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"packetboat/gateway/admin"
	"packetboat/gateway/quantity"
)

const clientsHelp = `It asks the gateway that runs, by its socket (admin.socket), and lists the MQTT
clients that are connected and the sessions that others have left behind. With MATCH
only those whose client identifier, user or address has it in it. Of one client all
is shown, its subscriptions too. Waiting are the messages that the client has not
finished; in and out count publishes of its present connection.
`

const kickHelp = `The client is disconnected; MQTT 5 clients are told that an operator did it. Its
session stays, with what waits for it, and most clients connect again by themselves at
once. One that is to stay away must not be let in: packetboat passwd -delete USER
removes its user (a gateway that runs notices), or a rule keeps it from its topics.
CLIENT is the client identifier, as packetboat clients shows it.
`

func clientsCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	path := configFlag(f)
	asJSON := f.Bool("json", false, "JSON output")
	limit := f.Int("limit", 1000, "list at most `N` clients, from 1 to 20000")
	words, code, ok := e.parseWords(f, args)
	if !ok {
		return code
	}
	if len(words) > 1 || *limit < 1 || *limit > 20_000 {
		fmt.Fprintf(e.err, "packetboat clients: usage: packetboat clients %s (packetboat help clients)\n", e.cmd.args)
		return exitUsage
	}
	return e.asking(ctx, *path, func(c *admin.Client) error {
		list, err := c.Clients(ctx, strings.Join(words, ""), *limit)
		if err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(e.out).Encode(list)
		}
		return printClients(e.out, list, time.Now())
	})
}

func kickCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	path := configFlag(f)
	asJSON := f.Bool("json", false, "JSON output")
	words, code, ok := e.parseWords(f, args)
	if !ok {
		return code
	}
	if len(words) != 1 {
		fmt.Fprintf(e.err, "packetboat kick: usage: packetboat kick %s (packetboat clients lists them)\n", e.cmd.args)
		return exitUsage
	}
	return e.asking(ctx, *path, func(c *admin.Client) error {
		if err := c.Kick(ctx, words[0]); err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(e.out).Encode(map[string]bool{"kicked": true})
		}
		_, err := fmt.Fprintf(e.out, "%s was disconnected; its session stays. It may connect again by itself at once: to keep it away, remove its user (packetboat passwd -delete USER)\n", words[0])
		return err
	})
}

// printClients lists clients in a table, or shows the only one in full.
func printClients(out io.Writer, list *admin.Clients, now time.Time) error {
	if len(list.Clients) == 1 {
		return printClient(out, &list.Clients[0], now)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(list.Clients) > 0 {
		fmt.Fprintln(w, "CLIENT\tUSER\tADDRESS\tSTATE\tSUBSCRIPTIONS\tWAITING\tIN\tOUT")
	}
	for i := range list.Clients {
		c := &list.Clients[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\n", shown(c.ID), dash(shown(c.User)), dash(c.Address), clientState(c, now),
			len(c.Subscriptions)+c.More, c.Waiting, c.MessagesIn, c.MessagesOut)
	}
	err := w.Flush()
	switch n := list.Total - len(list.Clients); {
	case list.Total == 0:
		fmt.Fprintln(out, "no client is connected, and no session waits for one (or none that matches)")
	case n > 0:
		fmt.Fprintf(out, "and %d more: -limit, or give a part of their names\n", n)
	}
	return err
}

func printClient(out io.Writer, c *admin.ClientDetails, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "client\t%s\nuser\t%s\nstate\t%s\n", shown(c.ID), dash(shown(c.User)), clientState(c, now))
	if c.Online {
		fmt.Fprintf(w, "connection\t%s from %s, by %s on %s, keep alive %s\n", c.Protocol, c.Address, c.Transport, c.Listener, quantity.Seconds(c.KeepAlive))
	}
	fmt.Fprintf(w, "session\tkept for %s without the client\n", quantity.Seconds(c.SessionExpiry))
	fmt.Fprintf(w, "waiting\t%s, %d of them in flight\n", quantity.Count(c.Waiting, "message", "messages"), c.InFlight)
	fmt.Fprintf(w, "in\t%s, %s\nout\t%s, %s\n", quantity.Count(c.MessagesIn, "message", "messages"), quantity.Bytes(c.BytesIn),
		quantity.Count(c.MessagesOut, "message", "messages"), quantity.Bytes(c.BytesOut))
	for i, s := range c.Subscriptions {
		name := ""
		if i == 0 {
			name = "subscriptions"
		}
		fmt.Fprintf(w, "%s\t%s at QoS %d\n", name, shown(s.Filter), s.QoS)
	}
	if c.More > 0 {
		fmt.Fprintf(w, "\tand %d more\n", c.More)
	}
	return w.Flush()
}

func clientState(c *admin.ClientDetails, now time.Time) string {
	if c.Online {
		return fmt.Sprintf("online for %s", ago(now, c.Connected))
	}
	return fmt.Sprintf("offline for %s", ago(now, c.Disconnected))
}

// shown is a name that a client has chosen, fit for a terminal.
func shown(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, name)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
