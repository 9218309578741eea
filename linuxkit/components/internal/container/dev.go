package container

import (
	"os"
	"path/filepath"
	"syscall"

	"hooklab.dev/hook/internal/bundle"
)

type node struct {
	path         string
	kind         uint32
	major, minor uint32
	mode         uint32
	uid, gid     int
}

// standard are the devices every OCI container has.
var standard = []node{
	{path: "/dev/null", kind: syscall.S_IFCHR, major: 1, minor: 3, mode: 0o666},
	{path: "/dev/zero", kind: syscall.S_IFCHR, major: 1, minor: 5, mode: 0o666},
	{path: "/dev/full", kind: syscall.S_IFCHR, major: 1, minor: 7, mode: 0o666},
	{path: "/dev/random", kind: syscall.S_IFCHR, major: 1, minor: 8, mode: 0o666},
	{path: "/dev/urandom", kind: syscall.S_IFCHR, major: 1, minor: 9, mode: 0o666},
	{path: "/dev/tty", kind: syscall.S_IFCHR, major: 5, minor: 0, mode: 0o666},
}

// populateDev fills a fresh /dev.
func populateDev(dev string, b *bundle.Bundle) error {
	nodes := append([]node{}, standard...)
	for _, d := range b.Spec.Linux.Devices {
		kind := uint32(syscall.S_IFCHR)
		if d.Type == "b" {
			kind = syscall.S_IFBLK
		}
		nodes = append(nodes, node{d.Path, kind, d.Major, d.Minor, d.FileMode & 0o777, int(d.UID), int(d.GID)})
	}
	for _, n := range nodes {
		path := filepath.Join(dev, filepath.Clean("/" + n.path)[len("/dev"):])
		if err := makeNode(path, n); err != nil {
			return err
		}
	}
	for link, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
		"stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(target, filepath.Join(dev, link)); err != nil {
			return err
		}
	}
	return nil
}

func makeNode(path string, n node) error {
	_ = os.Remove(path) // one the specification names again replaces the standard one
	number := int(n.major&0xfff)<<8 | int(n.minor&0xff) | int(n.minor&^0xff)<<12
	if err := syscall.Mknod(path, n.kind|n.mode, number); err != nil {
		return &os.PathError{Op: "mknod", Path: path, Err: err}
	}
	if err := os.Chmod(path, os.FileMode(n.mode)); err != nil { // mknod obeys the umask
		return err
	}
	return os.Chown(path, n.uid, n.gid)
}
