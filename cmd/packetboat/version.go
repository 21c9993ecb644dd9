package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is set by the linker: -ldflags "-X main.release=1.2.3".
var release string

func versionCommand(_ context.Context, e *env, args []string) int {
	if code, ok := e.parse(e.flags(), args); !ok {
		return code
	}
	fmt.Fprintf(e.out, "packetboat %s %s/%s %s\n", version(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	return exitFine
}

// version is the release, or what the build knows of its sources.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
	}
	return v
}
