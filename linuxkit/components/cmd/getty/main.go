// Program getty gives a shell on every console the kernel's command line names, as Hook does: with
// INSECURE=true root needs no password, without it /bin/login asks.
package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"hooklab.dev/hook/internal/cmdline"
)

// respawnDelay keeps a shell that cannot start from eating the processor.
const respawnDelay = time.Second

// shellRC holds Hook's aliases and prompt; busybox's shell reads the file that ENV names.
const shellRC = "/etc/profile.d/local.sh"

func main() {
	args, err := cmdline.Read()
	if err != nil {
		fmt.Fprintln(os.Stderr, "getty:", err)
		os.Exit(1)
	}
	insecure := os.Getenv("INSECURE") == "true"
	allowed, _ := os.ReadFile("/etc/securetty")
	var running sync.WaitGroup
	for _, name := range args.Consoles() {
		path := "/dev/" + name
		info, err := os.Stat(path)
		if err != nil || info.Mode()&os.ModeCharDevice == 0 {
			fmt.Printf("getty: cmdline has console=%s but %s is not a character device; not starting getty for %s\n",
				name, path, name)
			continue
		}
		if len(allowed) > 0 && !listed(string(allowed), name) {
			fmt.Printf("getty: cmdline has console=%s but it does not exist in /etc/securetty\n", name)
		}
		fmt.Printf("getty: starting getty for %s\n", name)
		running.Add(1)
		go func() {
			defer running.Done()
			serve(name, path, insecure)
		}()
	}
	running.Wait()
}

func listed(securetty, name string) bool {
	for _, line := range strings.Fields(securetty) {
		if line == name {
			return true
		}
	}
	return false
}

// serve starts one session after the other on a terminal, for ever.
func serve(name, path string, insecure bool) {
	for {
		began := time.Now()
		if err := session(name, path, insecure); err != nil {
			fmt.Printf("getty: %s: %v\n", name, err)
			if err == syscall.EIO || strings.Contains(err.Error(), syscall.EIO.Error()) {
				return // a serial port that is not there opens but does nothing else
			}
		}
		if time.Since(began) < respawnDelay {
			time.Sleep(respawnDelay)
		}
	}
}

// session runs a login on the terminal until it ends.
func session(name, path string, insecure bool) error {
	tty, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer tty.Close()
	if err := makeSane(tty); err != nil {
		return err
	}
	if motd, err := os.ReadFile("/etc/motd"); err == nil {
		_, _ = tty.Write([]byte(strings.ReplaceAll(string(motd), "\n", "\r\n")))
	}
	term := "vt100"
	if strings.HasPrefix(name, "tty") && strings.Trim(name[3:], "0123456789") == "" {
		term = "linux"
	}
	env := []string{
		"TERM=" + term, "HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}
	if _, err := os.Stat(shellRC); err == nil {
		env = append(env, "ENV="+shellRC)
	}
	line := []string{"-sh"} // a dash makes it a login shell, which reads /etc/profile
	program := "/bin/sh"
	if !insecure {
		line, program = []string{"login"}, "/bin/login"
	}
	process, err := os.StartProcess(program, line, &os.ProcAttr{
		Dir:   "/",
		Env:   env,
		Files: []*os.File{tty, tty, tty},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	})
	if err != nil {
		return err
	}
	_, err = process.Wait()
	return err
}

// makeSane sets what a login expects: echo, line editing, signals, CR and LF translated. The speed
// stays as the kernel's console= set it.
func makeSane(tty *os.File) error {
	var t syscall.Termios
	if err := termios(tty, syscall.TCGETS, &t); err != nil {
		return err
	}
	t.Iflag = syscall.ICRNL | syscall.IXON
	t.Oflag = syscall.OPOST | syscall.ONLCR
	t.Lflag = syscall.ISIG | syscall.ICANON | syscall.ECHO | syscall.ECHOE | syscall.ECHOK | syscall.IEXTEN
	t.Cflag |= syscall.CREAD | syscall.CLOCAL
	for i, char := range map[int]byte{
		syscall.VINTR: 3, syscall.VQUIT: 28, syscall.VERASE: 127, syscall.VKILL: 21, syscall.VEOF: 4,
		syscall.VMIN: 1, syscall.VTIME: 0, syscall.VSTART: 17, syscall.VSTOP: 19, syscall.VSUSP: 26,
	} {
		t.Cc[i] = char
	}
	return termios(tty, syscall.TCSETS, &t)
}

func termios(tty *os.File, request uintptr, t *syscall.Termios) error {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, tty.Fd(), request, uintptr(unsafe.Pointer(t)))
	if errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}
