package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"hooklab.dev/hook/internal/bundle"
)

// Numbers of prctl(2) and capset(2) that package syscall does not have.
const (
	prCapbsetDrop     = 24
	prSetKeepcaps     = 8
	prSetNoNewPrivs   = 38
	prCapAmbient      = 47
	prCapAmbientRaise = 2
	capVersion3       = 0x20080522
)

var rlimits = map[string]int{
	"RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
	"RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10,
	"RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}

// execute applies limits, identity and capabilities, then runs the program.
func execute(b *bundle.Bundle) error {
	process := &b.Spec.Process
	for key, value := range b.Spec.Linux.Sysctl {
		path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return err
		}
	}
	if b.Spec.Hostname != "" && hasNamespace(b, "uts") {
		if err := syscall.Sethostname([]byte(b.Spec.Hostname)); err != nil {
			return fmt.Errorf("setting the host name: %w", err)
		}
	}
	if process.OOMScoreAdj != nil {
		if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(*process.OOMScoreAdj)), 0); err != nil {
			return err
		}
	}
	for _, limit := range process.Rlimits {
		number, known := rlimits[limit.Type]
		if !known {
			return fmt.Errorf("unknown limit %s", limit.Type)
		}
		if err := syscall.Setrlimit(number, &syscall.Rlimit{Cur: limit.Soft, Max: limit.Hard}); err != nil {
			return fmt.Errorf("setting %s: %w", limit.Type, err)
		}
	}
	path, err := lookPath(process.Args[0], process.Env)
	if err != nil {
		return err
	}
	if process.Cwd != "" {
		if err := os.Chdir(process.Cwd); err != nil {
			return err
		}
	}
	if err := become(b); err != nil {
		return err
	}
	syscall.Umask(0o022)
	if err := syscall.Exec(path, process.Args, process.Env); err != nil {
		return &os.PathError{Op: "exec", Path: path, Err: err}
	}
	return nil
}

// become takes on user, groups and capabilities. The calls act on this thread alone, which is the
// one that executes: a program started from a thread gets that thread's identity.
func become(b *bundle.Bundle) error {
	process := &b.Spec.Process
	caps := process.Capabilities
	if caps == nil {
		caps = &bundle.Capabilities{}
	}
	last, err := lastCapability()
	if err != nil {
		return err
	}
	bounding, err := capabilitySet(caps.Bounding, last)
	if err != nil {
		return err
	}
	for number := 0; number <= last; number++ {
		if bounding&(1<<number) == 0 {
			if err := prctl(prCapbsetDrop, uintptr(number), 0, 0); err != nil {
				return fmt.Errorf("dropping capability %d: %w", number, err)
			}
		}
	}
	if err := setGroups(process.User.AdditionalGids); err != nil {
		return fmt.Errorf("setting groups: %w", err)
	}
	uid, gid := uintptr(process.User.UID), uintptr(process.User.GID)
	if uid != 0 {
		if err := prctl(prSetKeepcaps, 1, 0, 0); err != nil {
			return err
		}
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fmt.Errorf("setting the group: %w", errno)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("setting the user: %w", errno)
	}
	if err := capset(caps, last); err != nil {
		return err
	}
	if process.NoNewPrivileges {
		return prctl(prSetNoNewPrivs, 1, 0, 0)
	}
	return nil
}

func capset(caps *bundle.Capabilities, last int) error {
	var sets [3]uint64
	for i, names := range [][]string{caps.Effective, caps.Permitted, caps.Inheritable} {
		set, err := capabilitySet(names, last)
		if err != nil {
			return err
		}
		sets[i] = set
	}
	header := struct {
		version uint32
		pid     int32
	}{version: capVersion3}
	type data struct{ effective, permitted, inheritable uint32 }
	halves := [2]data{
		{uint32(sets[0]), uint32(sets[1]), uint32(sets[2])},
		{uint32(sets[0] >> 32), uint32(sets[1] >> 32), uint32(sets[2] >> 32)},
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&halves[0])), 0)
	if errno != 0 {
		return fmt.Errorf("setting capabilities: %w", errno)
	}
	ambient, err := capabilitySet(caps.Ambient, last)
	if err != nil {
		return err
	}
	for number := 0; number <= last; number++ {
		if ambient&(1<<number) != 0 {
			if err := prctl(prCapAmbient, prCapAmbientRaise, uintptr(number), 0); err != nil {
				return fmt.Errorf("raising capability %d: %w", number, err)
			}
		}
	}
	return nil
}

// setGroups sets the additional groups; process 1 has none to take away.
func setGroups(groups []uint32) error {
	if len(groups) == 0 {
		return nil
	}
	first := unsafe.Pointer(&groups[0])
	_, _, errno := syscall.RawSyscall(syscall.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func prctl(option, a, b, c uintptr) error {
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, option, a, b, c, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

func hasNamespace(b *bundle.Bundle, kind string) bool {
	for _, ns := range b.Spec.Linux.Namespaces {
		if ns.Type == kind {
			return true
		}
	}
	return false
}

// lookPath finds a program in the container as a shell would, by the container's own PATH.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	search := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, variable := range env {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			search = value
		}
	}
	for _, folder := range strings.Split(search, ":") {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %s in %s", name, search)
}
