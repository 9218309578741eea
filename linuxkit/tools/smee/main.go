// smee is Tinkerbell's smee v0.25.0 as a program of its own, on a file of Hardware instead of a
// Kubernetes cluster: usage `smee SETTINGS`, a JSON file described in config.go.
//
// Its log goes to stderr, one JSON object a line. Once every port it was told to serve is open it
// logs "listening". It ends with status 0 at SIGTERM or SIGINT, and with 1 when a server can't run.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/tinkerbell/tinkerbell/pkg/backend/file"
	"golang.org/x/sync/errgroup"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: smee SETTINGS")
		os.Exit(2)
	}
	s, err := readSettings(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	// logr's V(n) is slog's level -n.
	options := &slog.HandlerOptions{Level: slog.Level(-s.LogLevel)}
	log := logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, options))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, log, s); err != nil {
		log.Error(err, "smee can't go on")
		os.Exit(1)
	}
}

// run serves until ctx ends or one of the servers fails.
func run(ctx context.Context, log logr.Logger, s settings) error {
	hardware, err := file.NewWatcher(log.WithName("backend"), s.Hardware)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Hardware, err)
	}
	config, err := s.smeeConfig(hardware)
	if err != nil {
		return err
	}
	config.InitMetrics()

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		hardware.Start(ctx)
		return nil
	})
	if s.DHCP.Enabled || s.TFTP.Enabled || s.Syslog.Enabled {
		group.Go(func() error { return config.Start(ctx, log.WithName("smee")) })
	}
	if s.HTTP.Enabled {
		group.Go(func() error { return serveHTTP(ctx, log.WithName("http"), s, config, hardware) })
	}
	group.Go(func() error {
		udp, tcp := s.ports()
		if untilListening(ctx, udp, tcp) == nil {
			log.Info("listening", "udp", udp, "tcp", tcp)
		}
		return nil
	})
	return group.Wait()
}

// ports returns the UDP and the TCP ports that will be open.
func (s settings) ports() (udp, tcp []int) {
	for _, each := range []struct {
		enabled bool
		port    uint16
	}{
		{s.DHCP.Enabled, s.DHCP.Port}, {s.TFTP.Enabled, s.TFTP.Port}, {s.Syslog.Enabled, s.Syslog.Port},
	} {
		if each.enabled {
			udp = append(udp, int(each.port))
		}
	}
	if s.HTTP.Enabled {
		tcp = append(tcp, s.HTTP.Port)
	}
	return udp, tcp
}
