package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"hooklab.dev/hook/internal/cmdline"
	"hooklab.dev/hook/internal/docker"
	"hooklab.dev/hook/internal/zlog"
)

// script is an engine that does as told and notes what it was asked.
type script struct {
	pulls     []error // one a pull; after them pulls work
	held      bool
	createErr error
	stopped   bool
	progress  string
	asked     []string
}

func (s *script) note(format string, args ...any) {
	s.asked = append(s.asked, fmt.Sprintf(format, args...))
}

func (s *script) WaitUntilUp(context.Context, time.Duration) error { return nil }
func (s *script) HasImage(context.Context, string) bool            { return s.held }
func (s *script) Pull(_ context.Context, image string, auth *docker.Auth) (io.ReadCloser, error) {
	s.note("pull %s %v", image, auth != nil)
	if len(s.pulls) > 0 {
		err := s.pulls[0]
		s.pulls = s.pulls[1:]
		return nil, err
	}
	return io.NopCloser(strings.NewReader(s.progress)), nil
}
func (s *script) Remove(_ context.Context, name string) error { s.note("remove %s", name); return nil }
func (s *script) Create(_ context.Context, name string, _ docker.Container) (string, error) {
	s.note("create %s", name)
	return "id", s.createErr
}
func (s *script) Start(_ context.Context, id string) error { s.note("start %s", id); return nil }
func (s *script) Running(_ context.Context, id string) (bool, error) {
	s.note("running %s", id)
	return !s.stopped, nil
}

var quick = timing{
	enginePoll: time.Millisecond, engineWait: time.Millisecond, pullFirst: time.Millisecond, pullFactor: 1.5,
	pullLongest: 2 * time.Millisecond, pullGiveUp: time.Hour, runningCheck: 0,
}

func try(t *testing.T, s *script, line string, timing timing) (string, error) {
	t.Helper()
	var log bytes.Buffer
	err := run(context.Background(), zlog.New(&log), s, configFrom(cmdline.Parse(line)), timing)
	return log.String(), err
}

const line = "docker_registry=r.lab:5000 worker_id=x\n"

func TestGoodRun(t *testing.T) {
	s := &script{progress: "{\"status\":\"Pulling\"}\nplain\n"}
	log, err := try(t, s, line, quick)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(s.asked, ", "),
		"pull r.lab:5000/tink-worker:latest true, remove tink-worker, create tink-worker, start id, running id"; got != want {
		t.Errorf("asked %s", got)
	}
	for _, want := range []string{
		`"imageName":"r.lab:5000/tink-worker:latest"`, `"message":"Pulling image"`,
		`"logs":{"status":"Pulling"}`, `"output":"plain"`, `"message":"image pull logs"`,
		`"message":"Creating tink-worker container"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in\n%s", want, log)
		}
	}
}

func TestPullIsRetried(t *testing.T) {
	refused := errors.New("refused")
	s := &script{pulls: []error{refused, refused, refused}}
	log, err := try(t, s, line, quick)
	if err != nil || strings.Count(log, `"message":"image pull failure"`) != 3 {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestPullIsGivenUp(t *testing.T) {
	refused := errors.New("refused")
	timing := quick
	timing.pullGiveUp = 0
	s := &script{pulls: []error{refused}}
	if _, err := try(t, s, line, timing); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
}

// An embedded image has a name no network leads to.
func TestHeldImageNeedsNoPull(t *testing.T) {
	s := &script{held: true, pulls: []error{errors.New("no route")}}
	log, err := try(t, s, line, quick)
	if err != nil || strings.Contains(log, "image pull failure") {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestFailures(t *testing.T) {
	for want, c := range map[string]struct {
		script script
		line   string
	}{
		"cannot pull image for tink-worker":                           {script{}, "a=b\n"},
		"creating tink-worker container failed: No such image":        {script{createErr: errors.New("No such image")}, line},
		"checking if tink-worker container is running failed: tink-w": {script{stopped: true}, line},
	} {
		if _, err := try(t, &c.script, c.line, quick); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := newBackoff(defaultTiming)
	base := 0.5
	for i := range 20 {
		delay, more := b.next()
		if low, high := base*0.5, base*1.5; delay.Seconds() < low-0.001 || delay.Seconds() > high+0.001 {
			t.Errorf("delay %d is %v, not between %.2f s and %.2f s", i, delay, low, high)
		}
		if !more {
			t.Errorf("gave up at once")
		}
		base = min(base*1.5, 60)
	}
	b.began = b.began.Add(-15 * time.Minute)
	if _, more := b.next(); more {
		t.Error("goes on after 15 minutes")
	}
}
