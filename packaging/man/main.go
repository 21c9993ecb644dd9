// Command man writes the manual pages: packetboat.1 from what the program says
// of itself, and packetboat.toml.5 from the reference of the configuration.
//
//	go run ./packaging/man -program build/packetboat -date 2026-01-31 DIR
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	program := flag.String("program", "", "`FILE` of packetboat for this machine")
	reference := flag.String("reference", "docs/configuration.md", "`FILE` with the reference of the configuration")
	date := flag.String("date", "", "`DATE` that the pages bear")
	flag.Parse()
	if err := write(*program, *reference, *date, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

func write(program, reference, date, dir string) error {
	commands, err := programPage(program, date)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(reference)
	if err != nil {
		return fmt.Errorf("read the reference: %w", err)
	}
	for name, page := range map[string]string{
		"packetboat.1":      commands,
		"packetboat.toml.5": referencePage(string(text), date),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(page), 0o644); err != nil {
			return fmt.Errorf("write a page: %w", err)
		}
	}
	return nil
}
