package main

import (
	"bytes"
	"fmt"
)

// initramfs is the guest's root file system: an archive in the "newc" format
// of cpio, which the kernel unpacks into memory.
type initramfs struct {
	out   bytes.Buffer
	inode int
}

// Types of files, as in stat(2).
const (
	typeDir  = 0o040000
	typeFile = 0o100000
	typeChar = 0o020000
)

func (a *initramfs) dir(name string) { a.entry(name, typeDir|0o755, 0, 0, nil) }

func (a *initramfs) file(name string, perm int, data []byte) {
	a.entry(name, typeFile|perm, 0, 0, data)
}

func (a *initramfs) char(name string, major, minor int) {
	a.entry(name, typeChar|0o600, major, minor, nil)
}

// finish ends the archive and returns it.
func (a *initramfs) finish() []byte {
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	return a.out.Bytes()
}

// entry appends 13 fields of eight hexadecimal digits behind the magic number,
// the name and the data, both padded to four bytes.
func (a *initramfs) entry(name string, mode, major, minor int, data []byte) {
	a.inode++
	fmt.Fprint(&a.out, "070701")
	for _, field := range []int{
		a.inode, mode, 0, 0, 1, 0, // inode, mode, uid, gid, links, mtime
		len(data), 0, 0, major, minor, // size, device it is on, device it is
		len(name) + 1, 0, // length of the name, checksum (unused)
	} {
		fmt.Fprintf(&a.out, "%08X", field)
	}
	a.out.WriteString(name + "\x00")
	a.pad()
	a.out.Write(data)
	a.pad()
}

func (a *initramfs) pad() {
	for a.out.Len()%4 != 0 {
		a.out.WriteByte(0)
	}
}
