package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// deviceKind is what a disk is, as far as that says how fast its syncs can be.
type deviceKind byte

const (
	unknown  deviceKind = iota
	memory              // a file system that has no device
	rotating            // a hard disk
	card                // SD or eMMC
	usb                 // a stick, or a disk in a USB case
	flash               // SSD, NVMe
	virtual             // of a virtual machine
)

// device is the disk below a file system.
type device struct {
	kind  deviceKind
	name  string // mmcblk0
	model string // as the kernel has it, "" for none
	cache string // "write back", "write through": whether the kernel flushes it
}

// String says what it is: "SD card or eMMC mmcblk0 (SC32G)".
func (d device) String() string {
	what := map[deviceKind]string{
		unknown: "a device of unknown kind", memory: "memory", rotating: "hard disk", card: "SD card or eMMC", usb: "USB disk", flash: "SSD", virtual: "virtual disk",
	}[d.kind]
	if d.name != "" {
		what += " " + d.name
	}
	if d.model != "" {
		what += fmt.Sprintf(" (%s)", d.model)
	}
	if d.cache == "write through" {
		what += ", which the kernel takes to have no volatile cache, and does not flush"
	}
	return what
}

// deviceOf finds the disk below a mount, by sysfs: partitions lead to their disk,
// dm-crypt, LVM and md to the one below.
func (d *Doctor) deviceOf(m mount) device {
	if slices.Contains(volatile, m.kind) {
		return device{kind: memory}
	}
	path, err := filepath.EvalSymlinks(d.path("sys/dev/block/" + m.device))
	if err != nil { // btrfs and ZFS have numbers of their own
		real, err2 := filepath.EvalSymlinks(d.path(m.source))
		if err2 != nil {
			return device{}
		}
		if path, err = filepath.EvalSymlinks(d.path("sys/class/block/" + filepath.Base(real))); err != nil {
			return device{}
		}
	}
	return deviceAt(path, 0)
}

func deviceAt(path string, depth int) device {
	if below, err := filepath.Glob(filepath.Join(path, "slaves", "*")); err == nil && len(below) > 0 && depth < 8 {
		if real, err := filepath.EvalSymlinks(below[0]); err == nil {
			return deviceAt(real, depth+1)
		}
	}
	if _, err := os.Stat(filepath.Join(path, "partition")); err == nil {
		path = filepath.Dir(path)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(path, name))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	d := device{name: filepath.Base(path), cache: read("queue/write_cache")}
	if d.model = read("device/model"); d.model == "" {
		d.model = read("device/name")
	}
	switch {
	case strings.HasPrefix(d.name, "zram"), strings.HasPrefix(d.name, "ram"):
		d.kind = memory
	case strings.HasPrefix(d.name, "mmcblk"):
		d.kind = card
	case strings.HasPrefix(d.name, "vd"), strings.HasPrefix(d.name, "xvd"), strings.Contains(path, "/virtio"), strings.Contains(strings.ToUpper(d.model), "QEMU"), strings.Contains(strings.ToUpper(d.model), "VIRTUAL"):
		d.kind = virtual
	case strings.Contains(path, "/usb"):
		d.kind = usb
	case read("queue/rotational") == "1" && !strings.HasPrefix(d.name, "loop"):
		d.kind = rotating
	case strings.HasPrefix(d.name, "nvme"), read("queue/rotational") == "0" && strings.HasPrefix(d.name, "sd"):
		d.kind = flash
	}
	return d
}
