// Package cmdline reads the kernel's command line the way every program of Hook has to:
// words split at white space, each word split at its first "=".
package cmdline

import (
	"os"
	"strings"
)

// Path is where the kernel shows its command line.
const Path = "/proc/cmdline"

// Args is a parsed command line; words keep their order.
type Args struct {
	words []word
}

type word struct{ key, value string }

// Read parses the running kernel's command line.
func Read() (Args, error) {
	content, err := os.ReadFile(Path)
	if err != nil {
		return Args{}, err
	}
	return Parse(string(content)), nil
}

// Parse never fails: a word without "=" is a key with an empty value. A trailing newline (the kernel
// always adds one) belongs to no value, wherever the key stands on the line (F44).
func Parse(line string) Args {
	var args Args
	for _, field := range strings.Fields(line) {
		key, value, _ := strings.Cut(field, "=")
		args.words = append(args.words, word{key, value})
	}
	return args
}

// Get returns the value of key, or "" where it is absent. The last of several wins.
func (a Args) Get(key string) string {
	value := ""
	for _, w := range a.words {
		if w.key == key {
			value = w.value
		}
	}
	return value
}

// Has tells whether key stands on the line, with a value or without.
func (a Args) Has(key string) bool {
	for _, w := range a.words {
		if w.key == key {
			return true
		}
	}
	return false
}

// All returns every value of key in order (console= comes several times).
func (a Args) All(key string) []string {
	var values []string
	for _, w := range a.words {
		if w.key == key {
			values = append(values, w.value)
		}
	}
	return values
}

// List splits the value of key at commas; empty items are left out.
func (a Args) List(key string) []string {
	var items []string
	for _, item := range strings.Split(a.Get(key), ",") {
		if item != "" {
			items = append(items, item)
		}
	}
	return items
}

// Consoles returns the device names of all console= words, options cut off, each once, in order.
func (a Args) Consoles() []string {
	var names []string
	seen := map[string]bool{}
	for _, value := range a.All("console") {
		name, _, _ := strings.Cut(value, ",")
		if name == "" || seen[name] {
			continue
		}
		seen[name] = true
		names = append(names, name)
	}
	return names
}

// Each calls visit for every word in order.
func (a Args) Each(visit func(key, value string)) {
	for _, w := range a.words {
		visit(w.key, w.value)
	}
}
