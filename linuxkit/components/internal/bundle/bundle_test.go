package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// As LinuxKit writes it for a container that is not read only.
const runtimeJSON = `{
    "mounts": [
        {"destination": "/c/tmp", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/c/tmp", "options": ["remount", "private"]},
        {"destination": "/c/rootfs", "type": "overlay", "source": "overlay",
         "options": ["lowerdir=/c/lower", "upperdir=/c/tmp/upper", "workdir=/c/tmp/work"]}
    ],
    "mkdir": ["/var/run/docker"],
    "bindNS": {}
}`

func TestLoad(t *testing.T) {
	folder := t.TempDir()
	const config = `{"ociVersion":"1.0.2-dev","process":{"user":{"uid":0,"gid":0},"args":["/x"],"cwd":"/",
		"capabilities":{"bounding":["CAP_KILL"]},"oomScoreAdj":-800},"root":{"path":"rootfs","readonly":true},
		"mounts":[{"destination":"/proc","type":"proc","source":"proc","options":["nosuid"]}],
		"annotations":{"hook.start":"10"},
		"linux":{"resources":{"devices":[{"allow":true,"type":"b","access":"rwm"}]},
		"namespaces":[{"type":"pid"},{"type":"mount"}]}}`
	write(t, folder, map[string]string{
		"b/config.json": config, "b/runtime.json": runtimeJSON,
		"a/config.json":   config,
		"c/config.json":   strings.ReplaceAll(config, `"10"`, `"2"`),
		"bad/config.json": "{", "empty/config.json": "{}",
		"net/config.json": config, "net/runtime.json": `{"interfaces":[{"name":"x"}]}`,
		"ns/config.json": config, "ns/runtime.json": `{"bindNS":{"net":"/run/netns/x"}}`,
	})
	if err := os.WriteFile(filepath.Join(folder, "a/config.json"), []byte(strings.ReplaceAll(config, "hook.start", "x")), 0o644); err != nil {
		t.Fatal(err)
	}
	bundles, failures := LoadAll(folder)
	if len(failures) != 4 {
		t.Errorf("failures %v, want four", failures)
	}
	var names []string
	Sort(bundles)
	for _, b := range bundles {
		names = append(names, b.Name)
	}
	if got := strings.Join(names, " "); got != "c b a" {
		t.Errorf("order %s: numbered ones first, by number, the rest by name", got)
	}
	b := bundles[1]
	if len(b.Runtime.Mounts) != 3 || b.Runtime.Mkdir[0] != "/var/run/docker" || !b.Spec.Root.Readonly ||
		*b.Spec.Process.OOMScoreAdj != -800 || b.Spec.Linux.Namespaces[0].Type != "pid" {
		t.Errorf("bundle %+v", b)
	}
	if bundles, failures := LoadAll(filepath.Join(folder, "absent")); bundles != nil || failures != nil {
		t.Error("a folder that is not there holds nothing")
	}
}

func TestOptions(t *testing.T) {
	flags, propagation, data := Options([]string{"nosuid", "ro", "rw", "rbind", "rshared", "mode=755", "size=1k", "defaults"})
	if flags != syscall.MS_NOSUID|syscall.MS_BIND|syscall.MS_REC || propagation != syscall.MS_SHARED|syscall.MS_REC || data != "mode=755,size=1k" {
		t.Errorf("%x %x %q", flags, propagation, data)
	}
}
