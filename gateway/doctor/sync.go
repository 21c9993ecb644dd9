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

// measureSyncs writes into a new file in dir, which is removed, and syncs each
// write. At least one is made.
func measureSyncs(ctx context.Context, dir string) (took []time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, syncBytes)
	if _, err := f.Write(make([]byte, syncsMade*syncBytes)); err != nil { // so that the size does not change
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	began := time.Now()
	for i := range syncsMade {
		block[0] = byte(i + 1)
		at := time.Now()
		if _, err := f.WriteAt(block, int64(i*syncBytes)); err != nil {
			return nil, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, fmt.Errorf("fdatasync: %w", err)
		}
		took = append(took, time.Since(at))
		if ctx.Err() != nil || time.Since(began) > syncsWithin {
			break
		}
	}
	return took, nil
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
