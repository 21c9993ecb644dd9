package mosquitto

import (
	"fmt"
	"net"
	"strings"
	"unicode"

	"packetboat/broker/topic"
)

// bridge is a connection of Mosquitto.
type bridge struct {
	at                       option // connection
	addresses                []string
	topics                   []option
	clientID, user, password option
	ca, capath, cert, key    option
	alpn, psk, identity      option
	version                  option
	notifications, topicAt   option
	start, restart           option
	retain, keepAlive        option
	source, clean, insecure  option
}

// ofBridge takes options of the bridge that the lines before have begun.
func (im *importer) ofBridge(o option) bool {
	if o.key == "connection" {
		im.bridges = append(im.bridges, &bridge{at: o})
		return true
	}
	b := new(bridge)
	if len(im.bridges) > 0 {
		b = im.bridges[len(im.bridges)-1]
	}
	slot := map[string]*option{
		"clientid": &b.clientID, "remote_clientid": &b.clientID,
		"username": &b.user, "remote_username": &b.user,
		"password": &b.password, "remote_password": &b.password,
		"bridge_cafile": &b.ca, "bridge_capath": &b.capath, "bridge_certfile": &b.cert, "bridge_keyfile": &b.key,
		"bridge_alpn": &b.alpn, "bridge_psk": &b.psk, "bridge_identity": &b.identity, "bridge_insecure": &b.insecure,
		"bridge_protocol_version": &b.version, "bridge_outgoing_retain": &b.retain, "bridge_bind_address": &b.source,
		"notifications": &b.notifications, "notification_topic": &b.topicAt,
		"start_type": &b.start, "restart_timeout": &b.restart, "keepalive_interval": &b.keepAlive, "cleansession": &b.clean,
	}[o.key]
	switch {
	case slot != nil:
		*slot = o
	case o.key == "address" || o.key == "addresses":
		for _, a := range strings.Fields(o.value) {
			if host, port := hostPort(a); host == "" || !isPort(port) || strings.ContainsFunc(host, notInHost) {
				im.lost(o, a+" is no address[:port]; it was left out")
				continue
			}
			b.addresses = append(b.addresses, a)
		}
	case o.key == "topic":
		b.topics = append(b.topics, o)
	case o.key == "idle_timeout" || o.key == "threshold":
		im.notNeeded(o, "it is about start_type lazy; a bridge is connected all the time")
	default:
		return false
	}
	if len(im.bridges) == 0 {
		im.lost(o, "it stands before any connection line; it was left out")
	}
	return true
}

// writeBridges writes one section for each connection.
func (im *importer) writeBridges() {
	names := map[string]bool{}
	for _, b := range im.bridges {
		if len(b.addresses) == 0 || len(b.topics) == 0 {
			im.lost(b.at, "it has no address or no topic, with which Mosquitto does not start; it was left out")
			continue
		}
		rules := im.rulesOf(b)
		if len(rules) == 0 {
			im.lost(b.at, "none of its topic lines could be carried over, so it was left out")
			continue
		}
		im.writeBridge(b, im.nameOf(b, names), rules)
	}
}

// nameOf gives the bridge a name that is one level of a topic, and its own.
func (im *importer) nameOf(b *bridge, taken map[string]bool) string {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("/+#{}", r) || unicode.IsSpace(r) {
			return '-'
		}
		return r
	}, b.at.value)
	if name == "" {
		name = "bridge"
	}
	whole := name
	for n := 2; taken[whole]; n++ {
		whole = fmt.Sprintf("%s-%d", name, n)
	}
	taken[whole] = true
	if whole != b.at.value {
		im.changed(b.at, "the bridge is called "+whole+": its name is one level of topics")
	}
	return whole
}

// profileOf knows a service by its host.
func (b *bridge) profileOf() string {
	host, _ := hostPort(b.addresses[0])
	host = strings.ToLower(host)
	switch {
	case strings.HasSuffix(host, ".amazonaws.com") && strings.Contains(host, ".iot."):
		return "aws-iot"
	case strings.HasSuffix(host, ".azure-devices.net"):
		return "azure-iot-hub"
	}
	return ""
}

// hostPort cuts Mosquitto's address[:port].
func hostPort(address string) (host, port string) {
	i := strings.LastIndexByte(address, ':')
	if i < 0 || strings.HasSuffix(address, "]") {
		return strings.Trim(address, "[]"), "1883"
	}
	return strings.Trim(address[:i], "[]"), address[i+1:]
}

// notInHost: not of a host name or an IP address.
func notInHost(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._:%", r)
}

func (im *importer) writeBridge(b *bridge, name string, rules []rule) {
	d := &im.doc
	d.section("[[bridge]]", b.at.at())
	d.str("name", name)
	im.writeStart(b)
	profile := b.profileOf()
	if profile != "" {
		d.str("profile", profile)
	}
	secure := b.ca.set() || b.capath.set()
	scheme := "mqtt://"
	if secure {
		scheme = "mqtts://"
	}
	var servers []string
	for _, a := range b.addresses {
		servers = append(servers, scheme+net.JoinHostPort(hostPort(a)))
	}
	d.set("servers", list(servers))
	im.writeVersion(b, profile)
	im.writeIdentity(b, name)
	im.writePace(b, profile)
	im.writePresence(b)
	if secure {
		im.writeBridgeTLS(b, name)
	}
	for _, r := range rules {
		r.write(d)
	}
}

// writeStart tells how a bridge starts, and leaves one out that cannot.
func (im *importer) writeStart(b *bridge) {
	switch b.start.value {
	case "", "automatic":
		if b.start.set() {
			im.notNeeded(b.start, "it is so here")
		}
	case "lazy":
		im.lost(b.start, "the bridge is connected all the time")
	case "once":
		im.lost(b.start, "the bridge connects again after each loss")
	default:
		im.lost(b.start, "the bridge is connected all the time; enabled = false keeps it away")
	}
	if b.psk.set() || b.identity.set() {
		at := b.psk
		if !at.set() {
			at = b.identity
		}
		im.lost(at, "there is no TLS with pre-shared keys, so the bridge is not enabled; use certificates")
		im.doc.set("enabled", "false")
	}
}

func (im *importer) writeVersion(b *bridge, profile string) {
	d := &im.doc
	switch b.version.value {
	case "mqttv50":
		if profile == "azure-iot-hub" {
			im.lost(b.version, "the hub speaks 3.1.1 only")
			d.set("version", `"3.1.1"`)
			return
		}
		d.set("version", "5")
	case "mqttv31":
		im.lost(b.version, "a bridge speaks MQTT 5 or 3.1.1")
		d.set("version", `"3.1.1"`)
	default:
		if profile == "azure-iot-hub" {
			d.set("version", `"3.1.1"`)
			return
		}
		d.remark("version", `"3.1.1"`, "as Mosquitto had it; 5, if the cloud has it, tells more: why a message is refused, when it was received")
	}
}

// writeIdentity writes as whom a bridge comes.
func (im *importer) writeIdentity(b *bridge, name string) {
	d := &im.doc
	id := b.clientID.value
	if id == "" {
		id = b.at.value + "." + im.opt.Hostname
	}
	d.str("client_id", literal(id))
	if b.user.set() {
		d.str("username", b.user.value)
	}
	if !b.password.set() {
		return
	}
	if !b.user.set() {
		im.notNeeded(b.password, "without a user name Mosquitto does not send it")
		return
	}
	d.str("password_file", im.secret(strings.TrimPrefix(name, ".")+".password", []byte(b.password.value+"\n")))
	if b.profileOf() == "azure-iot-hub" {
		im.changed(b.password, "a token expires; give the key of the device in token_key_file, in place of username and password_file, and tokens are made from it")
	}
}

// writePace writes times.
func (im *importer) writePace(b *bridge, profile string) {
	d := &im.doc
	keep := 60
	if b.keepAlive.set() {
		n, ok := b.keepAlive.int()
		if !ok || n < 1 || n > 65535 {
			im.lost(b.keepAlive, "is no number of seconds; it was left out")
			n = 60
		}
		keep = n
	}
	least, most := 1, 65535
	switch profile {
	case "aws-iot":
		least, most = 30, 1200
	case "azure-iot-hub":
		most = 1177
	}
	if bound := min(max(keep, least), most); bound != keep {
		im.changed(b.keepAlive, fmt.Sprintf("%s takes %ds to %ds", profile, least, most))
		keep = bound
	}
	d.set("keep_alive", fmt.Sprintf(`"%ds"`, keep))
	if b.restart.set() {
		im.writeBackoff(b.restart)
	}
	if b.source.set() {
		d.str("source", b.source.value)
	}
	if v, _ := b.clean.bool(); v {
		im.changed(b.clean, "a session is kept at the cloud always: it is what QoS 2 and commands rest on")
	}
}

func (im *importer) writeBackoff(o option) {
	fields := strings.Fields(o.value)
	var n []int
	for _, f := range fields {
		v, ok := option{value: f}.int()
		if !ok || v < 1 || v > 1<<24 {
			im.lost(o, "must be one or two numbers of seconds from 1; it was left out")
			return
		}
		n = append(n, v)
	}
	switch {
	case len(n) == 1:
		n = append(n, n[0])
	case len(n) != 2 || n[1] < n[0]:
		im.lost(o, "must be one number of seconds, or a base and a larger cap; it was left out")
		return
	}
	im.doc.set("backoff", fmt.Sprintf(`{ min = "%ds", max = "%ds" }`, n[0], n[1]))
}

// writePresence writes the topic at the cloud that says whether the bridge is there.
func (im *importer) writePresence(b *bridge) {
	d := &im.doc
	why := `"{gateway}/status": tells there that the gateway is online, if it may publish to it`
	off, said := b.notifications.bool()
	off = said && !off
	switch {
	case b.topicAt.set() && !off && !strings.HasPrefix(b.topicAt.value, "$SYS/") && topic.ValidName(b.topicAt.value):
		d.str("status", literal(b.topicAt.value))
		im.changed(b.topicAt, "it says online and offline in place of 1 and 0, and only at the cloud; packetboat status and the API tell it locally")
	default:
		d.remark("status", `""`, why)
		at := b.notifications
		if b.topicAt.set() {
			at = b.topicAt
		}
		if at.set() && !off {
			im.lost(at, "nothing is published below $SYS; status names a topic at the cloud, packetboat status and the API tell it locally")
		} else if at.set() {
			im.notNeeded(at, "nothing is told at the cloud unless status and gaps say where")
		}
	}
	d.remark("gaps", `""`, `"{gateway}/gaps": tells there which messages were lost, and why`)
}

func (im *importer) writeBridgeTLS(b *bridge, name string) {
	d := &im.doc
	ca := im.authorities(b.ca, b.capath, name+"-ca")
	if b.capath.set() && ca == "" {
		im.notNeeded(b.capath, "the system's authorities count where no others are named")
	}
	if v, _ := b.insecure.bool(); v {
		im.lost(b.insecure, "the server's certificate is always verified; when it is for another name than the address, give that in server_name")
	}
	d.raw("[bridge.tls]")
	if ca != "" {
		d.str("ca", ca)
	}
	if b.cert.set() {
		d.str("cert", b.cert.value)
	}
	if b.key.set() {
		d.str("key", b.key.value)
	}
	if b.alpn.set() {
		d.set("alpn", list([]string{b.alpn.value}))
	}
}
