package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"packetboat/config"
)

// parse reads a configuration that must be right.
func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("p.toml", []byte("[gateway]\nid = \"g\"\n"+text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestAutomaticValuesFollowFromTheDisk(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		name, text string
		disk       disk
		want       limits
	}{
		{"of a large disk, the most", "", disk{size: 500 * gib, space: 400 * gib},
			limits{minFree: 256 * mib, segment: 8 * mib, maxPacket: mib, retained: 16 * mib}},
		{"of a disk that nothing is known of, the same but for what to keep free", "", disk{},
			limits{minFree: 16 * mib, segment: 8 * mib, maxPacket: mib, retained: 16 * mib}},
		{"on a card, commits are paced", "", disk{size: 4 * gib, space: 2 * gib, card: true},
			limits{minFree: 4 * gib / 20, segment: 8 * mib, maxPacket: mib, retained: 16 * mib, commit: 50 * time.Millisecond}},
		{"a small queue has small segments", "[queue]\nmax_size = \"16MiB\"", disk{size: 100 * gib, space: 50 * gib},
			limits{minFree: 256 * mib, segment: 256 * kib, maxPacket: 128 * kib, retained: 256 * kib}},
		{"a disk that is nearly full, too", "", disk{size: gib, space: 64 * mib},
			limits{minFree: gib / 20, segment: mib, maxPacket: 512 * kib, retained: 16 * mib}},
		{"a tiny file system is not kept free as a whole", "[queue]\nmax_size = \"16MiB\"", disk{size: 32 * mib, space: 32 * mib},
			limits{minFree: 8 * mib, segment: 512 * kib / 2, maxPacket: 128 * kib, retained: 256 * kib}},
		{"what is set stays", "[queue]\nmin_free = \"1MiB\"\nsegment_size = \"2MiB\"\ncommit_interval = \"7ms\"\n[broker]\nmax_packet_size = \"3KiB\"\nmax_retained_size = \"5KiB\"",
			disk{size: gib, space: gib, card: true},
			limits{minFree: mib, segment: 2 * mib, maxPacket: 3 * kib, retained: 5 * kib, commit: 7 * time.Millisecond}},
		{"pacing can be switched off on a card", "[queue]\ncommit_interval = \"0s\"", disk{size: 500 * gib, space: 400 * gib, card: true},
			limits{minFree: 256 * mib, segment: 8 * mib, maxPacket: mib, retained: 16 * mib}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := limitsOf(parse(t, c.text), c.disk); got != c.want {
				t.Errorf("%+v, not %+v", got, c.want)
			}
		})
	}
}

func TestCardsAreRecognisedByTheirBlockDevice(t *testing.T) {
	sys, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := func(parts ...string) string {
		d := filepath.Join(append([]string{sys}, parts...)...)
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		return d
	}
	link := func(to, name string) string {
		at := filepath.Join(sys, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	card := dir("devices/soc/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0/mmcblk0p2")
	ssd := dir("devices/pci0000:00/nvme/nvme0/nvme0n1/nvme0n1p1")
	crypt := dir("devices/virtual/block/dm-0")
	volume := dir("devices/virtual/block/dm-1")
	onSSD := dir("devices/virtual/block/dm-2")
	link(card, "devices/virtual/block/dm-0/slaves/mmcblk0p2")
	link(crypt, "devices/virtual/block/dm-1/slaves/dm-0")
	link(ssd, "devices/virtual/block/dm-2/slaves/nvme0n1p1")
	for _, c := range []struct {
		name  string
		block string
		want  bool
	}{
		{"a partition of an SD card", link(card, "dev/block/179:2"), true},
		{"dm-crypt on it", link(crypt, "dev/block/253:0"), true},
		{"a volume on that", link(volume, "dev/block/253:1"), true},
		{"a volume on an SSD", link(onSSD, "dev/block/253:2"), false},
		{"an SSD", link(ssd, "dev/block/259:1"), false},
		{"no block device, as of tmpfs", filepath.Join(sys, "dev/block/0:42"), false},
	} {
		if got := onCard(c.block, 0); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestTheDiskBelowADirectoryThatDoesNotExistYetIsMeasured(t *testing.T) {
	d := measure(filepath.Join(t.TempDir(), "a", "b"))
	if d.size <= 0 || d.space <= 0 || d.space > d.size {
		t.Errorf("%+v", d)
	}
}

func TestRequireMountWantsAFileSystemOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		cfg  config.Gateway
		want string // of the error
	}{
		{"a plain directory is refused", config.Gateway{DataDir: dir, RequireMount: true}, "no file system is mounted there"},
		{"one that does not exist is refused", config.Gateway{DataDir: filepath.Join(dir, "no"), RequireMount: true}, "require_mount is set"},
		{"unless it is not required", config.Gateway{DataDir: dir}, ""},
		{"a mount point is fine", config.Gateway{DataDir: "/proc", RequireMount: true}, ""},
	} {
		err := checkMount(c.cfg)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTheRolesErrorsHaveTheirPlaces(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"stop bits that do not exist", "[[serial]]\nname = \"a\"\nport = \"/dev/ttyS0\"\nmode = \"8N1.5\"",
			`p.toml:6:8: serial[0].mode: `},
		{"a frame that is longer than a packet", "[[tcp]]\nname = \"b\"\nlisten = \":0\"\nframe = { type = \"line\", max = \"4MiB\" }",
			`p.toml:6:32: tcp[0].frame.max: must be at most broker.max_packet_size, here 1MiB`},
		{"a framing that cannot be", "[[serial]]\nname = \"a\"\nport = \"/dev/ttyS0\"\nframe = { type = \"length\", size = 3 }",
			`p.toml:6:35: serial[0].frame.size: must be 1, 2, 4 or 8 bytes for a length`},
		{"a framing without a key that it needs", "[[serial]]\nname = \"a\"\nport = \"/dev/ttyS0\"\nframe = { type = \"fixed\" }",
			`p.toml:6:9: serial[0].frame.size: is missing`},
		{"ages that MQTT cannot count", "[[bridge]]\nname = \"c\"\nservers = [\"mqtt://h\"]\n[[bridge.up]]\nfilter = \"a\"\nmax_age = \"5ms\"",
			`p.toml:8:11: bridge[0].up[0].max_age: `},
		{"an expression", "[[tcp]]\nname = \"b\"\nlisten = \":0\"\nset = { a = \"1\", kg = \"gramms / 1000\" }",
			`p.toml:6:23: tcp[0].set.kg: is no valid expression: unknown name gramms at character 1; there are name, payload, port, remote, time, value`},
		{"a type of a column", "[[serial]]\nname = \"a\"\nport = \"/dev/ttyS0\"\ndecode = { type = \"csv\", names = [\"t\", \"h\"], types = [\"float\", \"flaot\"] }",
			`p.toml:6:64: serial[0].decode.types[1]: "flaot" is none of string, float, int, bool`},
		{"a field that the topic needs and no frame has", "[[tcp]]\nname = \"b\"\nlisten = \":0\"\ntopic = \"{field:x}\"\ndecode = { type = \"regexp\", pattern = \"(?P<t>.)\" }",
			`p.toml:6:9: tcp[0].topic: {field:x}: there is no such field; there are t`},
		{"a right one", "[[serial]]\nname = \"a\"\nport = \"/dev/ttyS0\"\n[[tcp]]\nname = \"b\"\nlisten = \":0\"\n[tcp.command]\n", ""},
	} {
		got := Check(parse(t, c.text))
		switch {
		case c.want == "" && len(got) > 0:
			t.Errorf("%s: %v", c.name, got)
		case c.want != "" && (len(got) != 1 || !strings.HasPrefix(got.Error(), c.want)):
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
