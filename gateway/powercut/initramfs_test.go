package main

import "testing"

// The format is that of Documentation/driver-api/early-userspace/buffer-format.rst
// of the kernel.
func TestInitramfs(t *testing.T) {
	var a initramfs
	a.dir("dev")
	a.char("dev/null", 1, 3)
	a.file("init", 0o755, []byte("hello"))
	const zero = "00000000"
	want := "070701" + "00000001" + "000041ED" + zero + zero + "00000001" + zero +
		zero + zero + zero + zero + zero + "00000004" + zero + "dev\x00\x00\x00" +
		"070701" + "00000002" + "00002180" + zero + zero + "00000001" + zero +
		zero + zero + zero + "00000001" + "00000003" + "00000009" + zero + "dev/null\x00\x00" +
		"070701" + "00000003" + "000081ED" + zero + zero + "00000001" + zero +
		"00000005" + zero + zero + zero + zero + "00000005" + zero + "init\x00\x00" + "hello\x00\x00\x00" +
		"070701" + "00000004" + zero + zero + zero + "00000001" + zero +
		zero + zero + zero + zero + zero + "0000000B" + zero + "TRAILER!!!\x00\x00\x00\x00"
	if got := string(a.finish()); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
