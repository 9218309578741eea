// Package zlog writes one JSON object a line in the shape Hook's own programs do (level, fields, time, message),
// so that whatever reads Hook's logs reads these.
package zlog

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Logger writes to one stream.
type Logger struct {
	mu  sync.Mutex
	out io.Writer
	now func() time.Time
}

// New returns a logger with the system's clock.
func New(out io.Writer) *Logger { return &Logger{out: out, now: time.Now} }

// Info logs a message with pairs of key and value.
func (l *Logger) Info(message string, pairs ...any) { l.write("info", nil, message, pairs) }

// Error logs a failure; err becomes the field "error".
func (l *Logger) Error(err error, message string, pairs ...any) {
	l.write("error", err, message, pairs)
}

func (l *Logger) write(level string, err error, message string, pairs []any) {
	line := field(nil, "level", level)
	if err != nil {
		line = field(line, "error", err.Error())
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		line = field(line, fmt.Sprint(pairs[i]), pairs[i+1])
	}
	line = field(line, "time", l.now().UTC().Format(time.RFC3339))
	line = field(line, "message", message)
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.out.Write(append(line, '}', '\n'))
}

// field appends one member; the order of members is the order of the calls.
func field(line []byte, key string, value any) []byte {
	separator := byte(',')
	if line == nil {
		separator = '{'
	}
	name, _ := json.Marshal(key)
	content, err := json.Marshal(value)
	if err != nil {
		content, _ = json.Marshal(fmt.Sprint(value))
	}
	line = append(append(line, separator), name...)
	return append(append(line, ':'), content...)
}
