// Package container runs one LinuxKit bundle: a small OCI runtime for exactly what LinuxKit's
// config.json can say, so that a boot does not pay several starts of runc per container.
//
// The parent half (Start) clones a child of this very program into new namespaces; the child half
// (Become) builds the container's world around itself and then executes the container's program.
package container

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"hooklab.dev/hook/internal/bundle"
	"hooklab.dev/hook/internal/reaper"
)

// Argv0 is the name under which the program runs its child half.
const Argv0 = "hook-container"

const cgroupRoot = "/sys/fs/cgroup"

var cloneFlags = map[string]uintptr{
	"mount": syscall.CLONE_NEWNS, "pid": syscall.CLONE_NEWPID, "network": syscall.CLONE_NEWNET,
	"ipc": syscall.CLONE_NEWIPC, "uts": syscall.CLONE_NEWUTS, "cgroup": syscall.CLONE_NEWCGROUP,
	"user": syscall.CLONE_NEWUSER,
}

// Start prepares the bundle's root and starts its program with the three given files as standard
// input, output and error. The channel tells how it ended.
func Start(b *bundle.Bundle, r *reaper.Reaper, stdin, stdout, stderr *os.File) (int, <-chan syscall.WaitStatus, error) {
	if err := b.Prepare(); err != nil {
		return 0, nil, err
	}
	var flags uintptr
	for _, ns := range b.Spec.Linux.Namespaces {
		flag, known := cloneFlags[ns.Type]
		if !known || ns.Path != "" || ns.Type == "user" {
			return 0, nil, fmt.Errorf("%s: cannot make the %s namespace %q", b.Name, ns.Type, ns.Path)
		}
		flags |= flag
	}
	attr := &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: []uintptr{stdin.Fd(), stdout.Fd(), stderr.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: flags | syscall.CLONE_NEWNS},
	}
	group, err := openCgroup(b)
	if err != nil {
		return 0, nil, err
	}
	if group != nil {
		defer group.Close()
		attr.Sys.UseCgroupFD = true
		attr.Sys.CgroupFD = int(group.Fd())
	}
	pid, done, err := r.Start("/proc/self/exe", []string{Argv0, b.Path}, attr)
	if err != nil {
		return 0, nil, fmt.Errorf("starting %s: %w", b.Name, err)
	}
	return pid, done, nil
}

// openCgroup makes the container's control group, where the unified hierarchy is mounted.
func openCgroup(b *bundle.Bundle) (*os.File, error) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.procs")); err != nil {
		return nil, nil
	}
	name := b.Spec.Linux.CgroupsPath
	if name == "" {
		name = b.Name
	}
	path := filepath.Join(cgroupRoot, filepath.Clean("/"+name))
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	return os.Open(path)
}
