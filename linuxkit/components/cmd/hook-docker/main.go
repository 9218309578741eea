// Program hook-docker is Hook's service that keeps a docker engine running: it writes the engine's
// configuration from the kernel's command line, starts it, starts it again when it ends, and
// reboots the machine when an action asks for it by making the file /worker/reboot.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"hooklab.dev/hook/internal/cmdline"
	"hooklab.dev/hook/internal/emulated"
)

const (
	configFile   = "/etc/docker/daemon.json"
	rebootFile   = "/worker/reboot"
	rebootBinary = "/sbin/reboot"
	retryDelay   = 10 * time.Second
	rebootPoll   = time.Second
)

// roomy keeps the engine's programs from collecting garbage while they start: containerd, its shims,
// runc and docker's starts of itself live for a second each and fit into what they allocate. A
// collection walks all of their memory, which a processor in software does slowly.
var roomy = []string{"GOGC=400", "GOMEMLIMIT=192MiB"}

// engineConfig is daemon.json.
type engineConfig struct {
	Debug              bool              `json:"debug"`
	LogDriver          string            `json:"log-driver,omitempty"`
	LogOpts            map[string]string `json:"log-opts,omitempty"`
	InsecureRegistries []string          `json:"insecure-registries,omitempty"`
}

func main() {
	fmt.Println("Starting Docker")
	go watchForReboot()
	for {
		if err := run(); err != nil {
			fmt.Println("error starting up Docker", err)
			fmt.Println("will retry in 10 seconds")
			time.Sleep(retryDelay)
		}
	}
}

// run configures and starts the engine and returns when it ends.
func run() error {
	args, err := cmdline.Read()
	if err != nil {
		return err
	}
	fmt.Println("Starting the Docker Engine")
	if err := configFor(args).write(configFile); err != nil {
		return fmt.Errorf("failed to write docker config: %w", err)
	}
	env := append(os.Environ(), proxies(args)...)
	if emulated.Emulated() {
		env = append(env, roomy...)
	}
	return runEngine(env)
}

// configFor builds daemon.json's contents. Without syslog_host the address is "udp://:514", as Hook's is.
func configFor(args cmdline.Args) engineConfig {
	return engineConfig{
		Debug:              true,
		LogDriver:          "syslog",
		LogOpts:            map[string]string{"syslog-address": "udp://" + args.Get("syslog_host") + ":514"},
		InsecureRegistries: args.List("insecure_registries"),
	}
}

// proxies are the engine's proxy variables, empty ones included; only upper case keys are read.
func proxies(args cmdline.Args) []string {
	var env []string
	for _, key := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		env = append(env, key+"="+args.Get(key))
	}
	return env
}

func (c engineConfig) write(path string) error {
	content, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

// watchForReboot polls: an action in a container makes the file, and inotify sees no such thing
// through every kind of mount.
func watchForReboot() {
	fmt.Println("Starting Reboot Watcher")
	for !isFile(rebootFile) {
		time.Sleep(rebootPoll)
	}
	for {
		err := reboot()
		if err == nil {
			break
		}
		fmt.Printf("error calling %s: %v\n", rebootBinary, err)
		time.Sleep(rebootPoll)
	}
	fmt.Println("Rebooting")
}

// reboot runs /sbin/reboot, or tells process 1 itself in an image without it.
func reboot() error {
	command := exec.Command(rebootBinary)
	command.Stdout = os.Stdout
	command.Stderr = os.Stderr
	err := command.Run()
	if errors.Is(err, fs.ErrNotExist) {
		return syscall.Kill(1, syscall.SIGTERM)
	}
	return err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
