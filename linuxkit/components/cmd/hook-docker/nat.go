package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"time"
)

// bridge is the network of every container that asks for no other.
const bridge = "docker0"

// bridgePoll is how often the bridge is looked for while dockerd starts.
const bridgePoll = 200 * time.Millisecond

// translate lets containers on the bridge reach the world, once dockerd has chosen its addresses.
//
// dockerd would do this itself, with seventy calls of iptables at every start, for chains that separate networks
// and publish ports. No action publishes a port; one rule does, and spares a boot under emulation six seconds.
func translate(ctx context.Context) error {
	subnet, err := waitForSubnet(ctx, bridge)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "iptables", rule(subnet)...)
	command.Stdout = os.Stdout
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("iptables: %w", err)
	}
	return nil
}

// rule is the one docker makes.
func rule(subnet netip.Prefix) []string {
	return []string{
		"--wait", "-t", "nat", "-A", "POSTROUTING", "-s", subnet.String(), "!", "-o", bridge, "-j", "MASQUERADE",
	}
}

// waitForSubnet waits until an interface has an IPv4 address.
func waitForSubnet(ctx context.Context, name string) (netip.Prefix, error) {
	ticker := time.NewTicker(bridgePoll)
	defer ticker.Stop()
	for {
		if subnet, err := subnetOf(name); err == nil {
			return subnet, nil
		}
		select {
		case <-ctx.Done():
			return netip.Prefix{}, ctx.Err()
		case <-ticker.C:
		}
	}
}

func subnetOf(name string) (netip.Prefix, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Prefix{}, err
	}
	addresses, err := link.Addrs()
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, address := range addresses {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil && prefix.Addr().Is4() {
			return prefix.Masked(), nil
		}
	}
	return netip.Prefix{}, errors.New("no IPv4 address")
}
