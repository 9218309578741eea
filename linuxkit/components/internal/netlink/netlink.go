// Package netlink does the four things Hook needs of rtnetlink: set a link up, add a VLAN link, add an IPv4
// address and add a default route.
package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Numbers of linux/if_link.h that package syscall does not have.
const (
	iflaLinkinfo = 18
	iflaInfoKind = 1
	iflaInfoData = 2
	iflaVlanID   = 1
	nlaNested    = 1 << 15
)

// SysClassNet is where links are looked up.
const SysClassNet = "/sys/class/net"

// FindByAddress returns the link with a hardware address, compared without regard to case and to the separator
// ("-" or ":"). A VLAN link has its parent's address; the parent is what is meant.
func FindByAddress(folder, address string) (string, error) {
	want := strings.ToLower(strings.ReplaceAll(address, "-", ":"))
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name(), "address"))
		if err != nil || strings.Contains(entry.Name(), ".") {
			continue
		}
		if strings.TrimSpace(string(content)) == want {
			return entry.Name(), nil
		}
	}
	return "", fmt.Errorf("no interface has the address %s", want)
}

// LinkUp sets a link up.
func LinkUp(name string) error {
	index, err := linkIndex(name)
	if err != nil {
		return err
	}
	body := ifInfo(index, syscall.IFF_UP, syscall.IFF_UP)
	return describe(request(syscall.RTM_NEWLINK, 0, body), "setting %s up", name)
}

// AddVlan makes the link "parent.id" with an 802.1Q tag. One that is there already is left alone.
func AddVlan(parent string, id uint16) (string, error) {
	name := fmt.Sprintf("%s.%d", parent, id)
	index, err := linkIndex(parent)
	if err != nil {
		return "", err
	}
	tag := attribute(iflaVlanID, binary.NativeEndian.AppendUint16(nil, id))
	info := append(attribute(iflaInfoKind, []byte("vlan")), attribute(iflaInfoData|nlaNested, tag)...)
	body := ifInfo(0, 0, 0)
	body = append(body, attribute(syscall.IFLA_LINK, binary.NativeEndian.AppendUint32(nil, uint32(index)))...)
	body = append(body, attribute(syscall.IFLA_IFNAME, append([]byte(name), 0))...)
	body = append(body, attribute(iflaLinkinfo|nlaNested, info)...)
	err = request(syscall.RTM_NEWLINK, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL, body)
	if errors.Is(err, syscall.EEXIST) {
		err = nil
	}
	return name, describe(err, "adding %s", name)
}

// AddAddress gives a link an IPv4 address with its prefix.
func AddAddress(link string, prefix netip.Prefix) error {
	index, err := linkIndex(link)
	if err != nil {
		return err
	}
	address := prefix.Addr().As4()
	body := []byte{syscall.AF_INET, byte(prefix.Bits()), 0, syscall.RT_SCOPE_UNIVERSE}
	body = binary.NativeEndian.AppendUint32(body, uint32(index))
	body = append(body, attribute(syscall.IFA_LOCAL, address[:])...)
	body = append(body, attribute(syscall.IFA_ADDRESS, address[:])...)
	if prefix.Bits() < 31 {
		broadcast := binary.BigEndian.Uint32(address[:]) | (1<<(32-prefix.Bits()) - 1)
		body = append(body, attribute(syscall.IFA_BROADCAST, binary.BigEndian.AppendUint32(nil, broadcast))...)
	}
	err = request(syscall.RTM_NEWADDR, syscall.NLM_F_CREATE|syscall.NLM_F_REPLACE, body)
	return describe(err, "adding %s to %s", prefix, link)
}

// AddDefaultRoute sends everything else to gateway.
func AddDefaultRoute(link string, gateway netip.Addr) error {
	index, err := linkIndex(link)
	if err != nil {
		return err
	}
	address := gateway.As4()
	body := []byte{
		syscall.AF_INET, 0, 0, 0, syscall.RT_TABLE_MAIN, syscall.RTPROT_BOOT,
		syscall.RT_SCOPE_UNIVERSE, syscall.RTN_UNICAST, 0, 0, 0, 0,
	}
	body = append(body, attribute(syscall.RTA_GATEWAY, address[:])...)
	body = append(body, attribute(syscall.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(index)))...)
	err = request(syscall.RTM_NEWROUTE, syscall.NLM_F_CREATE|syscall.NLM_F_REPLACE, body)
	return describe(err, "adding the default route by %s", gateway)
}

func describe(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// linkIndex reads a link's number.
func linkIndex(name string) (int, error) {
	content, err := os.ReadFile(filepath.Join(SysClassNet, name, "ifindex"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(content)))
}

func ifInfo(index int, flags, change uint32) []byte {
	body := []byte{syscall.AF_UNSPEC, 0, 0, 0}
	body = binary.NativeEndian.AppendUint32(body, uint32(index))
	body = binary.NativeEndian.AppendUint32(body, flags)
	return binary.NativeEndian.AppendUint32(body, change)
}

// attribute encodes one rtattr, padded to four bytes.
func attribute(kind uint16, value []byte) []byte {
	out := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	out = binary.NativeEndian.AppendUint16(out, kind)
	out = append(out, value...)
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	return out
}

// request sends one message and waits for the kernel's acknowledgement.
func request(kind, flags uint16, body []byte) error {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	message := binary.NativeEndian.AppendUint32(nil, uint32(syscall.NLMSG_HDRLEN+len(body)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, flags|syscall.NLM_F_REQUEST|syscall.NLM_F_ACK)
	message = binary.NativeEndian.AppendUint32(message, 1) // sequence
	message = binary.NativeEndian.AppendUint32(message, 0) // the kernel fills in who we are
	message = append(message, body...)
	if err := syscall.Sendto(fd, message, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	buffer := make([]byte, 8192)
	for {
		n, _, err := syscall.Recvfrom(fd, buffer, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Type != syscall.NLMSG_ERROR || len(m.Data) < 4 {
				continue
			}
			if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
				return syscall.Errno(-code)
			}
			return nil
		}
	}
}
