package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// Client talks to the gateway that listens on a socket. Its methods do what
// those of Local do.
type Client struct {
	socket string
	http   *http.Client
}

// Dial returns a client of the gateway that answers on the socket at path.
func Dial(ctx context.Context, path string) (*Client, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	c.Close()
	return &Client{socket: path, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
	}}}, nil
}

// Close lets go of the connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// do sends a request and returns the body of the reply, to be closed. An error
// that the gateway tells is returned as it says it.
func (c *Client) do(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway/v1/"+path, &b)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the gateway on %s: %w", c.socket, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var l line
	if err := json.NewDecoder(resp.Body).Decode(&l); err != nil || l.Error == "" {
		return nil, fmt.Errorf("ask the gateway on %s: %s", c.socket, resp.Status)
	}
	return nil, errors.New(l.Error)
}

func (c *Client) get(ctx context.Context, method, path string, body, into any) error {
	r, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := json.NewDecoder(r).Decode(into); err != nil {
		return fmt.Errorf("read the answer of the gateway: %w", err)
	}
	return nil
}

// Status asks how the gateway is.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	s := new(Status)
	return s, c.get(ctx, http.MethodGet, "status", nil, s)
}

// Queues is [Local.Queues].
func (c *Client) Queues(ctx context.Context) (*Queues, error) {
	q := new(Queues)
	return q, c.get(ctx, http.MethodGet, "queues", nil, q)
}

// Messages is [Local.Messages].
func (c *Client) Messages(ctx context.Context, queue string, last uint64, f func(m *Message) error) error {
	q := url.Values{"queue": {queue}, "last": {strconv.FormatUint(last, 10)}}
	return c.lines(ctx, http.MethodGet, "messages?"+q.Encode(), func(l *line) (bool, error) {
		if l.Message == nil {
			return l.End, nil
		}
		return false, f(l.Message)
	})
}

// Verify is [Local.Verify].
func (c *Client) Verify(ctx context.Context, progress func(done, total int64)) (v *Verification, err error) {
	err = c.lines(ctx, http.MethodPost, "verify", func(l *line) (bool, error) {
		if l.Progress != nil && progress != nil {
			progress(l.Progress.Done, l.Progress.Total)
		}
		v = l.Result
		return v != nil, nil
	})
	return v, err
}

// lines calls f for each line of the reply until it says that this was the last.
func (c *Client) lines(ctx context.Context, method, path string, f func(l *line) (end bool, err error)) error {
	r, err := c.do(ctx, method, path, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	for d := json.NewDecoder(r); ; {
		var l line
		if err := d.Decode(&l); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the gateway has stopped meanwhile")
			}
			return fmt.Errorf("read the answer of the gateway: %w", err)
		}
		if l.Error != "" {
			return errors.New(l.Error)
		}
		if end, err := f(&l); end || err != nil {
			return err
		}
	}
}

// Rename is [Local.Rename].
func (c *Client) Rename(ctx context.Context, from, to string) ([]string, error) {
	var a struct{ Renamed []string }
	err := c.get(ctx, http.MethodPost, "rename", map[string]string{"from": from, "to": to}, &a)
	return a.Renamed, err
}

// Purge is [Local.Purge].
func (c *Client) Purge(ctx context.Context, queue string) (uint64, error) {
	var a struct{ Purged uint64 }
	err := c.get(ctx, http.MethodPost, "purge", map[string]string{"queue": queue}, &a)
	return a.Purged, err
}

// Replay is [Local.Replay]; on an error, that says how many.
func (c *Client) Replay(ctx context.Context, queue string) (uint64, error) {
	var a struct{ Replayed uint64 }
	err := c.get(ctx, http.MethodPost, "replay", map[string]string{"queue": queue}, &a)
	return a.Replayed, err
}

// Reload has the gateway read its configuration again and act on it.
func (c *Client) Reload(ctx context.Context) (did Changes, err error) {
	return did, c.get(ctx, http.MethodPost, "reload", nil, &did)
}

// Bridges asks how the bridges that run are.
func (c *Client) Bridges(ctx context.Context) (*Bridges, error) {
	b := new(Bridges)
	return b, c.get(ctx, http.MethodGet, "bridges", nil, b)
}

// ResetBridge is [Local.ResetBridge], of a bridge that may run.
func (c *Client) ResetBridge(ctx context.Context, name string) (did Reset, err error) {
	return did, c.get(ctx, http.MethodPost, "bridges/reset", map[string]string{"bridge": name}, &did)
}
