// Program modprobe loads modules by name or alias. The kernel calls it for what it misses
// ("modprobe -q -- NAME"), Hook once while it boots. Other options of kmod's modprobe are accepted
// where they change nothing here (-a, -b, -s, -v) and refused otherwise.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"hooklab.dev/hook/internal/cmdline"
	"hooklab.dev/hook/internal/kmod"
)

func main() {
	names, quiet, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "modprobe:", err)
		os.Exit(2)
	}
	args, _ := cmdline.Read() // without /proc there are no parameters
	modules, err := kmod.Open(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "modprobe:", err)
		os.Exit(1)
	}
	status := 0
	for _, name := range names {
		if err := modules.Load(name); err != nil {
			if !quiet || !errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintln(os.Stderr, "modprobe:", err)
			}
			status = 1
		}
	}
	os.Exit(status)
}

func parse(arguments []string) (names []string, quiet bool, err error) {
	for i, argument := range arguments {
		if argument == "--" {
			return append(names, arguments[i+1:]...), quiet, nil
		}
		switch {
		case !strings.HasPrefix(argument, "-"):
			names = append(names, argument)
		case argument == "--quiet":
			quiet = true
		case strings.HasPrefix(argument, "--") || strings.Trim(argument[1:], "abqsv") != "":
			return nil, false, fmt.Errorf("option %s is not known", argument)
		case strings.Contains(argument, "q"):
			quiet = true
		}
	}
	if len(names) == 0 {
		return nil, false, errors.New("usage: modprobe [-q] [--] MODULE…")
	}
	return names, quiet, nil
}
