// Package lease finds the time servers a DHCP server has named, in the files dhcpcd keeps: a lease file is the
// server's last packet, byte for byte.
package lease

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
)

// Folder is where dhcpcd keeps leases.
const Folder = "/var/lib/dhcpcd"

const (
	headerSize       = 236 // RFC 2131 §2, before the cookie
	optionPad        = 0
	optionEnd        = 255
	optionTimeServer = 42 // RFC 2132 §8.3
)

var cookie = []byte{99, 130, 83, 99}

// TimeServers reads every lease in folder; interfaces in the order of their names, each server once.
func TimeServers(folder string) []netip.Addr {
	paths, _ := filepath.Glob(filepath.Join(folder, "*.lease"))
	sort.Strings(paths)
	var servers []netip.Addr
	seen := map[netip.Addr]bool{}
	for _, path := range paths {
		packet, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for _, server := range timeServers(packet) {
			if !seen[server] {
				seen[server] = true
				servers = append(servers, server)
			}
		}
	}
	return servers
}

// timeServers reads option 42 of one packet; a packet that makes no sense names none. Parts of an
// option that comes several times are put together (RFC 3396).
func timeServers(packet []byte) []netip.Addr {
	if len(packet) < headerSize+len(cookie) || !bytes.Equal(packet[headerSize:headerSize+len(cookie)], cookie) {
		return nil
	}
	rest := packet[headerSize+len(cookie):]
	var value []byte
	for len(rest) > 0 && rest[0] != optionEnd {
		if rest[0] == optionPad {
			rest = rest[1:]
			continue
		}
		if len(rest) < 2 || len(rest) < 2+int(rest[1]) {
			break
		}
		if rest[0] == optionTimeServer {
			value = append(value, rest[2:2+int(rest[1])]...)
		}
		rest = rest[2+int(rest[1]):]
	}
	var servers []netip.Addr
	for ; len(value) >= 4; value = value[4:] {
		servers = append(servers, netip.AddrFrom4([4]byte(value[:4])))
	}
	return servers
}
