package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"hooklab.dev/hook/internal/bundle"
)

// Become turns the calling process, already in its new namespaces, into the container's program.
// It returns only if that fails.
func Become(path string) error {
	runtime.LockOSThread()
	b, err := bundle.Load(path)
	if err != nil {
		return err
	}
	if err := enterRoot(b); err != nil {
		return err
	}
	return execute(b)
}

// enterRoot builds the mounts below rootfs and makes that the root.
func enterRoot(b *bundle.Bundle) error {
	root := b.Rootfs()
	// What the host mounts later shall arrive here (a disk, say), never the other way round.
	if err := mount("", "/", "", syscall.MS_SLAVE|syscall.MS_REC, ""); err != nil {
		return err
	}
	if err := mount(root, root, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return err
	}
	ownDev := true
	for _, m := range b.Spec.Mounts {
		if m.Destination == "/dev" && m.Type == "bind" {
			ownDev = false
		}
	}
	for _, m := range b.Spec.Mounts {
		if err := place(root, m); err != nil {
			return err
		}
		if m.Destination == "/dev" && ownDev {
			if err := populateDev(filepath.Join(root, "dev"), b); err != nil {
				return err
			}
		}
	}
	for _, m := range b.Spec.Mounts {
		if err := seal(root, m); err != nil {
			return err
		}
	}
	if err := pivot(root); err != nil {
		return err
	}
	for _, path := range b.Spec.Linux.ReadonlyPaths {
		if err := readOnly(path); err != nil && !errors.Is(err, syscall.ENOENT) {
			return err
		}
	}
	for _, path := range b.Spec.Linux.MaskedPaths {
		if err := mask(path); err != nil && !errors.Is(err, syscall.ENOENT) {
			return err
		}
	}
	if b.Spec.Root.Readonly {
		return mount("", "/", "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")
	}
	return nil
}

// place makes one mount of config.json below root.
func place(root string, m bundle.Mount) error {
	target, err := Resolve(root, m.Destination)
	if err != nil {
		return err
	}
	flags, propagation, data := bundle.Options(m.Options)
	switch m.Type {
	case "bind":
		err = placeBind(m.Source, target, flags)
	case "cgroup", "cgroup2":
		// There is one unified hierarchy; the host's view of it is shared, read only where asked.
		err = placeBind(cgroupRoot, target, flags)
	default:
		if m.Type == "tmpfs" {
			flags &^= syscall.MS_RDONLY // see seal
		}
		if err = os.MkdirAll(target, 0o755); err == nil {
			err = mount(m.Source, target, m.Type, flags, data)
		}
	}
	if err == nil && propagation != 0 {
		err = mount("", target, "", propagation, "")
	}
	if err != nil {
		return fmt.Errorf("mounting %s (%s): %w", m.Destination, m.Type, err)
	}
	return nil
}

// seal makes a tmpfs read only where config.json wants that: not before it holds the device nodes and the mount points of
// what is mounted below it.
func seal(root string, m bundle.Mount) error {
	flags, _, _ := bundle.Options(m.Options)
	if m.Type != "tmpfs" || flags&syscall.MS_RDONLY == 0 {
		return nil
	}
	target, err := Resolve(root, m.Destination)
	if err != nil {
		return err
	}
	return mount("", target, "", syscall.MS_REMOUNT|syscall.MS_BIND|flags, "")
}

func placeBind(source, target string, flags uintptr) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if err := mountPoint(target, info.IsDir()); err != nil {
		return err
	}
	if err := mount(source, target, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return err
	}
	// The kernel ignores other flags while binding; they need a second call.
	if rest := flags &^ (syscall.MS_BIND | syscall.MS_REC); rest != 0 {
		return mount("", target, "", syscall.MS_REMOUNT|syscall.MS_BIND|rest, "")
	}
	return nil
}

func mountPoint(target string, dir bool) error {
	if dir {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if _, err := os.Lstat(target); err == nil {
		return nil
	}
	file, err := os.OpenFile(target, os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return file.Close()
}

// Resolve returns where path lies below root, following symbolic links as if root were "/":
// /var/run -> /run in an image must not lead to the host's /run.
func Resolve(root, path string) (string, error) {
	const maxLinks = 40
	links := 0
	current := "/"
	rest := strings.Split(path, "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			current = filepath.Dir(current)
			continue
		}
		next := filepath.Join(current, part)
		target, err := os.Readlink(filepath.Join(root, next))
		if err != nil { // no link, or nothing there yet
			current = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("too many symbolic links in %s", path)
		}
		if filepath.IsAbs(target) {
			current = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return filepath.Join(root, current), nil
}

// pivot makes root the root of this mount namespace and lets go of the old one.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	// Both arguments the same: the old root ends up on top of the new one, at ".".
	if err := syscall.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root to %s: %w", root, err)
	}
	if err := syscall.Unmount(".", syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the old root: %w", err)
	}
	return os.Chdir("/")
}

func readOnly(path string) error {
	if err := mount(path, path, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return err
	}
	return mount("", path, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")
}

func mask(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return mount("tmpfs", path, "tmpfs", syscall.MS_RDONLY, "size=0")
	}
	return mount("/dev/null", path, "", syscall.MS_BIND, "")
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		return &os.PathError{Op: "mount", Path: target, Err: err}
	}
	return nil
}
