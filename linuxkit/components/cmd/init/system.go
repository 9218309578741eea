package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"hooklab.dev/hook/internal/bundle"
	"hooklab.dev/hook/internal/cmdline"
	"hooklab.dev/hook/internal/container"
	"hooklab.dev/hook/internal/kmsg"
	"hooklab.dev/hook/internal/reaper"
)

const (
	containersDir = "/containers"
	initDir       = "/etc/init.d"
	logDir        = "/var/log"
)

// system is process 1's state.
type system struct {
	log     *kmsg.Log
	reaper  *reaper.Reaper
	null    *os.File
	actions chan action
}

func runInit() {
	// Before anything is mounted: the new root must hold what follows.
	moveErr := moveRoot()
	problems := mountAll()
	log, err := kmsg.Open()
	if err != nil {
		log = &kmsg.Log{}
	}
	s := &system{log: log, actions: make(chan action, 1)}
	if err := kmsg.Unlimited(); err != nil {
		log.Printf("hook: kernel log rate limit stays: %v", err)
	}
	if moveErr != nil {
		log.Printf("hook: cannot move the root off rootfs, containers that pivot will fail: %v", moveErr)
	}
	for _, problem := range problems {
		log.Printf("hook: %v", problem)
	}
	log.Printf("hook: init started")
	s.listen()
	s.reaper = reaper.New()
	if s.null, err = os.OpenFile("/dev/null", os.O_RDWR, 0); err != nil {
		log.Printf("hook: %v", err)
	}
	go s.boot()
	s.shutdown(<-s.actions)
}

// boot runs everything up to the last service's start.
func (s *system) boot() {
	s.settle()
	s.coldplug()
	if err := prepareNetwork(); err != nil {
		s.log.Printf("hook: loopback: %v", err)
	}
	setLimits()
	s.setHostname()
	s.prepareResolvConf()
	s.runFolder(initDir)
	s.runOnboot("onboot")
	s.startServices()
	s.log.Printf("hook: system is up")
}

// listen takes requests to end. The signals are those busybox's reboot, poweroff and halt send to
// process 1, and the one the kernel sends for Ctrl-Alt-Del.
func (s *system) listen() {
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_CAD_OFF)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGINT, syscall.SIGPWR)
	go func() {
		for sig := range signals {
			s.actions <- actionOf(sig)
		}
	}()
}

// runFolder runs the programs of /etc/init.d or /etc/shutdown.d one after the other. As with
// LinuxKit, one that fails stops nothing.
func (s *system) runFolder(folder string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			s.log.Printf("hook: %v", err)
		}
		return
	}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		s.log.Printf("hook: running %s", path)
		s.runProgram(entry.Name(), path)
	}
}

func (s *system) runProgram(name, path string) {
	sink, err := newSink(s.log, name, consoleAll, "")
	if err != nil {
		s.log.Printf("hook: %s: %v", name, err)
		return
	}
	defer sink.Close()
	_, done, err := s.reaper.Start(path, []string{path}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: []uintptr{s.null.Fd(), sink.stdout.Fd(), sink.stdout.Fd()},
	})
	if err != nil {
		s.log.Printf("hook: %s: %v", name, err)
		return
	}
	if status := <-done; status.ExitStatus() != 0 {
		s.log.Printf("hook: %s %s", name, reaper.Describe(status))
	}
}

// runOnboot runs the one-shot containers of a stage in order.
func (s *system) runOnboot(stage string) {
	bundles, failures := bundle.LoadAll(filepath.Join(containersDir, stage))
	for _, failure := range failures {
		s.log.Printf("hook: %s: %v", stage, failure)
	}
	folder := filepath.Join("/run/log", stage)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		s.log.Printf("hook: %v", err)
	}
	_ = os.Symlink(folder, filepath.Join(logDir, stage))
	for i, b := range bundles {
		_, name, _ := strings.Cut(b.Name, "-")
		s.log.Printf("hook: starting %s %d/%d %s", stage, i+1, len(bundles), name)
		sink, err := newSink(s.log, name, consolePolicy(b, consoleAll), filepath.Join(folder, stage+"."+b.Name))
		if err != nil {
			s.log.Printf("hook: %s: %v", name, err)
			continue
		}
		_, done, err := container.Start(b, s.reaper, s.null, sink.stdout, sink.stderr)
		if err != nil {
			s.log.Printf("hook: %s: %v", name, err)
			sink.Close()
			continue
		}
		status := <-done
		sink.Close()
		if status.ExitStatus() != 0 {
			s.log.Printf("hook: %s %d/%d %s %s", stage, i+1, len(bundles), name, reaper.Describe(status))
		}
		_ = syscall.Unmount(b.Rootfs(), syscall.MNT_DETACH)
	}
}

// startServices starts every service and watches over each; LinuxKit restarts none, nor do we.
func (s *system) startServices() {
	bundles, failures := bundle.LoadAll(filepath.Join(containersDir, "services"))
	for _, failure := range failures {
		s.log.Printf("hook: service: %v", failure)
	}
	bundle.Sort(bundles)
	for i, b := range bundles {
		s.log.Printf("hook: starting service %d/%d %s", i+1, len(bundles), b.Name)
		sink, err := newSink(s.log, b.Name, consolePolicy(b, consoleNotable), filepath.Join(logDir, b.Name))
		if err != nil {
			s.log.Printf("hook: %s: %v", b.Name, err)
			continue
		}
		pid, done, err := container.Start(b, s.reaper, s.null, sink.stdout, sink.stderr)
		if err != nil {
			s.log.Printf("hook: %s: %v", b.Name, err)
			sink.Close()
			continue
		}
		recordPid(b.Name, pid)
		go func() {
			status := <-done
			sink.Close()
			s.log.Printf("hook: service %s %s", b.Name, reaper.Describe(status))
		}()
	}
}

// servicePids holds a file per running service, for service-exec.
const servicePids = "/run/hook/services"

func recordPid(name string, pid int) {
	if os.MkdirAll(servicePids, 0o755) == nil {
		_ = os.WriteFile(filepath.Join(servicePids, name), []byte(fmt.Sprintln(pid)), 0o644)
	}
}

// consoleKey is the annotation that says how much of a container's output the consoles show, and the key of
// the command line that says it for all containers at once.
const consoleKey = "hook.console"

func consolePolicy(b *bundle.Bundle, otherwise policy) policy {
	if value := policy(kernelArgs().Get(consoleKey)); value != "" {
		return value
	}
	if value := policy(b.Spec.Annotations[consoleKey]); value != "" {
		return value
	}
	return otherwise
}

func kernelArgs() cmdline.Args {
	args, _ := cmdline.Read() // /proc is mounted by now, or nothing works
	return args
}
