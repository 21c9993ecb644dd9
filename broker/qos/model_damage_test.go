package qos_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"packetboat/broker/store"
	"packetboat/broker/store/wal/simdisk"
)

// What a power cut or a bad card does to the bytes is part of the model, too:
// a torn tail, after which 1,024 seqs are skipped as abandoned, since any of
// their identifiers may be held by the cloud; and damage in the middle, after
// which messages may be missing, but not untold.

// manyIDs leaves room for what is skipped.
var manyIDs = store.IDs{First: 1, N: 5000}

// plugPulled ends a commit.
type plugPulled struct{}

// fail is what a crash does to the disk.
func (p *path) fail() {
	if p.tears > 0 {
		p.tears--
		p.logf("in the middle of a commit")
		p.disk.Fault = func(op simdisk.Op, name string) error {
			if op == simdisk.OpSync {
				panic(plugPulled{})
			}
			return nil
		}
		func() {
			defer func() {
				if r := recover(); r != nil && r != (plugPulled{}) {
					panic(r)
				}
			}()
			p.commit()
		}()
		p.disk.Fault = nil
	}
	p.disk.Crash(p.rng)
	if p.damages > 1 { // the last one stays: it says that there was some
		p.damages--
		p.damage()
	}
}

// damage changes a byte of the log, or several.
func (p *path) damage() {
	files, _ := p.disk.List()
	var logs []string
	for _, f := range files {
		if strings.HasSuffix(f.Name, ".log") && f.Size > 0 {
			logs = append(logs, f.Name)
		}
	}
	if len(logs) == 0 {
		return
	}
	name := logs[p.rng.IntN(len(logs))]
	p.disk.Edit(name, func(b []byte) []byte {
		used := len(b)
		for used > 0 && b[used-1] == 0 {
			used--
		}
		if used > 0 {
			at := p.rng.IntN(used)
			p.logf("%d bytes at %d of %s are damaged", p.burst, at, name)
			if p.burst > 1 && at+p.burst+512 > used {
				p.told += 1 << 20 // maybe no frame begins behind it: nobody can know of those in it
			}
			for i := at; i < min(at+p.burst, used); i++ {
				b[i] ^= 0x55
			}
		}
		return b
	})
}

// untold says whether more is lost than was told, when nothing is under way.
func (p *path) untold() string {
	if !p.quiet() {
		return ""
	}
	lost := uint64(0)
	for _, pub := range p.pubs {
		for i, st := range pub.state {
			if st == "done" && !slices.Contains(p.arrived, pub.msgs[i]) && !p.gaveUp[pub.msgs[i]] {
				lost++
			}
		}
	}
	if told := p.told + p.c.Lag().Lost[store.Damaged]; lost > told {
		return fmt.Sprintf("LOSS of %d, of which %d were told", lost, told)
	}
	return ""
}

func TestQoS2OverTornCommitsAndSkippedSeqs(t *testing.T) {
	skipped := 0
	for seed := range uint64(*walks / 15) {
		p := preparePath(seed, "", seed%2 == 0)
		p.ids, p.steps, p.tears = manyIDs, 60_000, 2
		p.open()
		bad := p.run()
		if bad != "" {
			for _, l := range p.trace[max(0, len(p.trace)-3000):] {
				t.Log(l)
			}
			t.Fatalf("seed %d: %s, arrived %v", seed, bad, p.arrived)
		}
		if p.c.Floor() >= 1024 {
			skipped++
		}
	}
	if skipped == 0 {
		t.Error("nothing was ever skipped")
	}
}

func overDamage(seed uint64, burst int) (p *path, bad string) {
	p = preparePath(seed, "", false)
	p.burst = burst
	p.ids, p.steps, p.tears, p.damages = manyIDs, 60_000, int(seed%2), 2
	p.open()
	if bad = p.run(); strings.HasPrefix(bad, "STUCK") {
		bad = "" // a publisher whose PUBREL is answered by a gateway that forgot it all
	}
	return p, bad
}

// TestQoS2OverDamage: what is lost is told. At the very end nobody can tell it
// from a commit that nobody was answered for; that is left out here.
func TestQoS2OverDamage(t *testing.T) {
	for seed := range uint64(*walks / 15) {
		if p, bad := overDamage(seed, 1+int(seed%2)*300); bad != "" {
			for _, l := range p.trace[max(0, len(p.trace)-3000):] {
				t.Log(l)
			}
			t.Fatalf("seed %d: %s, arrived %v", seed, bad, p.arrived)
		}
	}
}
