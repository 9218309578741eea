// Package kmsg writes lines into the kernel's log: whole lines, stamped, and shown on every console
// the kernel writes to, which is where a person or a harness looks when a boot goes wrong.
package kmsg

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// maxLine is what one record holds (the kernel's LOG_LINE_MAX is 1024 less its prefix).
const maxLine = 900

// noticeUser is facility "user", severity "notice": shown by the default console level, hidden by "quiet".
const noticeUser = "<13>"

// Log is an open kernel log. The zero value writes to standard error, which is what tests use.
type Log struct {
	mu   sync.Mutex
	file *os.File
}

// Open opens /dev/kmsg.
func Open() (*Log, error) {
	file, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return &Log{file: file}, nil
}

// Unlimited turns the kernel's rate limit for user space lines off: evidence must not be dropped.
func Unlimited() error {
	return os.WriteFile("/proc/sys/kernel/printk_devkmsg", []byte("on\n"), 0) // refused without the newline
}

// Printf writes one line, or several where the text has newlines or is too long for one record.
func (l *Log) Printf(format string, args ...any) {
	l.Line(fmt.Sprintf(format, args...))
}

// Line writes text; see Printf.
func (l *Log) Line(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := os.Stderr
	prefix := ""
	if l.file != nil {
		out, prefix = l.file, noticeUser
	}
	for _, record := range Split(text) {
		// One write is one record; a failure to log is not worth a failed boot.
		_, _ = out.WriteString(prefix + record + "\n")
	}
}

// Split cuts text into records: at newlines, and long lines into pieces.
func Split(text string) []string {
	var records []string
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, "\r ")
		for len(line) > maxLine {
			records = append(records, line[:maxLine])
			line = line[maxLine:]
		}
		if line != "" {
			records = append(records, line)
		}
	}
	return records
}
