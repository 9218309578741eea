package netlink

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindByAddress(t *testing.T) {
	folder := t.TempDir()
	for name, address := range map[string]string{"eth0": "02:00:00:00:00:0a\n", "eth0.7": "02:00:00:00:00:0a\n", "eth1": "02:00:00:00:00:0b\n"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name, "address"), []byte(address), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, address := range []string{"02:00:00:00:00:0a", "02-00-00-00-00-0A"} {
		if got, err := FindByAddress(folder, address); err != nil || got != "eth0" {
			t.Errorf("%s: %s, %v", address, got, err)
		}
	}
	if _, err := FindByAddress(folder, "02:00:00:00:00:0c"); err == nil {
		t.Error("an address nobody has must be an error")
	}
}

const inside = "HOOK_TEST_INSIDE"

// TestKernel runs itself again in a network namespace of its own, where it may change links.
func TestKernel(t *testing.T) {
	if os.Getenv(inside) == "" {
		if exec.Command("unshare", "-Urnm", "true").Run() != nil {
			t.Skip("no user namespaces")
		}
		// sysfs shows the links of the namespace it was mounted in.
		script := `mount -t sysfs sysfs /sys && exec "$0" -test.run '^TestKernel$' -test.v`
		command := exec.Command("unshare", "-Urnm", "sh", "-c", script, os.Args[0])
		command.Env = append(os.Environ(), inside+"=1")
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := LinkUp("lo"); err != nil {
		t.Fatal(err)
	}
	if err := AddAddress("lo", netip.MustParsePrefix("10.9.0.1/24")); err != nil {
		t.Fatal(err)
	}
	if err := AddDefaultRoute("lo", netip.MustParseAddr("10.9.0.2")); err != nil {
		t.Fatal(err)
	}
	link, err := net.InterfaceByName("lo")
	if err != nil || link.Flags&net.FlagUp == 0 {
		t.Fatalf("lo: %v, %v", link, err)
	}
	addresses, err := link.Addrs()
	if err != nil || !strings.Contains(fmt.Sprint(addresses), "10.9.0.1/24") {
		t.Errorf("addresses %v, %v", addresses, err)
	}
	routes, err := os.ReadFile("/proc/self/net/route")
	if err != nil || !strings.Contains(string(routes), "lo\t00000000\t0200090A") {
		t.Errorf("routes %s, %v", routes, err)
	}
	if err := LinkUp("absent"); err == nil {
		t.Error("a link that is not there must be an error")
	}
	if name, err := AddVlan("lo", 7); err == nil {
		t.Errorf("loopback carries no VLAN, yet %s was made", name)
	}
}

func TestAttribute(t *testing.T) {
	if got := attribute(3, []byte("abcde")); len(got) != 12 || got[0] != 9 || got[2] != 3 || string(got[4:9]) != "abcde" {
		t.Errorf("attribute %v", got)
	}
}
