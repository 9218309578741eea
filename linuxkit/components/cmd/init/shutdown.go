package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// action is how the machine ends.
type action int

const (
	actionReboot action = iota
	actionPoweroff
	actionHalt
)

func (a action) String() string { return [...]string{"reboot", "poweroff", "halt"}[a] }

// actionOf translates the signals process 1 understands, which are busybox's.
func actionOf(sig os.Signal) action {
	switch sig {
	case syscall.SIGUSR1:
		return actionHalt
	case syscall.SIGUSR2, syscall.SIGPWR:
		return actionPoweroff
	default: // SIGTERM, and SIGINT for Ctrl-Alt-Del
		return actionReboot
	}
}

// signalInit is what /sbin/reboot, /sbin/poweroff and /sbin/halt do.
func signalInit(a action) error {
	sig := map[action]syscall.Signal{
		actionReboot: syscall.SIGTERM, actionPoweroff: syscall.SIGUSR2, actionHalt: syscall.SIGUSR1,
	}[a]
	if err := syscall.Kill(1, sig); err != nil {
		return fmt.Errorf("telling process 1: %w", err)
	}
	return nil
}

// grace is how long processes have between SIGTERM and SIGKILL; LinuxKit always waits this long, we
// go on as soon as none is left.
const grace = 5 * time.Second

// shutdown ends everything and the machine. It does not return.
func (s *system) shutdown(a action) {
	s.log.Printf("hook: %s requested, stopping all processes", a)
	s.runFolder("/etc/shutdown.d")
	s.runOnboot("onshutdown")
	_ = syscall.Kill(-1, syscall.SIGTERM)
	_ = syscall.Kill(-1, syscall.SIGHUP) // shells at a terminal heed this one only
	s.waitForAll(grace)
	_ = syscall.Kill(-1, syscall.SIGKILL)
	s.waitForAll(time.Second)
	syscall.Sync()
	s.unmountDisks()
	syscall.Sync()
	s.log.Printf("hook: %s", a)
	command := map[action]int{
		actionReboot:   syscall.LINUX_REBOOT_CMD_RESTART,
		actionPoweroff: syscall.LINUX_REBOOT_CMD_POWER_OFF,
		actionHalt:     syscall.LINUX_REBOOT_CMD_HALT,
	}[a]
	if err := syscall.Reboot(command); err != nil {
		s.log.Printf("hook: %s failed: %v", a, err)
	}
	select {} // process 1 must not return
}

// waitForAll waits until no process but this one and the kernel's is left, at most limit.
func (s *system) waitForAll(limit time.Duration) {
	deadline := time.After(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for userProcesses() > 0 {
		select {
		case <-deadline:
			return
		case <-tick.C:
		}
	}
}

// userProcesses counts processes that have a program: kernel threads have an empty command line.
func userProcesses() int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	count := 0
	for _, entry := range entries {
		name := entry.Name()
		if name == "1" || strings.Trim(name, "0123456789") != "" {
			continue
		}
		if content, err := os.ReadFile("/proc/" + name + "/cmdline"); err == nil && len(content) > 0 {
			count++
		}
	}
	return count
}

// diskKinds are file systems that lose data when they are not unmounted.
var diskKinds = map[string]int{
	"ext2": 0, "ext3": 0, "ext4": 0, "btrfs": 0, "xfs": 0, "vfat": 0, "msdos": 0, "f2fs": 0,
	// A server that is gone must not hold up the end.
	"nfs": syscall.MNT_DETACH, "nfs4": syscall.MNT_DETACH, "cifs": syscall.MNT_DETACH,
}

func (s *system) unmountDisks() {
	content, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return
	}
	lines := strings.Split(string(content), "\n")
	for i := len(lines) - 1; i >= 0; i-- { // the last mounted first
		fields := strings.Fields(lines[i])
		if len(fields) < 3 {
			continue
		}
		flags, isDisk := diskKinds[fields[2]]
		if !isDisk {
			continue
		}
		if err := syscall.Unmount(fields[1], flags); err != nil {
			s.log.Printf("hook: unmounting %s: %v", fields[1], err)
		}
	}
}
