package bridge

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"packetboat/broker"
	"packetboat/broker/store"
)

// The session at the cloud is durable state of ours: packet identifiers that
// the cloud remembers (QoS 2, both directions) mean something only together
// with what our queue remembers. The record below says with whom.
//
//	Rule 1. A session is resumed (Clean Start 0) only where the record says
//	that it was last live: same server, same client id. Anywhere else there may
//	be an old session of ours that still holds identifiers; it would take new
//	messages for repeats and swallow them. So CONNECT is clean once.
//	Rule 2. The record is written after CONNACK, never before CONNECT: if it
//	came first and the gateway died before the server had seen the clean
//	CONNECT, the next life would resume that old session.
//	Rule 3. Nothing is sent on a new session, and nothing from it is taken,
//	before its record is durable: else the next life would clean it again, and
//	QoS 2 messages of which the cloud held the identifiers would arrive twice.
//	Rule 4. When the server has no session (Session Present 0, whatever the
//	reason), identifiers of the old one are worthless: all that is not finished
//	is sent as new, and those received from it are forgotten. What was released
//	goes again as well: a server may hand a QoS 2 message on only when PUBREL
//	comes, and the session that would have taken PUBREL is gone, or is at a
//	server that we have left. The first step is staged in the log before the
//	record, the second behind it (the log is durable in order), and nothing is
//	sent or subscribed to before all are durable.
//
//	Rule 5. A session is not used on the connection that made it: DISCONNECT,
//	and CONNECT again with Clean Start 0. Some servers (Mosquitto 2.0) take
//	Clean Start for the clean session of MQTT 3.1.1 and do not save the session
//	while the connection lasts, so that their restart would lose it.
//
//	Rule 6. The cloud knows a session by its client id only. A bridge that begins
//	one deletes the records of other bridges that name the same server and client
//	id: theirs has ended with it. One that comes back under its old name would else
//	resume a session whose identifiers another one has used.
//
//	Rule 7. For a lane that the store does not know, the record is deleted
//	before the lane is made. Its packet identifiers begin anew, so a session of
//	an earlier lane of that name (one that a damaged disk has lost, say) would
//	swallow its first messages.
//
// A crash at any moment, and what the next life does:
//
//	before CONNECT is processed      the record is the old one. Nothing changed.
//	between CONNACK and the record   the record is the old one (or none). If it names
//	                                 another server, that session is as it was, because
//	                                 nothing was finished by rule 4 without the record
//	                                 being durable first. The one just made is empty; it
//	                                 is cleaned again when its turn comes.
//	released ones to go as new,      the old session is resumed, and gets PUBLISH for what
//	record not durable               was released in it: repeats to it, unless PUBREL had
//	                                 arrived; then they arrive twice, a window at most.
//	record durable, the forgetting   the new session is resumed. All goes with DUP, which a
//	not                              server that does not know the identifier takes as new.
//	Session Present 0 on a resume,   the server's session is new, ours old: outgoing as in
//	before the forgetting is         the line above. Incoming: the new session has no
//	durable                          subscription yet (SUBSCRIBE waits, rule 4), so it holds
//	                                 no message that an old identifier could swallow.
//	any time later                   resumed, with Session Present 1: exactly once.
//
// Not covered: a server that subscribes clients by itself and sends QoS 2 in
// the few milliseconds of the line before the last; what is released in these
// milliseconds, if the gateway dies in them after the server has lost the session
// and it hands on with PUBREL (the next life sees Session Present 1 and cannot know
// of the change); and a data directory that was restored from a backup, which only
// `bridge reset` can know about.
type upstream struct {
	Server     string `json:"server"` // host:port; "*" when the servers share their sessions
	ClientID   string `json:"client_id"`
	Generation uint64 `json:"generation"` // sessions begun

	// At is the address at which it was begun; "" in records of earlier versions.
	At string `json:"at,omitempty"`

	// Filters are what the session is subscribed to at most, so that what the
	// rules no longer name can be unsubscribed.
	Filters []string `json:"filters,omitempty"`

	// Granted are those that an MQTT 3.1.1 session is known to have: QoS, space,
	// filter.
	Granted []string `json:"granted,omitempty"`
}

// SessionKey is the store's key of a bridge's record of its upstream session.
// Deleting it makes the next connection start clean.
func SessionKey(bridge string) string { return store.Key("upstream", bridge) }

// sharedServers stands in the record for any of servers that are one cluster.
const sharedServers = "*"

// loadUpstream reads the record; without one, or with one that cannot be read,
// it is empty and fits no server.
func (b *Bridge) loadUpstream() upstream {
	var u upstream
	raw, ok := b.store.Get(SessionKey(b.cfg.Name))
	if !ok {
		return u
	}
	if err := json.Unmarshal(raw, &u); err != nil {
		b.log.Warn("the record of the upstream session cannot be read; starting a new session", "error", err)
		return upstream{}
	}
	return u
}

// forgetUpstreamOfNewLanes is rule 7.
func (b *Bridge) forgetUpstreamOfNewLanes() {
	for i := range lanes {
		if b.store.Lookup(broker.LaneName(b.origin, i)) == nil {
			b.store.Delete(SessionKey(b.cfg.Name))
			return
		}
	}
}

// forgetOthers is rule 6; u is the session that this bridge begins.
func (b *Bridge) forgetOthers(u upstream) (after store.Receipt) {
	for _, name := range b.store.Consumers() {
		bridge, isLane := strings.CutPrefix(strings.TrimSuffix(name, "/0"), "bridge/")
		if !isLane || bridge == b.cfg.Name || !strings.HasSuffix(name, "/0") {
			continue
		}
		raw, ok := b.store.Get(SessionKey(bridge))
		var other upstream
		if !ok || json.Unmarshal(raw, &other) != nil || other.ClientID != u.ClientID || other.at() != u.at() {
			continue
		}
		b.log.Info("another bridge had this session of the cloud; it begins a new one when it connects again", "other", bridge, "server", u.At, "client_id", u.ClientID)
		after = after.After(b.store.Delete(SessionKey(bridge)))
	}
	return after
}

// at is the address where the session was begun, as far as the record tells.
func (u *upstream) at() string { return cmp.Or(u.At, u.Server) }

// saveUpstream stages the record.
func (b *Bridge) saveUpstream(u upstream) store.Receipt {
	raw, err := json.Marshal(u)
	if err != nil { // strings and numbers always can
		panic(fmt.Sprintf("encode the upstream session: %v", err))
	}
	return b.store.Set(SessionKey(b.cfg.Name), raw)
}

// fits reports whether the session may be resumed there.
func (u *upstream) fits(server, clientID string) bool {
	return u.Generation > 0 && u.Server == server && u.ClientID == clientID
}

// stale are the filters that the session may hold and the rules do not name.
func (u *upstream) stale(r *rules) []string {
	var stale []string
	for _, f := range u.Filters {
		if !slices.ContainsFunc(r.down, func(d downRule) bool { return d.subscribe == f }) {
			stale = append(stale, f)
		}
	}
	return stale
}

func (u *upstream) add(filter string) {
	if !slices.Contains(u.Filters, filter) {
		u.Filters = append(u.Filters, filter)
	}
}

func (u *upstream) remove(filters []string) {
	u.Filters = slices.DeleteFunc(u.Filters, func(f string) bool { return slices.Contains(filters, f) })
	u.Granted = slices.DeleteFunc(u.Granted, func(g string) bool { return slices.Contains(filters, g[2:]) })
}
