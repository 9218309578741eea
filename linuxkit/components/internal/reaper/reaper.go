// Package reaper starts children of PID 1 and collects every process that ends below it.
//
// PID 1 inherits orphans, so it must wait for any process; os/exec waits for its own. The two
// cannot live together, hence one place that starts and one loop that waits.
package reaper

import (
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
)

// Reaper owns wait4(-1).
type Reaper struct {
	mu      sync.Mutex
	waiting map[int]chan syscall.WaitStatus
}

// New starts the loop.
func New() *Reaper {
	r := &Reaper{waiting: map[int]chan syscall.WaitStatus{}}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	go func() {
		for range signals {
			r.collect()
		}
	}()
	return r
}

func (r *Reaper) collect() {
	for {
		// The lock is held over wait4 so that a child that ends at once is not
		// collected before Start has registered it.
		r.mu.Lock()
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			r.mu.Unlock()
			continue
		}
		if err != nil || pid <= 0 {
			r.mu.Unlock()
			return
		}
		if done := r.waiting[pid]; done != nil && (status.Exited() || status.Signaled()) {
			delete(r.waiting, pid)
			done <- status
		}
		r.mu.Unlock()
	}
}

// Start runs a program; the channel yields its status once.
func (r *Reaper) Start(path string, argv []string, attr *syscall.ProcAttr) (int, <-chan syscall.WaitStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, nil, err
	}
	done := make(chan syscall.WaitStatus, 1)
	r.waiting[pid] = done
	return pid, done, nil
}

// Describe says how a process ended, in words.
func Describe(status syscall.WaitStatus) string {
	switch {
	case status.Exited() && status.ExitStatus() == 0:
		return "ended"
	case status.Exited():
		return "failed with status " + strconv.Itoa(status.ExitStatus())
	default:
		return "was killed by signal " + strconv.Itoa(int(status.Signal())) + " (" + status.Signal().String() + ")"
	}
}
