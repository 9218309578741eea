package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

const (
	containerdConfig = "/etc/containerd/config.toml"
	containerdSocket = "/var/run/docker/containerd/containerd.sock"
)

// containerdToml leaves out what docker has no use for: each plugin costs a start something, and
// those for other file systems look for kernel modules.
const containerdToml = `version = 2
root = "/var/lib/docker/containerd/daemon"
state = "/var/run/docker/containerd/daemon"
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.internal.v1.restart",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "` + containerdSocket + `"
`

// runEngine runs containerd and dockerd side by side until one of them ends.
//
// dockerd could start containerd itself, but gives it little time: on a slow machine it kills one that is about to
// be ready and starts another. Started here the two also load at the same time.
func runEngine(env []string) error {
	if err := os.MkdirAll(filepath.Dir(containerdConfig), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(containerdConfig, []byte(containerdToml), 0o600); err != nil {
		return err
	}
	// Only the socket: Hook's engine listens on TCP port 2376 as well, behind TLS certificates that
	// nobody has, and spends seconds of every boot on making them.
	programs := [][]string{
		{"containerd", "--config", containerdConfig, "--log-level", "warn"},
		{
			"dockerd", "--host=unix:///var/run/docker.sock", "--containerd=" + containerdSocket,
			"--storage-driver=overlay2", "--iptables=false",
		},
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		if err := translate(ctx); err != nil && ctx.Err() == nil {
			fmt.Println("containers cannot reach the network:", err)
		}
	}()
	return runTogether(programs, env)
}

// runTogether starts programs and, when the first of them ends, ends the others. The error is that program's.
func runTogether(programs [][]string, env []string) error {
	type ending struct {
		name string
		err  error
	}
	endings := make(chan ending, len(programs))
	var running []*exec.Cmd
	var first *ending
	for _, program := range programs {
		command := exec.Command(program[0], program[1:]...)
		command.Stdout = os.Stdout
		command.Stderr = os.Stderr
		command.Env = env
		if err := command.Start(); err != nil {
			first = &ending{program[0], err}
			break
		}
		running = append(running, command)
		go func() { endings <- ending{program[0], command.Wait()} }()
	}
	left := len(running)
	if first == nil {
		end := <-endings
		first = &end
		left--
	}
	for _, command := range running {
		_ = command.Process.Signal(syscall.SIGTERM)
	}
	for ; left > 0; left-- {
		<-endings
	}
	if first.err != nil {
		return fmt.Errorf("%s: %w", first.name, first.err)
	}
	return nil
}
