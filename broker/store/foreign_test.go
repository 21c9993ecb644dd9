package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"packetboat/broker/store/wal"
)

// TestDirectoriesThatAreNotOurs give one clear error with a remedy and are left
// as they are.
func TestDirectoriesThatAreNotOurs(t *testing.T) {
	head := func(magic string, pos uint64, version uint16) []byte {
		h := make([]byte, 32)
		copy(h, magic)
		binary.LittleEndian.PutUint16(h[8:], version)
		binary.LittleEndian.PutUint64(h[16:], pos)
		binary.LittleEndian.PutUint32(h[28:], crc32.Checksum(h[:28], crc32.MakeTable(crc32.Castagnoli)))
		return h
	}
	for _, tt := range []struct {
		name, file string
		content    []byte
		is         error
		says       []string
	}{
		{"somebody's home", ".bashrc", nil, wal.ErrForeign, []string{".bashrc", "gateway.data_dir"}},
		{"a log directory", "syslog.log", []byte("x"), wal.ErrForeign, []string{"syslog.log", "gateway.data_dir"}},
		{"snapshots of others", "vm.snap", []byte("x"), wal.ErrForeign, []string{"vm.snap"}},
		{"a segment of a newer program", "0000000000000001-0.log", head("PKBTLOG\n", 1, 2), nil, []string{"format 2", "install the newer version"}},
		{"a snapshot of a newer program", "0000000000000001.snap", append(head("PKBTSNP\n", 1, 7), make([]byte, 100)...), nil, []string{"format 7", "install the newer version"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, tt.file), tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(dir, Options{})
			if err == nil || s != nil {
				t.Fatalf("opened: %v", err)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Fatalf("error %v", err)
			}
			for _, text := range append(tt.says, dir) {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("error %q does not say %q", err, text)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q has several lines", err)
			}
			now, err := os.ReadFile(filepath.Join(dir, tt.file))
			if err != nil || string(now) != string(tt.content) {
				t.Errorf("the file was touched: %v", err)
			}
		})
	}
}

func TestADirectoryInUseIsNamedWithItsUser(t *testing.T) {
	dir := t.TempDir()
	first, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, Options{})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("error %v", err)
	}
	first.lock.Close()
	if second, err := Open(dir, Options{}); err != nil {
		t.Fatalf("after it has ended: %v", err)
	} else {
		second.lock.Close()
	}
}

func TestARecordOfAnUnknownTypeIsOfANewerProgram(t *testing.T) {
	b := newBox(t).open()
	b.s.mu.Lock()
	b.s.appendLocked([]byte{200, 1, 2, 3})
	b.s.mu.Unlock()
	b.commit()
	_, err := Open("", b.opt)
	var newer *wal.NewerError
	if !errors.As(err, &newer) {
		t.Fatalf("error %v", err)
	}
}
