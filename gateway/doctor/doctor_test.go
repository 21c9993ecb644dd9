package doctor

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"packetboat/bridge"
)

func TestMountsAreReadAsTheKernelWritesThem(t *testing.T) {
	const table = `22 28 0:21 / /proc rw,nosuid - proc proc rw
28 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw,errors=remount-ro
30 28 8:1 / /var/lib/my\040queue rw - ext4 /dev/sda1 rw,nobarrier
31 28 0:30 / /var rw - tmpfs tmpfs rw,size=1024k
nonsense
`
	root := t.TempDir()
	file(t, filepath.Join(root, "proc/self/mountinfo"), table)
	d := Doctor{opt: Options{Root: root}}
	for dir, want := range map[string]string{
		"/srv/data":             "ext4 /dev/root /",
		"/var/lib/packetboat":   "tmpfs tmpfs /var",
		"/var/lib/my queue/new": "ext4 /dev/sda1 /var/lib/my queue",
		"/variable":             "ext4 /dev/root /",
	} {
		m := d.mountOf(dir)
		if got := m.kind + " " + m.source + " " + m.point; got != want {
			t.Errorf("%s: %s, not %s", dir, got, want)
		}
	}
}

func file(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDevicesAreFoundBySysfs(t *testing.T) {
	root := t.TempDir()
	sys := func(path string, files ...string) {
		for i := 0; i < len(files); i += 2 {
			file(t, filepath.Join(root, "sys/devices", path, files[i]), files[i+1]+"\n")
		}
	}
	link := func(number, path string) {
		dir := filepath.Join(root, "sys/dev/block")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(root, "sys/devices", path), filepath.Join(dir, number)); err != nil {
			t.Fatal(err)
		}
	}
	sys("platform/mmc0/block/mmcblk0", "queue/write_cache", "write through", "device/name", "SC32G")
	sys("platform/mmc0/block/mmcblk0/mmcblk0p2", "partition", "2")
	link("179:2", "platform/mmc0/block/mmcblk0/mmcblk0p2")
	sys("pci/ata1/block/sda", "queue/rotational", "1", "queue/write_cache", "write back", "device/model", "WDC")
	link("8:0", "pci/ata1/block/sda")
	sys("pci/usb1/1-2/block/sdb", "queue/rotational", "1", "device/model", "Stick")
	link("8:16", "pci/usb1/1-2/block/sdb")
	sys("pci/nvme0/nvme0n1", "queue/rotational", "0")
	link("259:0", "pci/nvme0/nvme0n1")
	sys("virtual/block/dm-0", "size", "1")
	if err := os.MkdirAll(filepath.Join(root, "sys/devices/virtual/block/dm-0/slaves"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "sys/devices/platform/mmc0/block/mmcblk0/mmcblk0p2"), filepath.Join(root, "sys/devices/virtual/block/dm-0/slaves/mmcblk0p2")); err != nil {
		t.Fatal(err)
	}
	link("254:0", "virtual/block/dm-0")
	d := Doctor{opt: Options{Root: root}}
	for _, c := range []struct {
		m    mount
		kind deviceKind
		text string
	}{
		{mount{device: "179:2"}, card, "SD card or eMMC mmcblk0 (SC32G), which the kernel takes to have no volatile cache, and does not flush"},
		{mount{device: "8:0"}, rotating, "hard disk sda (WDC)"},
		{mount{device: "8:16"}, usb, "USB disk sdb (Stick)"},
		{mount{device: "259:0"}, flash, "SSD nvme0n1"},
		{mount{device: "254:0"}, card, "SD card or eMMC mmcblk0 (SC32G), which the kernel takes to have no volatile cache, and does not flush"},
		{mount{device: "0:30", kind: "tmpfs"}, memory, "memory"},
		{mount{device: "0:99"}, unknown, "a device of unknown kind"},
	} {
		if got := d.deviceOf(c.m); got.kind != c.kind || got.String() != c.text {
			t.Errorf("%s: %v, %d, not %s", c.m.device, got, got.kind, c.text)
		}
	}
}

func TestSyncsAreJudgedByWhatTheDeviceCanBe(t *testing.T) {
	same := func(d time.Duration) []time.Duration { return []time.Duration{d, d, d, d, d} }
	for _, c := range []struct {
		name    string
		took    []time.Duration
		kind    deviceKind
		outcome bridge.Outcome
		text    string
	}{
		{"a card as cards are", same(8 * time.Millisecond), card, bridge.Fine, "8.0 ms in the middle"},
		{"a card that is too fast", same(50 * time.Microsecond), card, bridge.Doubtful, "These syncs take 0.05 ms: cards are hardly so fast, so this device may not write through"},
		{"a disk that turns too fast", same(300 * time.Microsecond), rotating, bridge.Doubtful, "a disk that turns cannot be so fast"},
		{"an SSD with a cache that survives, or not", same(10 * time.Microsecond), flash, bridge.Doubtful, "unless its cache survives a power cut"},
		{"an SSD", same(100 * time.Microsecond), flash, bridge.Fine, "0.10 ms"},
		{"nothing is claimed of what is not known", same(time.Microsecond), unknown, bridge.Fine, "a device of unknown kind"},
		{"nor of a virtual disk", same(time.Microsecond), virtual, bridge.Fine, "cannot be seen from here"},
		{"memory", same(time.Microsecond), memory, bridge.Failed, "This is memory"},
		{"a slow card", same(300 * time.Millisecond), card, bridge.Doubtful, "slow"},
		{"one that pauses", append(same(5*time.Millisecond), 2*time.Second), card, bridge.Doubtful, "2.0 s at most"},
		{"a worn one", same(1500 * time.Millisecond), card, bridge.Failed, "very slow"},
	} {
		f := judgeSyncs(c.took, device{kind: c.kind})
		if f.Outcome != c.outcome || !strings.Contains(f.Text, c.text) || (f.Outcome == bridge.Fine) != (f.Remedy == "") {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

func TestSyncsAreMeasuredAndNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	took, err := measureSyncs(t.Context(), dir)
	if err != nil || len(took) != syncsMade {
		t.Errorf("%d, %v", len(took), err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if took, err := measureSyncs(stopped, dir); err != nil || len(took) != 1 {
		t.Errorf("when it is stopped: %d, %v", len(took), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}

func TestTheClockIsJudged(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	rtc := func(at time.Time) string { return fmt.Sprint(at.Unix()) }
	for _, c := range []struct {
		name    string
		now     time.Time
		synced  bool
		rtc     string
		outcome bridge.Outcome
		text    string
	}{
		{"synchronised", now, true, rtc(now), bridge.Fine, "2026-05-01T12:00:00Z, synchronised, the clock with a battery differs by 0s"},
		{"without a battery", now, true, "", bridge.Fine, "no clock with a battery"},
		{"not synchronised", now, false, "", bridge.Doubtful, "not synchronised"},
		{"its battery is empty", now, true, rtc(now.AddDate(-20, 0, 0)), bridge.Doubtful, "differs by"},
		{"in 1970", time.Unix(60, 0), false, "", bridge.Failed, "1970-01-01T00:01:00Z here, which cannot be"},
	} {
		if f := judgeClock(c.now, c.synced, c.rtc); f.Outcome != c.outcome || !strings.Contains(f.Text, c.text) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

func TestWhoListensIsReadFromProc(t *testing.T) {
	word := func(b ...byte) string { return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(b)) }
	zero := word(0, 0, 0, 0)
	root := t.TempDir()
	line := func(local, state, inode string) string {
		return fmt.Sprintf("   0: %s 00000000:0000 %s 00000000:00000000 00:00000000 00000000     0        0 %s 1 0000 100 0\n", local, state, inode)
	}
	file(t, filepath.Join(root, "proc/self/net/tcp"), "  sl  local_address rem_address   st\n"+
		line(word(127, 0, 0, 1)+":075B", "0A", "11")+ // 1883
		line(word(10, 0, 0, 1)+":22B3", "01", "12")+ // 8883, connected
		line(zero+":1F90", "0A", "13")) // 8080, all
	file(t, filepath.Join(root, "proc/self/net/tcp6"), "  sl  local_address rem_address   st\n"+
		line(zero+zero+zero+zero+":2184", "0A", "14")) // 8580, all
	if err := os.MkdirAll(filepath.Join(root, "proc/77/fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	file(t, filepath.Join(root, "proc/77/comm"), "mosquitto\n")
	if err := os.Symlink("socket:[11]", filepath.Join(root, "proc/77/fd/5")); err != nil {
		t.Fatal(err)
	}
	d := Doctor{opt: Options{Root: root}}
	for address, want := range map[string]string{
		"127.0.0.1:1883": "11", "0.0.0.0:1883": "11", "127.0.0.2:1883": "", "[::1]:1883": "",
		"10.0.0.1:8883": "", "127.0.0.1:8080": "13", "127.0.0.1:8580": "14", "[::1]:8580": "14",
	} {
		if got, _ := d.listens(netip.MustParseAddrPort(address)); got != want {
			t.Errorf("%s: %q, not %q", address, got, want)
		}
	}
	if pid, name := d.owner("11"); pid != 77 || name != "mosquitto" {
		t.Errorf("%d, %s", pid, name)
	}
	if pid, _ := d.owner("13"); pid != 0 {
		t.Errorf("%d", pid)
	}
}

func TestTheLimitOfAnotherProcess(t *testing.T) {
	const limits = "Limit                     Soft Limit           Hard Limit           Units     \nMax processes             1                    2                    processes \nMax open files            1024                 524288               files     \n"
	if n := filesLimit(limits); n != 524288 {
		t.Error(n)
	}
	if n := filesLimit("nothing"); n != 0 {
		t.Error(n)
	}
}
