package main

import (
	"fmt"
	"os"
	"strconv"

	"hooklab.dev/hook/internal/cmdline"
	"hooklab.dev/hook/internal/netlink"
)

// maxVlan is the highest VLAN number a frame can carry besides the reserved 4095 (IEEE 802.1Q).
const maxVlan = 4094

// runVlan adds the VLAN interface that vlan_id= and hw_addr= ask for. The DHCP client then runs on it alone.
func runVlan() error {
	id, address, err := vlanWish(kernelArgs())
	if err != nil {
		return err
	}
	if id == 0 {
		return nil
	}
	parent, err := netlink.FindByAddress(netlink.SysClassNet, address)
	if err != nil {
		return err
	}
	if err := netlink.LinkUp(parent); err != nil {
		return err
	}
	name, err := netlink.AddVlan(parent, id)
	if err != nil {
		return err
	}
	if err := netlink.LinkUp(name); err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "added VLAN interface %s\n", name)
	return nil
}

// vlanWish reads the two keys; 0 means no VLAN.
func vlanWish(args cmdline.Args) (uint16, string, error) {
	text := args.Get("vlan_id")
	if text == "" {
		return 0, "", nil
	}
	id, err := strconv.ParseUint(text, 10, 16)
	if err != nil || id < 1 || id > maxVlan {
		return 0, "", fmt.Errorf("vlan_id=%s is not a VLAN number (1 to %d)", text, maxVlan)
	}
	address := args.Get("hw_addr")
	if address == "" {
		return 0, "", fmt.Errorf("vlan_id=%s without hw_addr=: which interface is meant is not known", text)
	}
	return uint16(id), address, nil
}
