package serial

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"packetboat/config"
)

// machine is the root of a tree with the parts of /sys and /dev that are read,
// laid out as Linux does.
type machine struct {
	t    *testing.T
	root string
}

func newMachine(t *testing.T) machine {
	m := machine{t, t.TempDir()}
	m.dir("sys/class/tty")
	m.dir("dev/serial/by-id")
	m.dir("dev/serial/by-path")
	return m
}

func (m machine) path(name string) string { return filepath.Join(m.root, name) }

func (m machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m machine) dir(name string) string {
	m.t.Helper()
	m.must(os.MkdirAll(m.path(name), 0o755))
	return name
}

func (m machine) file(name, text string) {
	m.t.Helper()
	m.must(os.WriteFile(m.path(name), []byte(text+"\n"), 0o644))
}

func (m machine) link(name, to string) {
	m.t.Helper()
	m.must(os.Symlink(to, m.path(name)))
}

// tty makes a port at device, which has the subsystem.
func (m machine) tty(name, device, subsystem string) {
	m.t.Helper()
	m.dir("sys/bus/" + subsystem)
	at := m.dir(device + "/tty/" + name)
	if _, err := os.Lstat(m.path(device + "/subsystem")); err != nil {
		m.link(device+"/subsystem", m.path("sys/bus/"+subsystem))
	}
	m.link(at+"/device", "../../../"+filepath.Base(device))
	m.link("sys/class/tty/"+name, m.path(at))
	m.file("dev/"+name, "")
}

// usb makes a USB device in the socket port, with the files that it has.
func (m machine) usb(port string, files map[string]string) string {
	m.t.Helper()
	at := m.dir("sys/devices/pci0000:00/0000:00:14.0/usb1/" + port)
	m.file("sys/devices/pci0000:00/0000:00:14.0/usb1/idVendor", "1d6b") // the hub is a device, too
	for name, text := range files {
		m.file(at+"/"+name, text)
	}
	return at
}

// converter plugs in an FTDI one.
func (m machine) converter(port, tty, serial string) {
	m.t.Helper()
	at := m.usb(port, map[string]string{"idVendor": "0403", "idProduct": "6001", "manufacturer": "FTDI", "product": "FT232R USB UART", "serial": serial})
	m.tty(tty, at+"/"+port+":1.0/"+tty, "usb-serial")
	m.link("dev/serial/by-path/pci-0000:00:14.0-usb-0:"+port+":1.0-port0", "../../"+tty)
	m.link("dev/serial/by-path/pci-0000:00:14.0-usbv2-0:"+port+":1.0-port0", "../../"+tty)
	if serial != "" {
		m.link("dev/serial/by-id/usb-FTDI_FT232R_USB_UART_"+serial+"-if00-port0", "../../"+tty)
	}
}

// full is a machine with ports of all sorts.
func full(t *testing.T) machine {
	m := newMachine(t)
	m.converter("1-2", "ttyUSB0", "A9007")
	m.converter("1-10", "ttyUSB10", "A9008")
	arduino := m.usb("1-3", map[string]string{"idVendor": "2341", "idProduct": "0043", "serial": ""})
	m.tty("ttyACM0", arduino+"/1-3:1.0", "usb")
	bluetooth := m.usb("1-4", map[string]string{"idVendor": "0a12", "idProduct": "0001"})
	microchip := m.usb("1-5", map[string]string{"idVendor": "04d8", "idProduct": "000a"})
	m.tty("ttyACM1", microchip+"/1-5:1.0", "usb")
	m.tty("rfcomm0", bluetooth+"/1-4:1.0/bluetooth/hci0/hci0:12", "bluetooth")
	m.tty("ttyAMA0", "sys/devices/platform/soc/fe201000.serial", "amba")
	m.file("sys/devices/platform/soc/fe201000.serial/tty/ttyAMA0/type", "32")
	m.tty("ttyS3", "sys/devices/platform/serial8250", "platform")
	m.file("sys/devices/platform/serial8250/tty/ttyS3/type", "0")
	m.dir("sys/devices/virtual/tty/tty1")
	m.link("sys/class/tty/tty1", m.path("sys/devices/virtual/tty/tty1"))
	return m
}

func TestPortsAreThoseWithADeviceAndItsIdentity(t *testing.T) {
	m := full(t)
	got, err := Ports(m.root)
	if err != nil {
		t.Fatal(err)
	}
	ftdi := Info{VID: "0403", PID: "6001", Manufacturer: "FTDI", Product: "FT232R USB UART"}
	first, second := ftdi, ftdi
	first.Path, first.Serial = m.path("dev/ttyUSB0"), "A9007"
	first.ByID = m.path("dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A9007-if00-port0")
	first.ByPath = m.path("dev/serial/by-path/pci-0000:00:14.0-usb-0:1-2:1.0-port0")
	second.Path, second.Serial = m.path("dev/ttyUSB10"), "A9008"
	second.ByID = m.path("dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A9008-if00-port0")
	second.ByPath = m.path("dev/serial/by-path/pci-0000:00:14.0-usb-0:1-10:1.0-port0")
	want := []Info{
		{Path: m.path("dev/rfcomm0")},
		{Path: m.path("dev/ttyACM0"), VID: "2341", PID: "0043"},
		{Path: m.path("dev/ttyACM1"), VID: "04d8", PID: "000a"},
		{Path: m.path("dev/ttyAMA0")},
		first, second,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if s := got[4].Stable(); s != first.ByID {
		t.Errorf("the stable name is %s", s)
	}
	if s := got[0].Stable(); s != got[0].Path {
		t.Errorf("the stable name is %s", s)
	}
}

func TestPortsOfThisMachineAndOfOneWithoutAny(t *testing.T) {
	if _, err := Ports("/"); err != nil {
		t.Error(err)
	}
	if list, err := Ports(newMachine(t).root); err != nil || list != nil {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := Ports(t.TempDir()); err == nil || !strings.HasPrefix(err.Error(), "list serial ports: ") {
		t.Error(err)
	}
}

func TestFindingAPortByItsUSBIdentity(t *testing.T) {
	m := full(t)
	m.converter("1-7", "ttyUSB2", "") // no serial number
	for _, tt := range []struct {
		name  string
		match config.USB
		want  string // a path, or a part of the error
	}{
		{"vendor and product", config.USB{VID: "2341", PID: "0043"}, m.path("dev/ttyACM0")},
		{"capitals are the same", config.USB{VID: "04D8"}, m.path("dev/ttyACM1")},
		{"the serial number tells two of a kind apart", config.USB{VID: "0403", PID: "6001", Serial: "A9008"}, m.path("dev/ttyUSB10")},
		{"the serial number alone", config.USB{Serial: "A9007"}, m.path("dev/ttyUSB0")},
		{"another device", config.USB{VID: "0403", PID: "6015"}, "no port is USB 0403:6015: is the device plugged in?"},
		{"another serial number", config.USB{VID: "0403", Serial: "A9"}, "no port is USB 0403:* serial A9: is"},
		{"a hub and a Bluetooth adapter are no ports", config.USB{VID: "0a12"}, "no port is USB 0a12:*: is"},
		{"several of a kind are named", config.USB{VID: "0403"},
			fmt.Sprintf("3 ports are USB 0403:*: %s (serial A9007), %s, %s (serial A9008); they have no serial numbers that differ: set port",
				m.path("dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A9007-if00-port0"), m.path("dev/serial/by-path/pci-0000:00:14.0-usb-0:1-7:1.0-port0"),
				m.path("dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A9008-if00-port0"))},
	} {
		path, err := Wanted{Match: &tt.match, Root: m.root}.Find()
		if got := path; err != nil {
			if got = err.Error(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s: %s", tt.name, got)
			}
		} else if got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
	m.must(os.Remove(m.path("sys/class/tty/ttyUSB2")))
	if _, err := (Wanted{Match: &config.USB{VID: "0403"}, Root: m.root}).Find(); err == nil || !strings.HasSuffix(err.Error(), "add the serial of the one that is meant to match") {
		t.Error(err)
	}
}

func TestWhichPortIsMeant(t *testing.T) {
	m := full(t)
	all, err := Ports(m.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		w    Wanted
		want string // names, spaces between
	}{
		{"a path", Wanted{Port: m.path("dev/ttyAMA0")}, "ttyAMA0"},
		{"a link", Wanted{Port: m.path("dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A9008-if00-port0")}, "ttyUSB10"},
		{"a glob", Wanted{Port: m.path("dev/ttyUSB*")}, "ttyUSB0 ttyUSB10"},
		{"an identity", Wanted{Match: &config.USB{VID: "0403", Serial: "A9007"}}, "ttyUSB0"},
		{"nothing that is there", Wanted{Port: m.path("dev/ttyUSB7")}, ""},
	} {
		var got []string
		for _, i := range all {
			if tt.w.Means(i) {
				got = append(got, filepath.Base(i.Path))
			}
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %q", tt.name, s)
		}
	}
}

func TestAPortIsFoundByItsIdentityUnderEachNewName(t *testing.T) {
	m := newMachine(t)
	f := startWith(t, Wanted{Match: &config.USB{VID: "0403", PID: "6001", Serial: "A9007"}, Root: m.root})
	m.converter("1-1", "ttyUSB7", "A0001") // somebody else's
	for i := range 5 {
		name := fmt.Sprintf("ttyUSB%d", i)
		m.converter(fmt.Sprintf("2-%d", i), name, "A9007")
		m.must(os.Remove(m.path("dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A9007-if00-port0"))) // nothing needs udev
		m.must(os.Remove(m.path("dev/" + name)))
		master := plug(t, m.path("dev/"+name))
		f.expectStatus(t, "online")
		io.WriteString(master, "hello\n")
		if got := <-f.broker.frames; got != "gw/"+name+" hello" {
			t.Fatalf("got %q", got)
		}
		m.must(os.Remove(m.path("sys/class/tty/" + name)))
		master.Close()
		f.expectStatus(t, "offline")
	}
}

func TestANameThatWentToAnotherDeviceIsNotRead(t *testing.T) {
	m := newMachine(t)
	m.converter("1-1", "ttyUSB0", "A9007")
	w := Wanted{Match: &config.USB{Serial: "A9007"}, Root: m.root}
	path, err := w.Find()
	if err != nil || w.again(path) != nil {
		t.Fatal(err)
	}
	m.file("sys/devices/pci0000:00/0000:00:14.0/usb1/1-1/serial", "B1")
	if err := w.again(path); err == nil {
		t.Error("another device is taken for it")
	}
	m.must(os.Remove(m.path("dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A9007-if00-port0")))
	m.converter("1-2", "ttyUSB1", "A9007")
	if err := w.again(path); err == nil || !strings.Contains(err.Error(), "is "+m.path("dev/ttyUSB1")+" now") {
		t.Error(err)
	}
}
