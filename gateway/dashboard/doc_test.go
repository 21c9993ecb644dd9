// Package dashboard tests the dashboard as an operator has it: in Chromium, with a
// gateway of this process behind it, a cloud that answers, one that does not, and
// devices that send.
//
// What it needs, scripts/test installs; where there is no Chromium, it is skipped.
// With -full the backlog is that of the acceptance list. With -shots DIR pictures
// of all pages are left there, to be looked at.
package dashboard
