// Program ntpd keeps the clock right while Hook runs. It asks rarely: Hook lives for minutes, and
// the one-shot call before the services has set the clock.
package main

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"hooklab.dev/hook/internal/lease"
	"hooklab.dev/hook/internal/sntp"
	"hooklab.dev/hook/internal/timeservers"
)

const (
	firstPoll = 64 * time.Second // RFC 5905's shortest interval
	lastPoll  = 1024 * time.Second
	// tolerance below which the clock is left alone: a step would be felt more than the error.
	tolerance = 128 * time.Millisecond
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	for poll := firstPoll; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(poll):
		}
		servers := timeservers.Find(timeservers.StaticFile, lease.Folder)
		answer, err := timeservers.Ask(ctx, servers)
		if err == nil && answer.Offset.Abs() > tolerance {
			err = sntp.SetClock(answer.Offset)
			fmt.Printf("ntpd: clock was off by %+.3f s by %s\n", answer.Offset.Seconds(), answer.Server)
		}
		if err != nil {
			fmt.Printf("ntpd: %v: %v\n", servers, err)
			poll = firstPoll
			continue
		}
		poll = min(2*poll, lastPoll)
	}
}
