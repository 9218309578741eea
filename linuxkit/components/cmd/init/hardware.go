package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hooklab.dev/hook/internal/emulated"
	"hooklab.dev/hook/internal/kmod"
	"hooklab.dev/hook/internal/netlink"
)

// maxColdplugRounds bounds the walk down a bus: each driver may show devices of the next level (a
// PCI bridge, then virtio, then a disk).
const maxColdplugRounds = 5

// coldplug loads the modules of the devices that are already there.
func (s *system) coldplug() {
	modules, err := kmod.Open(kernelArgs())
	if err != nil {
		s.log.Printf("hook: no modules are loaded: %v", err)
		return
	}
	seen := map[string]bool{}
	for range maxColdplugRounds {
		fresh := newAliases(seen)
		if len(fresh) == 0 {
			return
		}
		found := modules.Match(fresh)
		for _, alias := range fresh {
			for _, module := range found[alias] {
				if err := modules.Load(module); err != nil {
					s.log.Printf("hook: %v", err)
				}
			}
		}
	}
}

// newAliases collects the aliases not seen before, in the order of the device tree.
func newAliases(seen map[string]bool) []string {
	var fresh []string
	paths, _ := filepath.Glob("/sys/bus/*/devices/*/modalias")
	inputs, _ := filepath.Glob("/sys/class/input/*/modalias") // the power button among them
	for _, path := range append(paths, inputs...) {
		alias := readWord(path)
		if alias == "" || seen[alias] {
			continue
		}
		seen[alias] = true
		fresh = append(fresh, alias)
	}
	return fresh
}

func readWord(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}

// settle makes a machine in software bearable: TCG keeps its translations by address, so a program
// that lies elsewhere at each start is translated anew each time. Without randomization docker, which starts itself
// twice for each container, needs 0.6 s for that instead of 2. Other machines keep their protection.
func (s *system) settle() {
	if !emulated.Emulated() {
		return
	}
	if err := os.WriteFile("/proc/sys/kernel/randomize_va_space", []byte("0\n"), 0); err != nil {
		s.log.Printf("hook: %v", err)
		return
	}
	s.log.Printf("hook: the processor is emulated; programs keep their addresses")
}

func prepareNetwork() error { return netlink.LinkUp("lo") }

// setLimits raises what every service inherits to LinuxKit's values.
func setLimits() {
	const files, infinity = 1 << 20, ^uint64(0)
	const rlimitNproc = 6
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: files, Max: files})
	_ = syscall.Setrlimit(rlimitNproc, &syscall.Rlimit{Cur: infinity, Max: infinity})
}

// setHostname takes the name from /etc/hostname, or makes one of the first interface's address as
// LinuxKit does; dhcpcd sends it to the DHCP server.
func (s *system) setHostname() {
	name := readWord("/etc/hostname")
	if name == "" {
		address := readWord("/sys/class/net/eth0/address")
		if address == "" {
			return
		}
		name = "linuxkit-" + strings.ReplaceAll(address, ":", "")
	}
	if err := syscall.Sethostname([]byte(name)); err != nil {
		s.log.Printf("hook: host name: %v", err)
	}
}

// prepareResolvConf makes the file /etc/resolv.conf points to (/run/resolvconf/resolv.conf):
// containers bind it before the DHCP client writes it.
func (s *system) prepareResolvConf() {
	link, err := os.Readlink("/etc/resolv.conf")
	if err != nil {
		return
	}
	if !filepath.IsAbs(link) {
		link = filepath.Join("/etc", link)
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err == nil {
		err = os.WriteFile(link, nil, 0o644)
	}
	if err != nil {
		s.log.Printf("hook: resolv.conf: %v", err)
	}
}
