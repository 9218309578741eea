// Program init is process 1 of Hook: what LinuxKit's own init, rc.init, service and containerd do
// together, in one program. It answers to several names, like a busybox: see [applets].
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hooklab.dev/hook/internal/container"
)

// applets are the names this program answers to besides "init"; /etc/init.d/002-vlan is "vlan".
var applets = map[string]func(args []string) error{
	"reboot":         func([]string) error { return signalInit(actionReboot) },
	"poweroff":       func([]string) error { return signalInit(actionPoweroff) },
	"halt":           func([]string) error { return signalInit(actionHalt) },
	"vlan":           func([]string) error { return runVlan() },
	"static-network": func([]string) error { return runStaticNetwork() },
	"service-exec":   serviceExec,
}

func main() {
	if os.Args[0] == container.Argv0 {
		err := container.Become(os.Args[1])
		fmt.Fprintf(os.Stderr, "hook: cannot run the container of %s: %v\n", os.Args[1], err)
		os.Exit(126)
	}
	name := appletName(os.Args[0])
	if applet, ok := applets[name]; ok {
		if err := applet(os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
		return
	}
	if os.Getpid() != 1 {
		fmt.Fprintf(os.Stderr, "%s: this is process 1 of Hook; it has nothing to do as process %d\n", name, os.Getpid())
		os.Exit(2)
	}
	runInit()
}

// appletName strips the folder, and the number that orders the programs of /etc/init.d.
func appletName(argv0 string) string {
	name := filepath.Base(argv0)
	if number, rest, ok := strings.Cut(name, "-"); ok && strings.Trim(number, "0123456789") == "" {
		name = rest
	}
	return strings.TrimSuffix(name, ".sh")
}
