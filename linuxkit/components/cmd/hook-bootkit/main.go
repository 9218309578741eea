// Program hook-bootkit is Hook's service that starts the Tinkerbell worker: it reads the kernel's
// command line, pulls the worker's image through the docker engine of hook-docker, runs it and ends.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"hooklab.dev/hook/internal/cmdline"
	"hooklab.dev/hook/internal/docker"
	"hooklab.dev/hook/internal/zlog"
)

const (
	dockerSocket = "/var/run/docker.sock"
	retryDelay   = 5 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGHUP, syscall.SIGTERM)
	defer stop()
	log := zlog.New(os.Stdout)
	log.Info("starting BootKit: the tink-worker bootstrapper")
	for {
		err := bootstrap(ctx, log)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			log.Info("context cancellation received, exiting")
			return
		}
		log.Error(err, "bootstrapping tink-worker failed")
		log.Info("will retry in 5 seconds")
		sleep(ctx, retryDelay)
	}
	log.Info("BootKit: the tink-worker bootstrapper finished")
}

func bootstrap(ctx context.Context, log *zlog.Logger) error {
	args, err := cmdline.Read()
	if err != nil {
		return err
	}
	return run(ctx, log, docker.New(dockerSocket), configFrom(args), defaultTiming)
}

// sleep waits, or less when the context ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
