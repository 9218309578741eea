package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	lookEvery   = 2 * time.Millisecond
	tcpListens  = "0A" // TCP_LISTEN in the column "st" of /proc/net/tcp, see proc_pid_net(5)
	socketLink  = "socket:["
	columnLocal = 1
	columnState = 3
	columnInode = 9
)

// untilListening returns when this process itself holds a socket on every port of the lists. smee
// says "starting" before it has any, so its log can't tell.
func untilListening(ctx context.Context, udp, tcp []int) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		own, err := ownSockets()
		if err != nil {
			return err
		}
		if holds(own, "udp", udp) && holds(own, "tcp", tcp) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// ownSockets returns the inodes of the sockets of this process.
func ownSockets() (map[string]bool, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	inodes := map[string]bool{}
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err == nil && strings.HasPrefix(target, socketLink) {
			inodes[strings.TrimSuffix(strings.TrimPrefix(target, socketLink), "]")] = true
		}
	}
	return inodes, nil
}

// holds tells whether one of the sockets in own is on each of the ports.
func holds(own map[string]bool, protocol string, ports []int) bool {
	found := map[string]bool{}
	for _, family := range []string{"", "6"} {
		table, err := os.ReadFile("/proc/self/net/" + protocol + family)
		if err != nil {
			continue
		}
		for _, row := range strings.Split(string(table), "\n")[1:] {
			columns := strings.Fields(row)
			if len(columns) <= columnInode || !own[columns[columnInode]] {
				continue
			}
			if protocol == "tcp" && columns[columnState] != tcpListens {
				continue
			}
			local := columns[columnLocal]
			found[local[strings.LastIndexByte(local, ':')+1:]] = true
		}
	}
	for _, port := range ports {
		if !found[fmt.Sprintf("%04X", port)] {
			return false
		}
	}
	return true
}
