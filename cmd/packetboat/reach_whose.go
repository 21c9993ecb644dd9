package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"packetboat/config"
	"packetboat/gateway/admin"
)

// whoseTimeout bounds asking the gateway whether a listener is its own.
const whoseTimeout = 2 * time.Second

// notTheGateways is an error when somebody answers on a listener's address, and the
// gateway says that it could not listen there: a Mosquitto that was not stopped
// would take messages that are meant for the gateway, and acknowledge them. When
// the gateway cannot be asked, there is none.
func notTheGateways(ctx context.Context, cfg *config.Config, l *config.Listener) error {
	ctx, cancel := context.WithTimeout(ctx, whoseTimeout)
	defer cancel()
	st, err := statusForAnybody(ctx, cfg)
	if err != nil {
		return nil
	}
	for _, p := range st.Problems {
		if p.Of == "listener/"+l.Address {
			return fmt.Errorf("what answers on %s is not the gateway, which cannot listen there: %s; -url %[1]s is for the other one", l.Address, p.Remedy)
		}
	}
	return nil
}

// statusForAnybody asks by the socket, and who may not use that, by HTTP where it
// is open to every account of the machine.
func statusForAnybody(ctx context.Context, cfg *config.Config) (*admin.Status, error) {
	c, err := dialGateway(ctx, cfg)
	if err == nil {
		defer c.Close()
		return c.Status(ctx)
	}
	host, _, splitErr := net.SplitHostPort(cfg.Admin.Address)
	if ip, _ := netip.ParseAddr(host); splitErr != nil || !ip.IsLoopback() || cfg.Admin.TLS.Cert != "" || len(cfg.Admin.Users) > 0 {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+cfg.Admin.Address+"/v1/status", nil)
	if err != nil {
		return nil, err
	}
	local := http.Transport{DisableKeepAlives: true} // and no proxy
	resp, err := local.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var st admin.Status
	return &st, json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&st)
}
