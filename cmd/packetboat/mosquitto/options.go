package mosquitto

// What of Mosquitto's options is not carried over, by name, and why. Those that are
// stand in sort.go.

// notNeeded are options for which there is nothing to do.
func notNeeded(key string) (why string, ok bool) {
	why, ok = map[string]string{
		"allow_duplicate_messages":       "overlapping subscriptions get a message as MQTT wants it",
		"auth_plugin_deny_special_chars": "names with wildcards in them stand for nothing in rules",
		"auto_id_prefix":                 "clients without an id get one",
		"autosave_interval":              "what is acknowledged is on disk already",
		"autosave_on_changes":            "what is acknowledged is on disk already",
		"bridge_attempt_unsubscribe":     "the bridge subscribes to what its down rules say, and nothing else",
		"bridge_tls_version":             "TLS 1.2 or 1.3, whichever the cloud has",
		"ciphers":                        "TLS 1.2 and 1.3 with Go's choice of ciphers",
		"ciphers_tls1.3":                 "TLS 1.2 and 1.3 with Go's choice of ciphers",
		"connection_messages":            "the log says at level debug who comes and goes; packetboat status counts them",
		"dhparamfile":                    "the key exchange is by elliptic curves",
		"local_clientid":                 "a bridge is no client of the gateway",
		"local_cleansession":             "what is to go up waits in the queue on disk, always",
		"local_password":                 "a bridge is no client of the gateway",
		"local_username":                 "a bridge is no client of the gateway; an [[auth.rule]] with adapter = \"bridge/NAME\" names it",
		"log_facility":                   "under systemd the log goes to the journal",
		"log_timestamp":                  "the log has the time always",
		"log_timestamp_format":           "the log has the time in RFC 3339, or the journal has it",
		"notifications_local_only":       "packetboat status, the API and metrics say locally how a bridge is",
		"per_listener_settings":          "it was taken into account",
		"persistence_file":               "the data directory has files of its own (gateway.data_dir)",
		"persistence_location":           "the data directory is /var/lib/packetboat (gateway.data_dir)",
		"pid_file":                       "systemd knows the process",
		"retained_persistence":           "retained messages are on disk always",
		"retry_interval":                 "Mosquitto 2.0 does not know it any more",
		"round_robin":                    "the first of servers that answers is used, the one where the session was last live before others",
		"set_tcp_nodelay":                "it is so always",
		"store_clean_interval":           "Mosquitto 2.0 does not know it any more",
		"tls_keyform":                    "keys are PEM files",
		"try_private":                    "what comes back from the cloud is known by other signs (docs/bridge.md, Loops)",
		"user":                           "systemd starts the gateway as packetboat",
		"websockets_headers_size":        "there is no such buffer to size",
		"websockets_log_level":           "there is one log (log.level)",
	}[key]
	return why, ok
}

// impossible are options that nothing here corresponds to, when they are given at
// all.
func impossible(key string) (why string, ok bool) {
	why, ok = map[string]string{
		"bridge_max_packet_size": "messages go up whatever their size, up to what the cloud says (MQTT 5) or its profile knows",
		"bridge_require_ocsp":    "certificates are verified without OCSP",
		"clientid_prefixes":      "a client id is what a client says of itself; name users in [[auth.rule]], or client = \"PREFIX*\" on listeners that only trusted programs reach",
		"http_dir":               "a WebSocket listener serves no files; the gateway's own page is at admin.address",
		"max_inflight_bytes":     "a client's window is in messages (broker.max_inflight)",
		"max_qos":                "clients may use QoS 0 to 2 on every listener",
		"memory_limit":           "MemoryMax= in the systemd unit bounds memory",
		"psk_file":               "there is no TLS with pre-shared keys; use certificates",
		"tls_engine":             "there are no TLS engines; keys are PEM files",
		"tls_engine_kpass_sha1":  "there are no TLS engines; keys are PEM files",
	}[key]
	return why, ok
}

// unlessFalse are options of which only true means something that is not here.
func unlessFalse(key string) (why string, ok bool) {
	why, ok = map[string]string{
		"check_retain_source":      "a retained message stays when its publisher may not publish there any more; an empty one removes it",
		"upgrade_outgoing_qos":     "messages are delivered at the lower of their QoS and the subscription's, as MQTT wants it; a bridge rule has min_qos",
		"use_username_as_clientid": "clients keep their ids; name users in [[auth.rule]]",
	}[key]
	return why, ok
}

// unlessTrue are options of which only false does.
func unlessTrue(key string) (why string, ok bool) {
	why, ok = map[string]string{
		"allow_zero_length_clientid": "clients without an id are let in, and get one",
	}[key]
	return why, ok
}
