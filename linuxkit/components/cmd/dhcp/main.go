// Program dhcp runs the DHCP client of Hook: "dhcp once" gets a lease before the services start and
// sets the clock; "dhcp daemon" keeps the lease. It always ends well in the first case: a machine
// without a network must still come up far enough to be looked at.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"hooklab.dev/hook/internal/cmdline"
	"hooklab.dev/hook/internal/lease"
	"hooklab.dev/hook/internal/sntp"
	"hooklab.dev/hook/internal/timeservers"
)

const (
	configFile     = "/dhcpcd.conf"
	interfacesFile = "/run/network/interfaces"
	clockRetries   = 5
	clockDelay     = time.Second
)

func main() {
	mode := ""
	if len(os.Args) == 2 {
		mode = os.Args[1]
	}
	args, err := cmdline.Read()
	if err == nil {
		err = run(mode, args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dhcp:", err)
		os.Exit(1)
	}
}

func run(mode string, args cmdline.Args) error {
	static := false
	if _, err := os.Stat(interfacesFile); err == nil {
		fmt.Printf("%s exists: addresses are static, the DHCP client does not run\n", interfacesFile)
		static = true
	}
	switch mode {
	case "once", "true": // Hook's script takes "true" and "false"
		if !static {
			runOnce(args)
		}
		setClock()
		return nil
	case "daemon", "false":
		if static {
			return nil
		}
		return runDaemon(args)
	}
	return fmt.Errorf("usage: %s once|daemon", os.Args[0])
}

// pattern is which interfaces the client uses.
func pattern(args cmdline.Args) string {
	switch {
	case args.Get("vlan_id") != "":
		return "e*.*"
	case args.Get("interface") != "":
		return args.Get("interface")
	}
	return "e*"
}

// dhcpcd is the client's command line. Not --nobackground for one shot: with it dhcpcd does not
// honour its timeout (30 s) and waits for ever. With --nodev because dhcpcd 9.4.1 crashes (it calls its udev
// plugin when that could not start) where it is its own container and sees no udev.
func dhcpcd(args cmdline.Args, once bool) []string {
	line := []string{"dhcpcd", "-f", configFile, "--nodev", "--allowinterfaces", pattern(args)}
	if once {
		return append(line, "-1")
	}
	return append(line, "--nobackground")
}

func runOnce(args cmdline.Args) {
	line := dhcpcd(args, true)
	command := exec.Command(line[0], line[1:]...)
	command.Stdout = os.Stdout
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		fmt.Printf("%s: %v\n", strings.Join(line, " "), err)
	}
}

func runDaemon(args cmdline.Args) error {
	line := dhcpcd(args, false)
	path, err := exec.LookPath(line[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, line, os.Environ())
}

// setClock asks for the time until a server answers, at most six times. A clock that is far off
// needs no second kind of attempt here: one answer sets it, however far.
func setClock() {
	servers := timeservers.Find(timeservers.StaticFile, lease.Folder)
	for try := 0; try <= clockRetries; try++ {
		if try > 0 {
			fmt.Printf("waiting 1 second before retrying ntp, try #%d\n", try)
			time.Sleep(clockDelay)
		}
		answer, err := timeservers.Ask(context.Background(), servers)
		if err == nil {
			err = sntp.SetClock(answer.Offset)
		}
		if err == nil {
			fmt.Printf("ntp: clock set by %+.3f s from %s; date is now %s\n",
				answer.Offset.Seconds(), answer.Server, time.Now().UTC().Format(time.RFC3339))
			return
		}
		fmt.Printf("ntp call to %s failed: %v\n", strings.Join(servers, ", "), err)
	}
}
