package container

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// capabilityNames by number, as in linux/capability.h.
var capabilityNames = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// capabilitySet turns names into bits. A capability this kernel does not know yet is left out, as
// "all" at build time may be more than the kernel has; a name nobody knows is an error.
func capabilitySet(names []string, last int) (uint64, error) {
	var set uint64
	for _, name := range names {
		number := capabilityNumber(name)
		if number < 0 {
			return 0, fmt.Errorf("unknown capability %s", name)
		}
		if number <= last {
			set |= 1 << number
		}
	}
	return set, nil
}

func capabilityNumber(name string) int {
	short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	for number, known := range capabilityNames {
		if known == short {
			return number
		}
	}
	return -1
}

// lastCapability asks the kernel for the highest capability it has.
func lastCapability() (int, error) {
	content, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(content)))
}
