package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hooklab.dev/hook/internal/cmdline"
	"hooklab.dev/hook/internal/kmsg"
)

func TestAppletName(t *testing.T) {
	for argv0, want := range map[string]string{
		"/init": "init", "/etc/init.d/002-vlan": "vlan", "/etc/init.d/003-static-network.sh": "static-network",
		"/sbin/reboot": "reboot", "static-network": "static-network", "poweroff": "poweroff",
	} {
		if got := appletName(argv0); got != want {
			t.Errorf("%s: %s, want %s", argv0, got, want)
		}
	}
}

func TestVlanWish(t *testing.T) {
	for line, want := range map[string]struct {
		id      uint16
		address string
		fails   bool
	}{
		"a=b": {}, "vlan_id=\n": {}, "hw_addr=02:00:00:00:00:01": {},
		"vlan_id=16 hw_addr=02:00:00:00:00:01\n": {id: 16, address: "02:00:00:00:00:01"},
		"vlan_id=16":                             {fails: true}, "vlan_id=0 hw_addr=x": {fails: true},
		"vlan_id=4095 hw_addr=x": {fails: true}, "vlan_id=x hw_addr=x": {fails: true},
	} {
		id, address, err := vlanWish(cmdline.Parse(line))
		if id != want.id || address != want.address || (err != nil) != want.fails {
			t.Errorf("%q: %d, %q, %v", line, id, address, err)
		}
	}
}

func TestIpam(t *testing.T) {
	got, err := parseIpam("de-ad-be-ef-FE-ed:7:192.168.2.193:255.255.255.0:192.168.2.1:myserver:1.1.1.1,8.8.8.8:a.lab,b.lab:10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if got.mac != "de:ad:be:ef:fe:ed" || got.prefix.String() != "192.168.2.193/24" {
		t.Errorf("%+v", got)
	}
	want := `# Static Network configuration for eth0

auto eth0
iface eth0 inet manual

auto eth0.7
iface eth0.7 inet static
    address 192.168.2.193
    netmask 255.255.255.0
    gateway 192.168.2.1
    hostname myserver
    dns-nameserver 1.1.1.1 8.8.8.8
    dns-search a.lab b.lab
    ntp-servers 10.0.0.1
`
	if text := got.interfaces("eth0"); text != want {
		t.Errorf("interfaces:\n%s", text)
	}
	if text := got.resolvConf(); text != "search a.lab b.lab\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n" {
		t.Errorf("resolv.conf:\n%s", text)
	}
	short, err := parseIpam("02-00-00-00-00-01::10.0.0.2:255.0.0.0:::10.0.0.1")
	if err != nil || short.gateway.IsValid() || short.vlan != 0 {
		t.Errorf("short form: %+v, %v", short, err)
	}
}

func TestIpamRefuses(t *testing.T) {
	for value, reason := range map[string]string{
		"":                                      "MAC address",
		"02:00:00:00:00:01::10.0.0.2:a:b:c":     "fields",
		"02-00-00-00-00-01::10.0.0.2:255.0.0.0": "DNS",
		"02-00-00-00-00-01:::255.0.0.0:::1.1.1.1":           "IP address",
		"02-00-00-00-00-01::10.0.0.2::::1.1.1.1":            "netmask",
		"02-00-00-00-00::10.0.0.2:255.0.0.0:::1.1.1.1":      "not a MAC",
		"02-00-00-00-00-01:x:10.0.0.2:255.0.0.0:::1.1.1.1":  "VLAN",
		"02-00-00-00-00-01::10.0.0.x:255.0.0.0:::1.1.1.1":   "IPv4",
		"02-00-00-00-00-01::10.0.0.2:255.0.255.0:::1.1.1.1": "netmask",
		"02-00-00-00-00-01::10.0.0.2:255.0.0.0:x::1.1.1.1":  "gateway",
	} {
		if _, err := parseIpam(value); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v, want %q", value, err, reason)
		}
	}
}

func TestShown(t *testing.T) {
	for line, want := range map[string][2]bool{ // notable, none
		"error starting up Docker exit status 1":               {true, false},
		`time="x" level=debug msg="Registering"`:               {false, false},
		`time="x" level=info msg="API listen on /x"`:           {true, false},
		`time="x" level=warning msg="w"`:                       {true, false},
		"failed to start daemon: parse \"udp://x\n\"":          {true, false},
		`{"level":"info","message":"Pulling image"}`:           {true, false},
		`{"logs":{"progressDetail":{"current":1,"total":2}}}`:  {false, false},
		`{"logs":{"progressDetail":{},"status":"Downloaded"}}`: {true, false},
	} {
		if got := [2]bool{shown(consoleNotable, line), shown(consoleNone, line)}; got != want || !shown(consoleAll, line) {
			t.Errorf("%s: %v, want %v", line, got, want)
		}
	}
}

func TestSinkKeepsAllLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker")
	s, err := newSink(&kmsg.Log{}, "docker", consoleNone, path)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 200<<10) // longer than the reader's buffer
	for _, text := range []string{"one\n", long + "\n", "no newline"} {
		if _, err := s.stderr.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.stdout.WriteString("out\n"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for suffix, want := range map[string]string{".log": "one\n" + long + "\nno newline", ".out.log": "out\n"} {
		got, err := os.ReadFile(path + suffix)
		if err != nil || !bytes.Equal(got, []byte(want)) {
			t.Errorf("%s holds %d bytes, want %d (%v)", suffix, len(got), len(want), err)
		}
	}
}

func TestActions(t *testing.T) {
	for sig, want := range map[syscall.Signal]action{
		syscall.SIGTERM: actionReboot, syscall.SIGINT: actionReboot,
		syscall.SIGUSR2: actionPoweroff, syscall.SIGPWR: actionPoweroff, syscall.SIGUSR1: actionHalt,
	} {
		if got := actionOf(sig); got != want {
			t.Errorf("%v means %v, want %v", sig, got, want)
		}
	}
}
