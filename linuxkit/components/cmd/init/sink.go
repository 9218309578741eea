package main

import (
	"bufio"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"hooklab.dev/hook/internal/kmsg"
)

// policy says which lines of a container the consoles show. The log files hold all of them.
type policy string

const (
	consoleAll     policy = "all"
	consoleNotable policy = "notable" // all but what calls itself debug, info or progress
	consoleNone    policy = "none"
)

// sink takes a container's two output streams to their log files and, as the policy says, to the
// consoles. NAME.out.log is standard output and NAME.log standard error, as with LinuxKit.
type sink struct {
	stdout, stderr *os.File // the container's ends
	pumps          sync.WaitGroup
}

// newSink makes a sink; without a log path both streams share one pipe and only the console gets it.
func newSink(log *kmsg.Log, name string, show policy, logPath string) (*sink, error) {
	s := &sink{}
	var err error
	if s.stdout, err = s.pump(log, name, show, logPath, ".out.log"); err != nil {
		return nil, err
	}
	if logPath == "" {
		return s, nil
	}
	if s.stderr, err = s.pump(log, name, show, logPath, ".log"); err != nil {
		s.stdout.Close()
		return nil, err
	}
	return s, nil
}

func (s *sink) pump(log *kmsg.Log, name string, show policy, logPath, suffix string) (*os.File, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	var file io.WriteCloser = discard{}
	if logPath != "" {
		file, err = os.OpenFile(logPath+suffix, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			reader.Close()
			writer.Close()
			return nil, err
		}
	}
	s.pumps.Add(1)
	go func() {
		defer s.pumps.Done()
		defer reader.Close()
		defer file.Close()
		lines := bufio.NewReaderSize(reader, 64<<10)
		for {
			// ReadSlice hands out a line, or a full buffer of a line without end.
			line, err := lines.ReadSlice('\n')
			if len(line) > 0 {
				_, _ = file.Write(line)
				if text := string(line); shown(show, text) {
					for _, record := range kmsg.Split(text) {
						log.Printf("%s: %s", name, record)
					}
				}
			}
			if err != nil && err != bufio.ErrBufferFull {
				return
			}
		}
	}()
	return writer, nil
}

// drainLimit bounds how long a finished container's last lines are waited for: a process that
// outlived it may keep the pipe open for ever.
const drainLimit = 500 * time.Millisecond

// Close lets go of this process's copies of the container's ends and waits until what the
// container wrote is out.
func (s *sink) Close() {
	s.stdout.Close()
	if s.stderr != nil {
		s.stderr.Close()
	}
	drained := make(chan struct{})
	go func() {
		s.pumps.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-time.After(drainLimit):
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

// milestones are lines a console shall show although they call themselves "info".
var milestones = []string{"Daemon has completed initialization", "API listen on", "containerd successfully booted"}

// shown applies a policy to one line.
func shown(show policy, line string) bool {
	switch show {
	case consoleAll:
		return true
	case consoleNone:
		return false
	}
	for _, milestone := range milestones {
		if strings.Contains(line, milestone) {
			return true
		}
	}
	for _, level := range []string{"level=debug", "level=info", "level=trace", `"level":"debug"`} {
		if strings.Contains(line, level) {
			return false
		}
	}
	// Pull progress in bytes, many times a second; the stages of a layer stay.
	return !strings.Contains(line, `"progressDetail":{"current"`)
}
