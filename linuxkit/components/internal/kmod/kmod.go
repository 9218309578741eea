// Package kmod loads kernel modules: what modprobe does, from depmod's text files, so that Hook carries
// neither kmod nor the libraries kmod is linked with. /etc/modprobe.d is not read: Hook has none.
package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"hooklab.dev/hook/internal/cmdline"
)

// Modules is one kernel's tree of modules.
type Modules struct {
	folder    string
	aliases   string // modules.alias, as text: it is searched, not indexed, since most callers ask once
	deps      map[string]entry
	soft      map[string]softdep
	args      cmdline.Args
	blacklist map[string]bool
	loaded    map[string]bool
}

type entry struct {
	path string
	deps []string // paths; the module needs the last first
}

type softdep struct{ pre, post []string }

// Open reads the tree of the running kernel.
func Open(args cmdline.Args) (*Modules, error) {
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil {
		return nil, err
	}
	var release strings.Builder
	for _, char := range name.Release {
		if char == 0 {
			break
		}
		release.WriteByte(byte(char))
	}
	return OpenAt(filepath.Join("/lib/modules", release.String()), args)
}

// OpenAt reads the tree in a folder. Module parameters and modprobe.blacklist= come from args.
func OpenAt(folder string, args cmdline.Args) (*Modules, error) {
	m := &Modules{
		folder: folder, args: args, deps: map[string]entry{}, soft: map[string]softdep{},
		blacklist: map[string]bool{}, loaded: map[string]bool{},
	}
	deps, err := os.ReadFile(filepath.Join(folder, "modules.dep"))
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(deps), "\n") {
		path, rest, ok := strings.Cut(line, ":")
		if ok {
			m.deps[nameOf(path)] = entry{path, strings.Fields(rest)}
		}
	}
	for name, read := range map[string]func(string){
		"modules.alias": func(text string) { m.aliases = text }, "modules.softdep": m.readSoft,
	} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err == nil {
			read(string(content))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	for _, list := range args.All("modprobe.blacklist") {
		for _, name := range strings.Split(list, ",") {
			m.blacklist[normal(name)] = true
		}
	}
	return m, nil
}

// readSoft reads lines like "softdep libcrc32c pre: crc32c post: x".
func (m *Modules) readSoft(text string) {
	for _, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "softdep" {
			continue
		}
		var s softdep
		into := &s.pre
		for _, word := range fields[2:] {
			switch word {
			case "pre:":
				into = &s.pre
			case "post:":
				into = &s.post
			default:
				*into = append(*into, word)
			}
		}
		m.soft[normal(fields[1])] = s
	}
}

// normal is a module's name as the kernel spells it.
func normal(name string) string { return strings.ReplaceAll(name, "-", "_") }

// nameOf is the module in a file: "kernel/net/8021q/8021q.ko.xz" holds 8021q.
func nameOf(path string) string {
	base, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return normal(base)
}

// Load loads a module by its name or by an alias; an alias may stand for several. It is no error that a module is
// there already. The error wraps fs.ErrNotExist when this kernel has nothing by that name.
func (m *Modules) Load(name string) error {
	if _, ok := m.deps[normal(name)]; ok {
		return m.insert(normal(name), nil)
	}
	modules := m.Match([]string{name})[name]
	if len(modules) == 0 {
		if built(name) {
			return nil
		}
		return fmt.Errorf("module %s: %w in %s", name, fs.ErrNotExist, m.folder)
	}
	var failures []error
	for _, module := range modules {
		failures = append(failures, m.insert(module, nil))
	}
	return errors.Join(failures...)
}

// built tells whether the running kernel has the module, in itself or loaded.
func built(name string) bool {
	_, err := os.Stat(filepath.Join("/sys/module", normal(name)))
	return err == nil
}

// insert loads a module after what it needs. The chain guards against soft dependencies in a ring.
func (m *Modules) insert(name string, chain []string) error {
	if m.loaded[name] || contains(chain, name) {
		return nil
	}
	chain = append(chain, name)
	item, ok := m.deps[name]
	if !ok {
		return nil // a soft dependency that is built in, or an alias that leads out of this tree
	}
	for _, other := range m.soft[name].pre {
		m.insertSoft(other, chain)
	}
	for i := len(item.deps) - 1; i >= 0; i-- {
		if err := m.insert(nameOf(item.deps[i]), chain); err != nil {
			return err
		}
	}
	if err := m.insertFile(name, item.path); err != nil {
		return err
	}
	m.loaded[name] = true
	for _, other := range m.soft[name].post {
		m.insertSoft(other, chain)
	}
	return nil
}

// insertSoft loads what would be good to have; softdep names aliases, too ("crc32c").
func (m *Modules) insertSoft(name string, chain []string) {
	modules := []string{normal(name)}
	if _, ok := m.deps[modules[0]]; !ok {
		modules = m.Match([]string{name})[name]
	}
	for _, module := range modules {
		_ = m.insert(module, chain)
	}
}

// insertFile hands one file to the kernel.
func (m *Modules) insertFile(name, path string) error {
	if built(name) {
		return nil
	}
	file, err := os.Open(filepath.Join(m.folder, path))
	if err != nil {
		return err
	}
	defer file.Close()
	const compressed = 4 // MODULE_INIT_COMPRESSED_FILE: the kernel unpacks it
	flags := uintptr(0)
	if !strings.HasSuffix(path, ".ko") {
		flags = compressed
	}
	parameters, err := syscall.BytePtrFromString(m.parameters(name))
	if err != nil {
		return err
	}
	_, _, errno := syscall.Syscall(finitModule(), file.Fd(), uintptr(unsafe.Pointer(parameters)), flags)
	if errno != 0 && errno != syscall.EEXIST {
		return fmt.Errorf("loading %s: %w", name, errno)
	}
	return nil
}

// parameters are those the command line gives as "module.parameter=value".
func (m *Modules) parameters(name string) string {
	var parameters []string
	m.args.Each(func(key, value string) {
		module, parameter, ok := strings.Cut(key, ".")
		if ok && normal(module) == name {
			parameters = append(parameters, parameter+"="+value)
		}
	})
	return strings.Join(parameters, " ")
}

func contains(list []string, item string) bool {
	for _, other := range list {
		if other == item {
			return true
		}
	}
	return false
}
