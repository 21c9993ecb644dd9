package doctor

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"packetboat/adapters/serial"
	"packetboat/bridge"
	"packetboat/config"
)

// serialPorts looks for the ports of the adapters. It opens none: that would reset
// an Arduino.
func (d *Doctor) serialPorts() {
	for i := range d.cfg.Serial {
		if c := &d.cfg.Serial[i]; c.Enabled {
			d.serialPort(c.Name, c.Port, c.Match)
		}
	}
	for i := range d.cfg.Modbus {
		if c := &d.cfg.Modbus[i]; c.Enabled && c.Connect == "" {
			d.serialPort(c.Name, c.Port, c.Match)
		}
	}
}

func (d *Doctor) serialPort(name, port string, match *config.USB) {
	subject := "adapter " + name
	path, err := serial.Wanted{Port: port, Match: match}.Find()
	if err == nil {
		_, err = os.Stat(path)
		if err != nil {
			err = fmt.Errorf("port %s does not exist: is the device plugged in?", path)
		}
	}
	if err != nil {
		d.found(subject, "serial port", bridge.Failed, err.Error(), "plug it in, or correct port or match: packetboat ports lists the ports that there are; dmesg says what the kernel makes of a plug")
		return
	}
	if err := serial.Permission(path); err != nil {
		d.found(subject, "serial port", bridge.Failed, err.Error(), "udev makes ports for the group dialout; the service needs SupplementaryGroups=dialout, and a restart")
		return
	}
	text := path + " is there and may be opened"
	if unix.Geteuid() == 0 {
		text = path + " is there (root may open it; whether the service's user may: sudo -u packetboat packetboat doctor)"
	}
	h, held := serial.FindHolder(path)
	switch {
	case !held:
		d.found(subject, "serial port", bridge.Fine, text+"; nobody seen has it open", "")
	case d.isGateway(h.Process):
		d.found(subject, "serial port", bridge.Fine, fmt.Sprintf("%s is open in the gateway (process %d)", path, h.Process), "")
	default:
		d.found(subject, "serial port", bridge.Failed, fmt.Sprintf("%s is in use by %v", path, h), "stop that program: a port has one reader (ModemManager, a terminal program, brltty?)")
	}
}
