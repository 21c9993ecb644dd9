package config

import "time"

// Gateway is [gateway]: who and where this gateway is.
type Gateway struct {
	// ID is {gateway} in every template. When the file leaves it empty, Load
	// sets it to the host name; when that is raspberrypi, localhost, debian or
	// ubuntu, a "-" and the last 6 digits of the board's serial number, else of
	// the machine id, follow. Never empty after Load.
	ID string `toml:"id"`
	// DataDir is the directory of queue, sessions, retained messages and
	// ledger. One gateway per directory.
	DataDir string `toml:"data_dir" default:"/var/lib/packetboat" required:"yes"`
	// RequireMount: DataDir must be on a file system of its own, so that a disk
	// which is not mounted does not go unnoticed.
	RequireMount bool `toml:"require_mount"`
}

// Log is [log].
type Log struct {
	Level string `toml:"level" default:"info" enum:"debug info warn error"`
	// Format: auto is journal under systemd, text on a terminal, else json.
	Format string `toml:"format" default:"auto" enum:"auto text json journal"`
}

// Queue is [queue]: the disk queue.
type Queue struct {
	// MaxSize bounds all of the data directory.
	MaxSize Size `toml:"max_size" default:"1GiB" min:"16MiB"`
	// MinFree is kept free of the file system. Auto: 5 %, within 16MiB and
	// 256MiB.
	MinFree Size `toml:"min_free" default:"auto" auto:"yes"`
	// WhenFull is DropOldest, Reject or DropNewest: for the up rules of bridges
	// that say nothing else.
	WhenFull string `toml:"when_full" default:"drop-oldest" enum:"drop-oldest reject drop-newest"`
	// CommitInterval is the shortest time between two syncs under load. Auto:
	// 50ms on SD cards and eMMC, else 0.
	CommitInterval time.Duration `toml:"commit_interval" default:"auto" auto:"yes" max:"10s"`
	// SegmentSize is the size of the log's files. Auto: 1/64 of MaxSize, or of
	// the space there is if that is less, within 256KiB and 8MiB.
	SegmentSize Size `toml:"segment_size" default:"auto" auto:"yes" min:"64KiB" max:"256MiB"`
	// QoS0 says which offline consumers get QoS 0 messages queued: none,
	// bridges or all.
	QoS0 string `toml:"qos0" default:"bridges" enum:"none bridges all"`
	// Retention: delivered messages are kept so long for replay.
	Retention time.Duration `toml:"retention" default:"0s"`
	// WriteBudget is in bytes a day; more is a warning. 0: none.
	WriteBudget Size `toml:"write_budget" default:"0"`
}

// Admin is [admin]: the local interface for operators.
type Admin struct {
	// Socket is the unix socket of the command line tools; "" is none.
	Socket string `toml:"socket" default:"/run/packetboat/admin.sock"`
	// Address of dashboard, API, metrics and health; "" is none.
	Address string `toml:"address" default:"127.0.0.1:8580"`
	// Users are the names from auth.users that may log in. None: nobody needs to,
	// which Load accepts for an address on loopback only.
	Users []string `toml:"users"`
	TLS   AdminTLS `toml:"tls"`
}

// AdminTLS is [admin.tls]; both are set, or none.
type AdminTLS struct {
	Cert string `toml:"cert"`
	Key  string `toml:"key"`
}
