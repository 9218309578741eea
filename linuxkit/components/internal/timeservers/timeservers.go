// Package timeservers decides whom to ask for the time: the servers of ipam=, else those of the DHCP lease, else the
// public pool, as Hook always does.
package timeservers

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"hooklab.dev/hook/internal/lease"
	"hooklab.dev/hook/internal/sntp"
)

// StaticFile is where static-network leaves ipam='s time servers.
const StaticFile = "/run/network/ntp-servers"

// Pool is asked when nobody has named a server.
const Pool = "pool.ntp.org"

// timeout bounds one server's answer, name lookup included.
const timeout = 2 * time.Second

// Find returns host names or addresses, best first.
func Find(staticFile, leaseFolder string) []string {
	if content, err := os.ReadFile(staticFile); err == nil {
		if servers := strings.Fields(string(content)); len(servers) > 0 {
			return servers
		}
	}
	var servers []string
	for _, server := range lease.TimeServers(leaseFolder) {
		servers = append(servers, server.String())
	}
	if len(servers) == 0 {
		servers = []string{Pool}
	}
	return servers
}

// Ask asks the servers in turn until one answers.
func Ask(ctx context.Context, servers []string) (sntp.Offset, error) {
	var failures []error
	for _, server := range servers {
		limited, stop := context.WithTimeout(ctx, timeout)
		offset, err := sntp.Query(limited, server)
		stop()
		if err == nil {
			return offset, nil
		}
		failures = append(failures, err)
	}
	return sntp.Offset{}, errors.Join(failures...)
}
