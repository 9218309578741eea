package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"hooklab.dev/hook/internal/docker"
	"hooklab.dev/hook/internal/zlog"
)

// engine is the docker engine as run sees it.
type engine interface {
	WaitUntilUp(ctx context.Context, interval time.Duration) error
	HasImage(ctx context.Context, image string) bool
	Pull(ctx context.Context, image string, auth *docker.Auth) (io.ReadCloser, error)
	Remove(ctx context.Context, name string) error
	Create(ctx context.Context, name string, config docker.Container) (string, error)
	Start(ctx context.Context, id string) error
	Running(ctx context.Context, id string) (bool, error)
}

// timing holds every delay; tests shorten them.
type timing struct {
	enginePoll   time.Duration // how often to look for the engine
	engineWait   time.Duration // how long before its absence is told
	pullFirst    time.Duration // back-off of the pull: first, factor, longest, and when to give up
	pullFactor   float64
	pullLongest  time.Duration
	pullGiveUp   time.Duration
	runningCheck time.Duration // from start to the look whether the worker still runs
}

var defaultTiming = timing{
	enginePoll: 100 * time.Millisecond, engineWait: time.Minute,
	pullFirst: 500 * time.Millisecond, pullFactor: 1.5, pullLongest: time.Minute, pullGiveUp: 15 * time.Minute,
	runningCheck: 3 * time.Second,
}

// run does the whole job once.
func run(ctx context.Context, log *zlog.Logger, engine engine, c config, t timing) error {
	image := c.image()
	if image == "" {
		return errors.New("cannot pull image for tink-worker, 'docker_registry' and/or 'tink_worker_image' NOT specified in /proc/cmdline")
	}
	log.Info("setting up the Docker client")
	// Hook's bootkit meets a docker that is not up yet as failing pulls, and may then sleep
	// through docker's start; waiting here pulls at the first moment possible. A docker that does
	// not come up in this time is a failing pull here as well.
	waiting, stop := context.WithTimeout(ctx, t.engineWait)
	defer stop()
	_ = engine.WaitUntilUp(waiting, t.enginePoll)
	log.Info("Pulling image", "imageName", image)
	if err := pull(ctx, log, engine, c, t); err != nil {
		return err
	}
	log.Info("Removing any existing tink-worker container")
	if err := engine.Remove(ctx, containerName); err != nil {
		return fmt.Errorf("failed to remove existing tink-worker container: %w", err)
	}
	log.Info("Creating tink-worker container")
	id, err := engine.Create(ctx, containerName, c.container())
	if err != nil {
		return fmt.Errorf("creating tink-worker container failed: %w", err)
	}
	log.Info("Starting tink-worker container")
	if err := engine.Start(ctx, id); err != nil {
		return fmt.Errorf("starting tink-worker container failed: %w", err)
	}
	sleep(ctx, t.runningCheck)
	running, err := engine.Running(ctx, id)
	if err == nil && !running {
		err = errors.New("tink-worker container is not running")
	}
	if err != nil {
		return fmt.Errorf("checking if tink-worker container is running failed: %w", err)
	}
	return nil
}

// pull gets the image with back-off. An image the engine holds already (an embedded one, say) is
// good enough when the pull fails. What goes wrong once the engine has begun to answer is only
// logged: creating the container then fails with "No such image".
func pull(ctx context.Context, log *zlog.Logger, engine engine, c config, t timing) error {
	image := c.image()
	delays := newBackoff(t)
	for {
		held := engine.HasImage(ctx, image)
		progress, err := engine.Pull(ctx, image, c.auth())
		if err == nil {
			return logProgress(log, progress)
		}
		if held {
			return nil
		}
		log.Error(err, "image pull failure", "imageName", image)
		delay, more := delays.next()
		if !more || ctx.Err() != nil {
			return err
		}
		sleep(ctx, delay)
	}
}

func logProgress(log *zlog.Logger, progress io.ReadCloser) error {
	err := docker.Lines(progress, func(line []byte) {
		var structured map[string]any
		if json.Unmarshal(line, &structured) != nil {
			log.Info("image pull logs", "output", string(line))
		} else {
			log.Info("image pull logs", "logs", structured)
		}
	})
	if err != nil {
		log.Error(err, "reading image pull logs failed")
	}
	return nil
}

// backoff is exponential with the delays spread by half, both ways.
type backoff struct {
	timing  timing
	current time.Duration
	began   time.Time
}

func newBackoff(t timing) *backoff {
	return &backoff{timing: t, current: t.pullFirst, began: time.Now()}
}

// next returns the delay before another try, or false when that would end after the time to give up.
func (b *backoff) next() (time.Duration, bool) {
	const spread = 0.5
	delay := time.Duration(float64(b.current) * (1 - spread + 2*spread*rand.Float64()))
	b.current = min(time.Duration(float64(b.current)*b.timing.pullFactor), b.timing.pullLongest)
	return delay, time.Since(b.began)+delay <= b.timing.pullGiveUp
}
