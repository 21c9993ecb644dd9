package e2e

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsCluster is a cluster of NATS servers with JetStream, in this process, as
// the cloud: each takes MQTT 3.1.1 clients, and all keep what they are sent.
type natsCluster struct {
	t     *testing.T
	nodes []*natsNode
}

// natsNode is one server of it. It keeps its addresses and its store over
// restarts.
type natsNode struct {
	*server.Server
	name  string
	mqtt  string // address of the MQTT listener
	route string // address for the other nodes
	store string // directory
}

// The streams in which NATS keeps what comes and goes by MQTT.
var natsStreams = []string{natsMessages, "$MQTT_sess", "$MQTT_qos2in", "$MQTT_out", "$MQTT_rmsgs"}

const (
	natsMessages = "$MQTT_msgs" // on their way to subscribers
	natsAccount  = "$G"         // the one without a name
)

// newNATSCluster starts the servers, and returns when they are one cluster.
func newNATSCluster(t *testing.T, size int) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t}
	dir := t.TempDir()
	for i := range size {
		name := fmt.Sprintf("node-%d", i+1)
		c.nodes = append(c.nodes, &natsNode{
			name: name, mqtt: freePort(t), route: freePort(t), store: filepath.Join(dir, name),
		})
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.Shutdown()
			n.WaitForShutdown()
		}
	})
	for i := range c.nodes {
		c.start(i)
	}
	await(t, patience, "the cluster has a leader that knows all", func() bool {
		for _, n := range c.nodes {
			if n.JetStreamIsLeader() && len(n.JetStreamClusterPeers()) == size {
				return true
			}
		}
		return false
	})
	return c
}

// start starts a server, which then joins the others.
func (c *natsCluster) start(i int) {
	c.t.Helper()
	n := c.nodes[i]
	opts := &server.Options{
		ServerName: n.name, Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: n.store,
	}
	opts.Cluster.Name = "cloud"
	opts.Cluster.Host, opts.Cluster.Port = split(c.t, n.route)
	opts.MQTT.Host, opts.MQTT.Port = split(c.t, n.mqtt)
	opts.MQTT.StreamReplicas = len(c.nodes)
	opts.MQTT.AckWait = 5 * time.Second // 30 s unless told otherwise: what was in flight when a node went waits so long
	for _, other := range c.nodes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: other.route})
	}
	s, err := server.NewServer(opts)
	if err != nil {
		c.t.Fatalf("make NATS server %s: %v", n.name, err)
	}
	n.Server = s
	s.Start()
	if !s.ReadyForConnections(patience) {
		c.t.Fatalf("NATS server %s does not start", n.name)
	}
}

// stop ends a server: its clients are cut off, and what it leads goes to others.
func (c *natsCluster) stop(i int) {
	c.nodes[i].Shutdown()
	c.nodes[i].WaitForShutdown()
}

// awaitCurrent returns when a server that has come back has all that the others
// have, so that one of them may go.
func (c *natsCluster) awaitCurrent(i int) {
	c.t.Helper()
	n := c.nodes[i]
	await(c.t, patience, n.name+" has caught up", func() bool {
		if !n.JetStreamIsCurrent() {
			return false
		}
		for _, s := range natsStreams {
			if !n.JetStreamIsStreamCurrent(natsAccount, s) {
				return false
			}
		}
		return true
	})
}

// waiting is how many messages a server knows to wait for MQTT subscribers, as
// far as it can say; else more than any.
func (n *natsNode) waiting() uint64 {
	all, err := n.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return math.MaxUint64
	}
	for _, a := range all.AccountDetails {
		for _, s := range a.Streams {
			if a.Name == natsAccount && s.Name == natsMessages {
				return s.State.Msgs
			}
		}
	}
	return math.MaxUint64
}

// urls are the servers for a bridge's configuration.
func (c *natsCluster) urls() string {
	var list []string
	for _, n := range c.nodes {
		list = append(list, fmt.Sprintf("%q", "mqtt://"+n.mqtt))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func split(t *testing.T, address string) (host string, port int) {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return a.IP.String(), a.Port
}
