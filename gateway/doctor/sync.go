package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/bridge"
	"packetboat/gateway/quantity"
)

// How syncs are measured: as the queue writes on an idle machine, small and each on
// its own.
const (
	syncsMade   = 20
	syncBytes   = 512
	syncsWithin = 10 * time.Second // no more are begun then
)

// syncs measures how long it takes until written bytes are said to be on the disk.
func (d *Doctor) syncs(ctx context.Context, dir string, m mount) {
	took, err := measureSyncs(ctx, dir)
	if err != nil {
		d.found(dataDir, "syncs", bridge.Failed, err.Error(), "nothing durable can be acknowledged so: check the disk (dmesg)")
		return
	}
	f := judgeSyncs(took, d.deviceOf(m))
	f.Subject, f.Check = dataDir, "syncs"
	d.tell(f)
}

// measureSyncs makes some syncs in dir, one at least.
func measureSyncs(ctx context.Context, dir string) (took []time.Duration, err error) {
	began := time.Now()
	err = Syncs(ctx, dir, syncBytes, syncsMade*syncBytes, func(d time.Duration) bool {
		took = append(took, d)
		return len(took) < syncsMade && time.Since(began) <= syncsWithin
	})
	return took, err
}

// Syncs writes records of so many bytes into a new file in dir, each synced by itself,
// and tells how long each took, until tell says no more or ctx ends; one is written in
// any case. The file has so many bytes, whose blocks were all written before, as those
// of the queue's segments are; behind its end it begins anew. It is removed.
func Syncs(ctx context.Context, dir string, record int, file int64, tell func(took time.Duration) (more bool)) (err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, max(record, 64<<10))
	for at := int64(0); at < file; at += int64(len(block)) {
		if _, err := f.Write(block[:min(int64(len(block)), file-at)]); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	block = block[:record]
	at := int64(0)
	for i := byte(1); ; i++ {
		block[0] = i
		began := time.Now()
		if _, err := f.WriteAt(block, at); err != nil {
			return err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return fmt.Errorf("fdatasync: %w", err)
		}
		if !tell(time.Since(began)) || ctx.Err() != nil {
			return nil
		}
		if at += int64(record); at+int64(record) > file {
			at = 0
		}
	}
}

// JudgeSyncs makes a finding of how long syncs of 512 bytes took in dir: whether its
// device is slow, or so fast that it may not write through. It sorts them.
func JudgeSyncs(dir string, took []time.Duration) Finding {
	d := new(Doctor)
	return judgeSyncs(took, d.deviceOf(d.mountOf(dir)))
}

// What syncs of a device that writes through take at least. A device may be faster
// for a good reason, a cache that a capacitor keeps alive say; what cannot be known
// is not claimed.
const (
	leastRotating = 2 * time.Millisecond // half a turn at 15,000 a minute
	leastCard     = 300 * time.Microsecond
	leastUSB      = 200 * time.Microsecond
	leastFlash    = 15 * time.Microsecond
)

// When syncs are slow: the queue gathers more in each, so that the rate does not
// suffer, but acknowledgements come as late.
const (
	slowSync   = 200 * time.Millisecond
	slowestYet = time.Second
)

// judgeSyncs makes a finding of how long syncs took on a device.
func judgeSyncs(took []time.Duration, dev device) Finding {
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	f := Finding{Outcome: bridge.Fine, Seconds: median.Seconds()}
	f.Text = fmt.Sprintf("%d of %d bytes: %s in the middle, %s at most; %s", len(took), syncBytes, quantity.Latency(median), quantity.Latency(worst), dev)
	doubt := func(why string) {
		f.Outcome = bridge.Doubtful
		f.Text += fmt.Sprintf(". These syncs take %s: %s", quantity.Latency(median), why)
		f.Remedy = "only a power cut shows it: pull the plug while messages come in, and compare what was acknowledged with packetboat queue verify; or take a device that is made for it"
	}
	switch {
	case dev.kind == memory:
		f.Outcome, f.Text = bridge.Failed, f.Text+". This is memory: a sync keeps nothing"
		f.Remedy = "set gateway.data_dir to a directory on a disk"
	case median >= slowestYet:
		f.Outcome, f.Text = bridge.Failed, f.Text+": very slow, acknowledgements come as late"
		f.Remedy = "the card is worn, full or not fit for this: take another one (A2, or an SSD); look for others that write a lot (iotop)"
	case median >= slowSync || worst >= slowestYet:
		f.Outcome, f.Text = bridge.Doubtful, f.Text+": slow, acknowledgements come as late"
		f.Remedy = "look for others that write to this disk (iotop); cards that are worn or nearly full become slow"
	case dev.kind == rotating && median < leastRotating:
		doubt("a disk that turns cannot be so fast, so this device may not write through")
	case dev.kind == card && median < leastCard:
		doubt("cards are hardly so fast, so this device may not write through")
	case dev.kind == usb && median < leastUSB:
		doubt("sticks and USB disks are hardly so fast, so this device may not write through")
	case dev.kind == flash && median < leastFlash:
		doubt("that is faster than flash memory; unless its cache survives a power cut, this device may not write through")
	case dev.kind == virtual:
		f.Text += "; whether the machine below writes through cannot be seen from here"
	}
	return f
}
