package e2e

import (
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// httpProxy hands connections on to whom CONNECT names, for those who log in.
type httpProxy struct {
	address string
	login   string // Proxy-Authorization

	mu     sync.Mutex
	served map[string][]string // clients' addresses, by whom they were connected to
	open   []net.Conn
	over   bool
	copies sync.WaitGroup
}

func newHTTPProxy(t *testing.T, user, password string) *httpProxy {
	t.Helper()
	p := &httpProxy{
		login:  "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)),
		served: map[string][]string{},
	}
	s := httptest.NewServer(p)
	p.address = s.Listener.Addr().String()
	t.Cleanup(func() {
		p.mu.Lock()
		p.over = true
		for _, c := range p.open {
			c.Close()
		}
		p.mu.Unlock()
		s.Close()
		p.copies.Wait()
	})
	return p
}

// ServeHTTP serves CONNECT.
func (p *httpProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
		return
	}
	if r.Header.Get("Proxy-Authorization") != p.login {
		w.Header().Set("Proxy-Authenticate", `Basic realm="plant"`)
		http.Error(w, "who are you?", http.StatusProxyAuthRequired)
		return
	}
	to, err := net.Dial("tcp", r.Host)
	if err != nil {
		http.Error(w, "it does not answer", http.StatusBadGateway)
		return
	}
	from, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		to.Close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open = append(p.open, to, from); p.over {
		to.Close()
		from.Close()
		return
	}
	p.served[r.Host] = append(p.served[r.Host], from.RemoteAddr().String())
	_, _ = io.WriteString(from, "HTTP/1.1 200 Connection established\r\n\r\n") // the copies notice
	for _, way := range [][2]net.Conn{{to, from}, {from, to}} {
		p.copies.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // any end is the end of both
			to.Close()
			from.Close()
		})
	}
}

// clients are the addresses of those that were connected to a server.
func (p *httpProxy) clients(server string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.served[server]...)
}
