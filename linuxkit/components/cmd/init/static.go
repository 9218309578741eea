package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"hooklab.dev/hook/internal/netlink"
)

const (
	interfacesFile = "/run/network/interfaces"
	resolvConf     = "/run/resolvconf/resolv.conf"
	ntpServersFile = "/run/network/ntp-servers"
)

// ipam is the value of ipam=, mac:vlan:ip:mask:gateway:host:dns:search:ntp; lists have commas.
type ipam struct {
	mac              string
	vlan             uint16
	prefix           netip.Prefix
	gateway          netip.Addr // zero where none is given
	hostname         string
	dns, search, ntp []string
}

// parseIpam reads the nine fields; missing ones at the end are empty. MAC, address, mask and DNS are required.
func parseIpam(value string) (ipam, error) {
	var fields [9]string
	parts := strings.Split(value, ":")
	if len(parts) > len(fields) {
		return ipam{}, fmt.Errorf("ipam=%s has %d fields, at most %d are known (the MAC is written with dashes)",
			value, len(parts), len(fields))
	}
	copy(fields[:], parts)
	for i, name := range []string{0: "MAC address", 2: "IP address", 3: "netmask", 6: "DNS"} {
		if name != "" && fields[i] == "" {
			return ipam{}, fmt.Errorf("ipam=%s lacks the %s", value, name)
		}
	}
	var out ipam
	mac, err := net.ParseMAC(fields[0])
	if err != nil {
		return ipam{}, fmt.Errorf("ipam=%s: %q is not a MAC address with dashes", value, fields[0])
	}
	out.mac = mac.String()
	if fields[1] != "" {
		id, err := strconv.ParseUint(fields[1], 10, 16)
		if err != nil || id < 1 || id > maxVlan {
			return ipam{}, fmt.Errorf("ipam=%s: %q is not a VLAN number", value, fields[1])
		}
		out.vlan = uint16(id)
	}
	address, err := netip.ParseAddr(fields[2])
	if err != nil || !address.Is4() {
		return ipam{}, fmt.Errorf("ipam=%s: %q is not an IPv4 address", value, fields[2])
	}
	ones, bits := net.IPMask(net.ParseIP(fields[3]).To4()).Size()
	if bits != 32 {
		return ipam{}, fmt.Errorf("ipam=%s: %q is not a netmask", value, fields[3])
	}
	out.prefix = netip.PrefixFrom(address, ones)
	if fields[4] != "" {
		if out.gateway, err = netip.ParseAddr(fields[4]); err != nil || !out.gateway.Is4() {
			return ipam{}, fmt.Errorf("ipam=%s: %q is not a gateway address", value, fields[4])
		}
	}
	out.hostname = fields[5]
	out.dns, out.search, out.ntp = items(fields[6]), items(fields[7]), items(fields[8])
	return out, nil
}

func items(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// interfaces is the ifupdown file Hook writes; dhcp takes its presence as "addresses are static".
func (n ipam) interfaces(link string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Static Network configuration for %s\n\nauto %s\n", link, link)
	if n.vlan != 0 {
		fmt.Fprintf(&b, "iface %s inet manual\n\nauto %s.%d\n", link, link, n.vlan)
		link = fmt.Sprintf("%s.%d", link, n.vlan)
	}
	fmt.Fprintf(&b, "iface %s inet static\n", link)
	line := func(key string, values ...string) {
		if text := strings.Join(values, " "); text != "" {
			fmt.Fprintf(&b, "    %s %s\n", key, text)
		}
	}
	line("address", n.prefix.Addr().String())
	line("netmask", net.IP(net.CIDRMask(n.prefix.Bits(), 32)).String())
	if n.gateway.IsValid() {
		line("gateway", n.gateway.String())
	}
	line("hostname", n.hostname)
	line("dns-nameserver", n.dns...)
	line("dns-search", n.search...)
	line("ntp-servers", n.ntp...)
	return b.String()
}

func (n ipam) resolvConf() string {
	var b strings.Builder
	if len(n.search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(n.search, " "))
	}
	for _, server := range n.dns {
		fmt.Fprintf(&b, "nameserver %s\n", server)
	}
	return b.String()
}

// runStaticNetwork applies ipam=.
func runStaticNetwork() error {
	value := kernelArgs().Get("ipam")
	if value == "" {
		return nil
	}
	wish, err := parseIpam(value)
	if err != nil {
		return err
	}
	link, err := netlink.FindByAddress(netlink.SysClassNet, wish.mac)
	if err != nil {
		return err
	}
	for path, content := range map[string]string{
		interfacesFile: wish.interfaces(link), resolvConf: wish.resolvConf(),
		ntpServersFile: strings.Join(append(wish.ntp, ""), "\n"),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	if err := netlink.LinkUp(link); err != nil {
		return err
	}
	if wish.vlan != 0 {
		if link, err = netlink.AddVlan(link, wish.vlan); err != nil {
			return err
		}
		if err := netlink.LinkUp(link); err != nil {
			return err
		}
	}
	if wish.hostname != "" {
		if err := syscall.Sethostname([]byte(wish.hostname)); err != nil {
			return err
		}
	}
	if err := netlink.AddAddress(link, wish.prefix); err != nil {
		return err
	}
	if wish.gateway.IsValid() {
		if err := netlink.AddDefaultRoute(link, wish.gateway); err != nil {
			return err
		}
	}
	fmt.Printf("static address %s on %s\n", wish.prefix, link)
	return nil
}
