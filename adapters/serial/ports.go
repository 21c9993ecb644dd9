package serial

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Info is what the kernel knows of a serial port. What a port does not have is
// "".
type Info struct {
	Path string `json:"path"` // /dev/ttyUSB0; may be another tomorrow

	// Of USB adapters. VID and PID are four lower-case hexadecimal digits.
	VID          string `json:"vid,omitempty"`
	PID          string `json:"pid,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Product      string `json:"product,omitempty"`
	Serial       string `json:"serial,omitempty"`

	// ByID names the device (/dev/serial/by-id/…), ByPath the socket that it is
	// plugged into. udev makes them.
	ByID   string `json:"by_id,omitempty"`
	ByPath string `json:"by_path,omitempty"`
}

// Stable is the name of the port to put into a configuration: the one that says
// most of those it has.
func (i *Info) Stable() string { return cmp.Or(i.ByID, i.ByPath, i.Path) }

// identity is what Match may say of i.
func (i *Info) identity() string {
	text := i.VID + ":" + i.PID
	if i.Serial != "" {
		text += " serial " + i.Serial
	}
	return text
}

// Ports lists the serial ports below root, which is / outside of tests. It
// opens none: to open a port changes its lines, and resets an Arduino. Pseudo
// terminals are no ports, nor are those that a driver only provides for.
func Ports(root string) ([]Info, error) {
	class := filepath.Join(root, "sys/class/tty")
	entries, err := os.ReadDir(class)
	if err != nil {
		return nil, fmt.Errorf("list serial ports: %w", err)
	}
	var list []Info
	for _, e := range entries {
		device, err := filepath.EvalSymlinks(filepath.Join(class, e.Name(), "device"))
		if err != nil || attribute(filepath.Join(class, e.Name()), "type") == "0" { // PORT_UNKNOWN: nothing was found there
			continue
		}
		info := Info{Path: filepath.Join(root, "dev", e.Name())}
		info.readUSB(root, device)
		list = append(list, info)
	}
	if len(list) == 0 {
		return nil, nil
	}
	byID, byPath := links(root, "by-id"), links(root, "by-path")
	for i := range list {
		list[i].ByID, list[i].ByPath = byID[list[i].Path], byPath[list[i].Path]
	}
	slices.SortFunc(list, func(a, b Info) int { return compareNames(a.Path, b.Path) })
	return list, nil
}

// readUSB takes the identity of the USB device that has the interface at device
// (a modem that speaks the class for it), or the port at device in its interface
// (converters).
func (i *Info) readUSB(root, device string) {
	subsystem, err := os.Readlink(filepath.Join(device, "subsystem"))
	if err != nil || !slices.Contains([]string{"usb", "usb-serial"}, filepath.Base(subsystem)) {
		return // others may sit on a USB device that is something else, a Bluetooth adapter say
	}
	end := filepath.Join(root, "sys")
	for dir := device; len(dir) > len(end); dir = filepath.Dir(dir) {
		if i.VID = attribute(dir, "idVendor"); i.VID == "" {
			continue
		}
		i.PID = attribute(dir, "idProduct")
		i.Manufacturer = attribute(dir, "manufacturer")
		i.Product = attribute(dir, "product")
		i.Serial = attribute(dir, "serial")
		return
	}
}

// attribute reads a file of sysfs; "" when there is none.
func attribute(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// links gives the links in /dev/serial/kind by where they lead.
func links(root, kind string) map[string]string {
	dir := filepath.Join(root, "dev/serial", kind)
	entries, err := os.ReadDir(dir) // no directory: no USB port, or no udev
	if err != nil {
		return nil
	}
	m := make(map[string]string, len(entries))
	for _, e := range entries {
		link := filepath.Join(dir, e.Name())
		to, err := os.Readlink(link)
		if err != nil {
			continue
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(dir, to)
		}
		// Newer udevs make two by-path links; the shorter is the older form,
		// which all have.
		if old := m[to]; old == "" || len(link) < len(old) {
			m[to] = link
		}
	}
	return m
}

// compareNames sorts ttyUSB2 before ttyUSB10.
func compareNames(a, b string) int {
	aName, aNumber := splitNumber(a)
	bName, bNumber := splitNumber(b)
	return cmp.Or(strings.Compare(aName, bName), cmp.Compare(aNumber, bNumber), strings.Compare(a, b))
}

func splitNumber(name string) (string, int) {
	text := strings.TrimRight(name, "0123456789")
	n, err := strconv.Atoi(name[len(text):])
	if err != nil {
		return name, -1
	}
	return text, n
}
