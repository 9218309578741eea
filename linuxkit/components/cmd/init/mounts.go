package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

const (
	nodev  = syscall.MS_NODEV
	noexec = syscall.MS_NOEXEC
	nosuid = syscall.MS_NOSUID
)

// moveRoot makes the root a mount that has a parent. The kernel refuses pivot_root, which every
// container runtime uses, while the root is rootfs itself. LinuxKit copies all files to a new tmpfs, which
// costs seconds and, for a while, memory. Binding rootfs onto a folder of itself and moving that
// mount over "/" gives the same files a mount with a parent, at no cost.
func moveRoot() error {
	const stage = "/mnt"
	if err := os.MkdirAll(stage, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("/", stage, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding the root: %w", err)
	}
	if err := os.Chdir(stage); err != nil {
		return err
	}
	if err := syscall.Mount(".", "/", "", syscall.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the root: %w", err)
	}
	if err := syscall.Chroot("."); err != nil {
		return fmt.Errorf("entering the root: %w", err)
	}
	return os.Chdir("/")
}

type mountPlan struct {
	source, target, kind string
	flags                uintptr
	data                 string
	optional             bool // a kernel without it is no worse for Hook
}

// plans in order. /run and /var hold what LinuxKit puts there; /run is larger than LinuxKit's tenth
// of the memory because docker's images live in /run/images.
var plans = []mountPlan{
	{"proc", "/proc", "proc", nodev | nosuid | noexec | syscall.MS_RELATIME, "", false},
	{"tmpfs", "/run", "tmpfs", nodev | nosuid | syscall.MS_RELATIME, "size=50%,mode=755", false},
	{"tmpfs", "/tmp", "tmpfs", nodev | nosuid | noexec | syscall.MS_RELATIME, "size=10%,mode=1777", false},
	{"tmpfs", "/var", "tmpfs", nodev | nosuid | noexec | syscall.MS_RELATIME, "size=50%,mode=755", false},
	{"dev", "/dev", "devtmpfs", nosuid | syscall.MS_RELATIME, "mode=755", false},
	{"mqueue", "/dev/mqueue", "mqueue", noexec | nosuid | nodev, "", true},
	{"shm", "/dev/shm", "tmpfs", noexec | nosuid | nodev, "mode=1777", false},
	{"devpts", "/dev/pts", "devpts", noexec | nosuid, "gid=5,mode=0620,ptmxmode=0666", false},
	{"sysfs", "/sys", "sysfs", noexec | nosuid | nodev, "", false},
	{"securityfs", "/sys/kernel/security", "securityfs", noexec | nosuid | nodev, "", true},
	{"debugfs", "/sys/kernel/debug", "debugfs", noexec | nosuid | nodev, "", true},
	{"configfs", "/sys/kernel/config", "configfs", noexec | nosuid | nodev, "", true},
	{"pstore", "/sys/fs/pstore", "pstore", noexec | nosuid | nodev, "", true},
	{"bpf", "/sys/fs/bpf", "bpf", nosuid | noexec | nodev, "", true},
	{"efivarfs", "/sys/firmware/efi/efivars", "efivarfs", noexec | nosuid | nodev, "", true},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", noexec | nosuid | nodev, "", false},
}

// mountAll makes the system's mounts and returns what went wrong; nothing stops here.
func mountAll() []error {
	var problems []error
	note := func(err error) {
		if err != nil && !errors.Is(err, os.ErrExist) {
			problems = append(problems, err)
		}
	}
	for _, plan := range plans {
		if !plan.optional {
			note(os.MkdirAll(plan.target, 0o755))
		} else if plan.target == "/dev/mqueue" {
			note(os.MkdirAll(plan.target, 0o1777))
		} else if _, err := os.Stat(plan.target); err != nil {
			continue // sysfs shows the folder only where the kernel has the feature
		}
		err := syscall.Mount(plan.source, plan.target, plan.kind, plan.flags, plan.data)
		if err == syscall.EBUSY && plan.kind == "devtmpfs" {
			err = nil // the kernel has mounted it already
		}
		if err != nil && !plan.optional {
			note(fmt.Errorf("mounting %s: %w", plan.target, err))
		}
	}
	for _, folder := range []string{"cache", "empty", "lib", "local", "lock", "log", "opt", "spool", "tmp"} {
		note(os.MkdirAll("/var/"+folder, 0o755))
	}
	note(os.Chmod("/var/tmp", os.ModeSticky|0o777))
	note(os.Chmod("/var/empty", 0o555))
	note(os.Symlink("/run", "/var/run"))
	for link, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
		"/dev/stderr": "/proc/self/fd/2", "/dev/kcore": "/proc/kcore",
	} {
		note(os.Symlink(target, link))
	}
	// Service containers see what is mounted later (runc and docker expect a shared root, too).
	note(syscall.Mount("", "/", "", syscall.MS_SHARED|syscall.MS_REC, ""))
	return problems
}
