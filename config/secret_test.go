package config

import (
	"io/fs"
	"syscall"
	"testing"
)

func TestAFileThatMayNotBeReadComesWithARemedy(t *testing.T) {
	const name = "/etc/packetboat/cloud.password"
	for why, want := range map[error]string{
		syscall.ENOENT: "cannot read " + name + ": no such file or directory",
		syscall.EACCES: "cannot read " + name + ": permission denied: use sudo; if it is the service that may not, chgrp packetboat " + name + "; chmod 640 " + name,
	} {
		if got := unreadable(name, &fs.PathError{Op: "open", Path: name, Err: why}); got != want {
			t.Errorf("%s\nnot\n%s", got, want)
		}
	}
}
