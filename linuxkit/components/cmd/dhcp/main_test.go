package main

import (
	"strings"
	"testing"

	"hooklab.dev/hook/internal/cmdline"
)

func TestCommandLine(t *testing.T) {
	for line, want := range map[string]string{
		"a=b":                      "dhcpcd -f /dhcpcd.conf --nodev --allowinterfaces e* -1",
		"interface=eth1\n":         "dhcpcd -f /dhcpcd.conf --nodev --allowinterfaces eth1 -1",
		"interface=eth1 vlan_id=7": "dhcpcd -f /dhcpcd.conf --nodev --allowinterfaces e*.* -1",
		"vlan_id= interface=en-p0": "dhcpcd -f /dhcpcd.conf --nodev --allowinterfaces en-p0 -1",
	} {
		if got := strings.Join(dhcpcd(cmdline.Parse(line), true), " "); got != want {
			t.Errorf("%q: %s, want %s", line, got, want)
		}
	}
	daemon := strings.Join(dhcpcd(cmdline.Parse(""), false), " ")
	if want := "dhcpcd -f /dhcpcd.conf --nodev --allowinterfaces e* --nobackground"; daemon != want {
		t.Errorf("daemon: %s, want %s", daemon, want)
	}
}
