package admin

import (
	"time"

	"packetboat/adapters"
	"packetboat/bridge"
	"packetboat/broker"
	"packetboat/broker/store"
	"packetboat/broker/users"
)

// number is what is counted, as Prometheus has it.
func number[N int | int64 | uint64](n N) float64 { return float64(n) }

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

var gatewayRows = []row[Sources]{
	{"packetboat_info", "Always 1; its labels tell the gateway.", func(*Sources) float64 { return 1 }},
}

var brokerRows = []row[broker.Stats]{
	{"packetboat_broker_connections", "Connections that are open.", func(s *broker.Stats) float64 { return number(s.Connections) }},
	{"packetboat_broker_clients", "Clients that are connected.", func(s *broker.Stats) float64 { return number(s.Online) }},
	{"packetboat_broker_parked_publishes", "Publishes of MQTT 3.1.1 clients that wait for room in the queue.", func(s *broker.Stats) float64 { return number(s.Parked) }},
	{"packetboat_broker_sessions", "Sessions, connected or persistent.", func(s *broker.Stats) float64 { return number(s.Sessions) }},
	{"packetboat_broker_subscriptions", "Subscriptions of clients, bridges and adapters.", func(s *broker.Stats) float64 { return number(s.Subscriptions) }},
	{"packetboat_broker_retained_messages", "Retained messages.", func(s *broker.Stats) float64 { return number(s.Retained) }},
	{"packetboat_broker_retained_bytes", "Bytes of retained messages.", func(s *broker.Stats) float64 { return number(s.RetainedBytes) }},
	{"packetboat_broker_sockets_total", "Connections that were accepted.", func(s *broker.Stats) float64 { return number(s.Sockets) }},
	{"packetboat_broker_connects_total", "Clients that were let in.", func(s *broker.Stats) float64 { return number(s.Connects) }},
	{"packetboat_broker_sessions_expired_total", "Sessions whose client did not come back.", func(s *broker.Stats) float64 { return number(s.SessionsExpired) }},
	{"packetboat_broker_received_bytes_total", "Bytes received from clients.", func(s *broker.Stats) float64 { return number(s.BytesReceived) }},
	{"packetboat_broker_sent_bytes_total", "Bytes sent to clients.", func(s *broker.Stats) float64 { return number(s.BytesSent) }},
	{"packetboat_broker_received_packets_total", "MQTT packets received from clients.", func(s *broker.Stats) float64 { return number(s.PacketsReceived) }},
	{"packetboat_broker_sent_packets_total", "MQTT packets sent to clients.", func(s *broker.Stats) float64 { return number(s.PacketsSent) }},
	{"packetboat_broker_received_messages_total", "Publishes received from clients.", func(s *broker.Stats) float64 { return number(s.PublishReceived) }},
	{"packetboat_broker_sent_messages_total", "Publishes sent to clients.", func(s *broker.Stats) float64 { return number(s.PublishSent) }},
	{"packetboat_broker_refused_messages_total", "Publishes that the queue did not take.", func(s *broker.Stats) float64 { return number(s.Refused) }},
	{"packetboat_broker_unrouted_messages_total", "Publishes that nobody subscribed to.", func(s *broker.Stats) float64 { return number(s.Unrouted) }},
	{"packetboat_broker_denied_messages_total", "Publishes and wills that the access rules did not allow.", func(s *broker.Stats) float64 { return number(s.Denied) }},
	{"packetboat_broker_withheld_messages_total", "Queued deliveries that the access rules did not allow any more.", func(s *broker.Stats) float64 { return number(s.Withheld) }},
	{"packetboat_broker_too_large_messages_total", "Deliveries above a client's maximum packet size.", func(s *broker.Stats) float64 { return number(s.TooLarge) }},
	{"packetboat_broker_dropped_qos0_messages_total", "Deliveries at QoS 0 that found no room.", func(s *broker.Stats) float64 { return number(s.DroppedQoS0) }},
	{"packetboat_broker_expired_messages_total", "Deliveries that expired before a slow client took them.", func(s *broker.Stats) float64 { return number(s.Expired) }},
	{"packetboat_broker_not_retained_messages_total", "Messages that were not retained, as there are too many.", func(s *broker.Stats) float64 { return number(s.NotRetained) }},
	{"packetboat_broker_cut_clients_total", "Slow subscribers that were disconnected.", func(s *broker.Stats) float64 { return number(s.Cut) }},
}

var loginRows = []row[users.Stats]{
	{"packetboat_users", "Users in the file.", func(s *users.Stats) float64 { return number(s.Users) }},
	{"packetboat_logins_right_total", "Logins with the right password, by MQTT and HTTP.", func(s *users.Stats) float64 { return number(s.Right) }},
	{"packetboat_logins_failed_total", "Logins with a wrong name or password.", func(s *users.Stats) float64 { return number(s.Failed) }},
	{"packetboat_logins_refused_total", "Logins from addresses that failed too often.", func(s *users.Stats) float64 { return number(s.Refused) }},
	{"packetboat_logins_busy_total", "Logins that were told to come later.", func(s *users.Stats) float64 { return number(s.Busy) }},
	{"packetboat_logins_hashes_total", "Passwords whose hash was computed.", func(s *users.Stats) float64 { return number(s.Hashes) }},
}

// storeState is the disk queue.
type storeState struct {
	store.Stats
	failed bool
}

var storeRows = []row[storeState]{
	{"packetboat_disk_failed", "1 while the disk queue takes no writes.", func(s *storeState) float64 { return truth(s.failed) }},
	{"packetboat_disk_bytes", "Bytes of all files of the disk queue.", func(s *storeState) float64 { return number(s.DiskBytes) }},
	{"packetboat_disk_segments", "Files of the log.", func(s *storeState) float64 { return number(s.Segments) }},
	{"packetboat_disk_staged_bytes", "Bytes that wait for the next commit.", func(s *storeState) float64 { return number(s.Staged) }},
	{"packetboat_disk_slowest_sync_seconds", "The slowest sync since the start.", func(s *storeState) float64 { return s.Slowest.Seconds() }},
	{"packetboat_disk_damaged_places", "Places of the log that could not be read at the start.", func(s *storeState) float64 { return number(len(s.Damage)) }},
	{"packetboat_disk_messages_total", "Messages that were queued.", func(s *storeState) float64 { return number(s.Messages) }},
	{"packetboat_disk_commits_total", "Commits, each with one sync.", func(s *storeState) float64 { return number(s.Commits) }},
	{"packetboat_disk_committed_bytes_total", "Bytes written by commits.", func(s *storeState) float64 { return number(s.Bytes) }},
	{"packetboat_disk_written_bytes_total", "Bytes written to all files: commits, snapshots, spare files.", func(s *storeState) float64 { return number(s.Written) }},
	{"packetboat_disk_syncs_total", "Syncs of all files and of the directory.", func(s *storeState) float64 { return number(s.Syncs) }},
	{"packetboat_disk_ledger_errors_total", "Ledgers that were wrong and were put right.", func(s *storeState) float64 { return number(s.LedgerErrors) }},
}

var wearRows = []row[Wear]{
	{"packetboat_disk_written_today_bytes", "Bytes written to all files today, also before the last start.", func(w *Wear) float64 { return number(w.Today) }},
	{"packetboat_disk_write_budget_bytes", "queue.write_budget, 0 = none.", func(w *Wear) float64 { return number(w.Budget) }},
}

var queueRows = []row[store.Lag]{
	{"packetboat_queue_messages", "Messages that wait.", func(l *store.Lag) float64 { return number(l.Messages) }},
	{"packetboat_queue_bytes", "Bytes of them, about.", func(l *store.Lag) float64 { return number(l.Bytes) }},
	{"packetboat_queue_oldest_seconds", "Age of the oldest of them.", func(l *store.Lag) float64 { return l.Oldest.Seconds() }},
	{"packetboat_queue_accepted_total", "Messages that were queued: delivered + waiting + lost.", func(l *store.Lag) float64 { return number(l.Accepted) }},
	{"packetboat_queue_delivered_total", "Messages that were delivered.", func(l *store.Lag) float64 { return number(l.Delivered) }},
}

func lossRow(n uint64) []row[store.Lag] {
	return []row[store.Lag]{{"packetboat_queue_lost_total", "Messages that were not delivered, by reason.", func(*store.Lag) float64 { return number(n) }}}
}

// bridgeState is a bridge.
type bridgeState struct {
	bridge.Stats
	state bridge.State
	dead  uint64
}

var bridgeRows = []row[bridgeState]{
	{"packetboat_bridge_online", "1 while messages can go to the cloud.", func(s *bridgeState) float64 { return truth(s.state.Phase == bridge.Online) }},
	{"packetboat_bridge_since_timestamp_seconds", "When it began to be as it is.", func(s *bridgeState) float64 { return seconds(s.state.Since) }},
	{"packetboat_bridge_in_flight_messages", "Messages sent and not finished.", func(s *bridgeState) float64 { return number(s.InFlight) }},
	{"packetboat_bridge_dead_letters", "Messages that the cloud would not take, kept.", func(s *bridgeState) float64 { return number(s.dead) }},
	{"packetboat_bridge_sent_messages_total", "Publishes to the cloud, repeated ones included.", func(s *bridgeState) float64 { return number(s.Sent) }},
	{"packetboat_bridge_resent_messages_total", "Publishes to the cloud that were repeated.", func(s *bridgeState) float64 { return number(s.Resent) }},
	{"packetboat_bridge_acked_messages_total", "Messages that the cloud has confirmed.", func(s *bridgeState) float64 { return number(s.Acked) }},
	{"packetboat_bridge_unstamped_messages_total", "Payloads that could not take the stamp.", func(s *bridgeState) float64 { return number(s.Unstamped) }},
	{"packetboat_bridge_received_messages_total", "Publishes from the cloud.", func(s *bridgeState) float64 { return number(s.Received) }},
	{"packetboat_bridge_unmatched_messages_total", "Publishes from the cloud that no rule took.", func(s *bridgeState) float64 { return number(s.Unmatched) }},
	{"packetboat_bridge_looped_messages_total", "Publishes from the cloud that came from here.", func(s *bridgeState) float64 { return number(s.Looped) }},
	{"packetboat_bridge_connects_total", "Connections that the cloud has accepted.", func(s *bridgeState) float64 { return number(s.Connects) }},
	{"packetboat_bridge_sessions_lost_total", "Connections at which the cloud had forgotten the session.", func(s *bridgeState) float64 { return number(s.SessionsLost) }},
	{"packetboat_bridge_sent_bytes_total", "Bytes sent to the cloud.", func(s *bridgeState) float64 { return number(s.BytesOut) }},
	{"packetboat_bridge_received_bytes_total", "Bytes received from the cloud.", func(s *bridgeState) float64 { return number(s.BytesIn) }},
}

var adapterRows = []row[adapters.Stats]{
	{"packetboat_adapter_ready", "1 while the port is open, or devices can connect.", func(s *adapters.Stats) float64 { return truth(s.Ready) }},
	{"packetboat_adapter_links", "Links to devices that are open.", func(s *adapters.Stats) float64 { return number(s.Open) }},
	{"packetboat_adapter_paused_links", "Links that are not read, since the queue takes nothing.", func(s *adapters.Stats) float64 { return number(s.Paused) }},
	{"packetboat_adapter_last_frame_timestamp_seconds", "When the last frame came; 0: none yet.", func(s *adapters.Stats) float64 { return seconds(s.LastFrame) }},
	{"packetboat_adapter_commands_waiting", "Commands that were not written yet.", func(s *adapters.Stats) float64 { return number(s.CommandsWaiting) }},
	{"packetboat_adapter_links_opened_total", "Links that were opened.", func(s *adapters.Stats) float64 { return number(s.Opened) }},
	{"packetboat_adapter_links_refused_total", "Connections that were not served.", func(s *adapters.Stats) float64 { return number(s.Refused) }},
	{"packetboat_adapter_read_bytes_total", "Bytes read.", func(s *adapters.Stats) float64 { return number(s.Frame.Bytes) }},
	{"packetboat_adapter_discarded_bytes_total", "Bytes that made no frame.", func(s *adapters.Stats) float64 { return number(s.Frame.Discarded) }},
	{"packetboat_adapter_frames_total", "Frames.", func(s *adapters.Stats) float64 { return number(s.Frame.Frames) }},
	{"packetboat_adapter_bad_frames_total", "Frames that were too long, unfinished, wrong or garbage.", func(s *adapters.Stats) float64 { return number(s.Frame.Bad()) }},
	{"packetboat_adapter_undecoded_frames_total", "Frames that the decoder rejected.", func(s *adapters.Stats) float64 { return number(s.Undecoded) }},
	{"packetboat_adapter_topicless_frames_total", "Frames that lack a field of the topic.", func(s *adapters.Stats) float64 { return number(s.NoTopic) }},
	{"packetboat_adapter_published_frames_total", "Frames that were published.", func(s *adapters.Stats) float64 { return number(s.Published) }},
	{"packetboat_adapter_dropped_frames_total", "Frames that the broker refused for good.", func(s *adapters.Stats) float64 { return number(s.Dropped) }},
	{"packetboat_adapter_filtered_frames_total", "Frames left out by when.", func(s *adapters.Stats) float64 { return number(s.Filtered) }},
	{"packetboat_adapter_unchanged_frames_total", "Frames left out by on_change.", func(s *adapters.Stats) float64 { return number(s.Unchanged) }},
	{"packetboat_adapter_rate_limited_frames_total", "Frames left out by rate.", func(s *adapters.Stats) float64 { return number(s.RateLimited) }},
	{"packetboat_adapter_shape_errors_total", "Expressions that failed for a frame.", func(s *adapters.Stats) float64 { return number(s.ShapeErrors) }},
	{"packetboat_adapter_overruns_total", "Losses before the bytes could be read, as the driver counts them.", func(s *adapters.Stats) float64 { return number(s.Overruns) }},
	{"packetboat_adapter_pauses_total", "Times that a link was not read, since the queue took nothing.", func(s *adapters.Stats) float64 { return number(s.Pauses) }},
	{"packetboat_adapter_commands_sent_total", "Commands that were written.", func(s *adapters.Stats) float64 { return number(s.CommandsSent) }},
	{"packetboat_adapter_commands_expired_total", "Commands that were too old.", func(s *adapters.Stats) float64 { return number(s.CommandsExpired) }},
	{"packetboat_adapter_commands_failed_total", "Commands that could not be encoded or written.", func(s *adapters.Stats) float64 { return number(s.CommandsFailed) }},
	{"packetboat_adapter_commands_unanswered_total", "Commands that no frame came for in time.", func(s *adapters.Stats) float64 { return number(s.CommandsUnanswered) }},
	{"packetboat_adapter_polls_total", "Requests to the device.", func(s *adapters.Stats) float64 { return number(s.Polls) }},
	{"packetboat_adapter_polls_unanswered_total", "Requests that no frame came for.", func(s *adapters.Stats) float64 { return number(s.PollsUnanswered) }},
}

// seconds is a time as Prometheus has it, 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
