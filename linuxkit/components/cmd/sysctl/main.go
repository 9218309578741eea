// Program sysctl applies "key = value" files: called "sysctl" those of /etc/sysctl.d to /proc/sys, called
// "sysfs" those of /etc/sysfs.d to /sys. What this kernel does not have is told and skipped.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	config, tree, separators := "/etc/sysctl.d", "/proc/sys", "./"
	if filepath.Base(os.Args[0]) == "sysfs" {
		config, tree, separators = "/etc/sysfs.d", "/sys", "/"
	}
	paths, _ := filepath.Glob(filepath.Join(config, "*.conf")) // sorted
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			fmt.Println("WARN:", err)
			continue
		}
		settings, failures := parse(string(content), separators)
		for _, failure := range failures {
			fmt.Printf("WARN: %s: %v\n", path, failure)
		}
		for _, s := range settings {
			if err := s.apply(tree); err != nil {
				fmt.Println("WARN:", err)
			}
		}
	}
}

// setting is one line: a path below the tree and what to write there.
type setting struct{ path, value string }

// parse reads a file; comments start with "#" or ";". A leading "-" of a key is sysctl.d's way to say that the key
// may be missing, which here every key may. In sysctl.d dots and slashes separate alike; the value may contain "=".
func parse(text, separators string) (settings []setting, failures []error) {
	for number, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		parts := strings.FieldsFunc(strings.TrimPrefix(strings.TrimSpace(key), "-"), func(r rune) bool {
			return strings.ContainsRune(separators, r)
		})
		if !ok || len(parts) == 0 {
			failures = append(failures, fmt.Errorf("line %d is not KEY = VALUE: %s", number+1, line))
			continue
		}
		settings = append(settings, setting{filepath.Join(parts...), strings.TrimSpace(value)})
	}
	return settings, failures
}

func (s setting) apply(tree string) error {
	file, err := os.OpenFile(filepath.Join(tree, s.path), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.WriteString(s.value)
	return err
}
