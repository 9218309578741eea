package bundle

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Flags are the mount options of fstab that are flags of mount(2); those starting with "no" or
// listed as clearing take a flag away.
var (
	setFlags = map[string]uintptr{
		"ro": syscall.MS_RDONLY, "nosuid": syscall.MS_NOSUID, "nodev": syscall.MS_NODEV,
		"noexec": syscall.MS_NOEXEC, "sync": syscall.MS_SYNCHRONOUS, "dirsync": syscall.MS_DIRSYNC,
		"noatime": syscall.MS_NOATIME, "nodiratime": syscall.MS_NODIRATIME, "relatime": syscall.MS_RELATIME,
		"strictatime": syscall.MS_STRICTATIME, "mand": syscall.MS_MANDLOCK, "remount": syscall.MS_REMOUNT,
		"bind": syscall.MS_BIND, "rbind": syscall.MS_BIND | syscall.MS_REC,
	}
	clearFlags = map[string]uintptr{
		"rw": syscall.MS_RDONLY, "suid": syscall.MS_NOSUID, "dev": syscall.MS_NODEV, "exec": syscall.MS_NOEXEC,
		"async": syscall.MS_SYNCHRONOUS, "atime": syscall.MS_NOATIME, "diratime": syscall.MS_NODIRATIME,
		"norelatime": syscall.MS_RELATIME, "nostrictatime": syscall.MS_STRICTATIME, "nomand": syscall.MS_MANDLOCK,
		"defaults": 0,
	}
	propagationFlags = map[string]uintptr{
		"shared": syscall.MS_SHARED, "rshared": syscall.MS_SHARED | syscall.MS_REC,
		"slave": syscall.MS_SLAVE, "rslave": syscall.MS_SLAVE | syscall.MS_REC,
		"private": syscall.MS_PRIVATE, "rprivate": syscall.MS_PRIVATE | syscall.MS_REC,
		"unbindable": syscall.MS_UNBINDABLE, "runbindable": syscall.MS_UNBINDABLE | syscall.MS_REC,
	}
)

// Options splits a mount's options into flags, propagation (a call of its own for the kernel) and
// what is left: the file system's own data.
func Options(options []string) (flags, propagation uintptr, data string) {
	var rest []string
	for _, option := range options {
		if flag, ok := setFlags[option]; ok {
			flags |= flag
		} else if flag, ok := clearFlags[option]; ok {
			flags &^= flag
		} else if flag, ok := propagationFlags[option]; ok {
			propagation = flag
		} else {
			rest = append(rest, option)
		}
	}
	return flags, propagation, strings.Join(rest, ",")
}

// Prepare does in the host what runtime.json asks for: mounts, then directories, then control groups.
func (b *Bundle) Prepare() error {
	absolute := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(b.Rootfs(), path)
	}
	for _, m := range b.Runtime.Mounts {
		target := absolute(m.Destination)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		for _, option := range m.Options {
			key, value, _ := strings.Cut(option, "=")
			if key == "upperdir" || key == "workdir" {
				if err := os.MkdirAll(value, 0o755); err != nil {
					return err
				}
			}
		}
		flags, propagation, data := Options(m.Options)
		// LinuxKit writes "remount,private" for a layer's scratch space and means the second
		// word only; a remount proper would change nothing.
		if !(flags == syscall.MS_REMOUNT && propagation != 0) {
			if err := syscall.Mount(m.Source, target, m.Type, flags, data); err != nil {
				return fmt.Errorf("mounting %s on %s: %w", m.Source, target, err)
			}
		}
		if propagation != 0 {
			if err := syscall.Mount("", target, "", propagation, ""); err != nil {
				return fmt.Errorf("changing the propagation of %s: %w", target, err)
			}
		}
	}
	for _, dir := range b.Runtime.Mkdir {
		if err := os.MkdirAll(absolute(dir), 0o755); err != nil {
			return err
		}
	}
	for _, group := range b.Runtime.Cgroups {
		if err := os.MkdirAll(filepath.Join("/sys/fs/cgroup", group), 0o755); err != nil {
			return err
		}
	}
	return nil
}
