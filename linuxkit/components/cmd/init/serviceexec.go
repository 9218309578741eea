package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// serviceExec runs a program inside a service's mounts: "service-exec hook-docker docker ps". Hook
// has nerdctl for this; here no containerd knows the services.
func serviceExec(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: service-exec SERVICE PROGRAM [ARGUMENT…]")
	}
	pid := readWord(filepath.Join(servicePids, args[0]))
	if pid == "" {
		return fmt.Errorf("no service %s is running", args[0])
	}
	runtime.LockOSThread()
	// A thread may change its mount namespace only when it shares no root folder with others.
	if err := syscall.Unshare(syscall.CLONE_FS); err != nil {
		return err
	}
	ns, err := os.Open("/proc/" + pid + "/ns/mnt")
	if err != nil {
		return err
	}
	if _, _, errno := syscall.RawSyscall(setnsNumber(), ns.Fd(), syscall.CLONE_NEWNS, 0); errno != 0 {
		return fmt.Errorf("entering %s: %w", args[0], errno)
	}
	for _, folder := range filepath.SplitList("/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") {
		path := filepath.Join(folder, args[1])
		if _, err := os.Stat(path); err == nil {
			return syscall.Exec(path, args[1:], os.Environ())
		}
	}
	return fmt.Errorf("%s has no program %s", args[0], args[1])
}

// setnsNumber is setns(2)'s number, which package syscall lacks.
func setnsNumber() uintptr {
	if runtime.GOARCH == "amd64" {
		return 308
	}
	return 268 // the generic table: arm64, riscv64
}
