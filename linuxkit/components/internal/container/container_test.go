package container

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hooklab.dev/hook/internal/bundle"
	"hooklab.dev/hook/internal/reaper"
)

// The test program is its own container child, as init is; see TestMain.
const runBundle = "HOOK_TEST_RUN_BUNDLE"

func TestMain(m *testing.M) {
	if os.Args[0] == Argv0 {
		os.Stderr.WriteString(Become(os.Args[1]).Error() + "\n")
		os.Exit(126)
	}
	if path := os.Getenv(runBundle); path != "" {
		os.Exit(start(path))
	}
	os.Exit(m.Run())
}

// start plays init: in fresh namespaces, it starts one bundle and reports how it ended.
func start(path string) int {
	b, err := bundle.Load(path)
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 100
	}
	null, _ := os.Open(os.DevNull)
	_, done, err := Start(b, reaper.New(), null, os.Stdout, os.Stderr)
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 101
	}
	status := <-done
	return status.ExitStatus()
}

// run writes a bundle around a static busybox and runs it in a user namespace, where this test is root.
func run(t *testing.T, spec map[string]any) (string, int) {
	t.Helper()
	busybox := "/bin/busybox"
	if !static(busybox) {
		t.Skip("no static busybox")
	}
	if exec.Command("unshare", "-Urnm", "true").Run() != nil {
		t.Skip("no user namespaces")
	}
	folder := t.TempDir()
	for _, dir := range []string{"lower/bin", "lower/proc", "lower/dev", "lower/etc", "host"} {
		if err := os.MkdirAll(filepath.Join(folder, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{"lower/etc/name": "inside", "host/shared": "from the host"}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	files["lower/bin/busybox"] = string(program)
	runtime := map[string]any{"mounts": []bundle.Mount{
		{Source: "tmpfs", Type: "tmpfs", Destination: filepath.Join(folder, "tmp")},
		{Destination: filepath.Join(folder, "tmp"), Options: []string{"remount", "private"}},
		{Source: "overlay", Type: "overlay", Destination: filepath.Join(folder, "rootfs"), Options: []string{
			"lowerdir=" + filepath.Join(folder, "lower"), "upperdir=" + filepath.Join(folder, "tmp/upper"),
			"workdir=" + filepath.Join(folder, "tmp/work"),
		}},
	}, "mkdir": []string{"made"}}
	for name, value := range map[string]any{"config.json": spec, "runtime.json": runtime} {
		content, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = strings.ReplaceAll(string(content), "@", folder)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	command := exec.Command("unshare", "-Urnmp", "-f", "--mount-proc", os.Args[0])
	command.Env = append(os.Environ(), runBundle+"="+folder)
	command.Stdout, command.Stderr = &out, &out
	err = command.Run()
	if err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), command.ProcessState.ExitCode()
}

// static tells whether a program runs without libraries.
func static(path string) bool {
	file, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	return file.Section(".interp") == nil
}

func spec(script string, mounts ...bundle.Mount) map[string]any {
	mounts = append([]bundle.Mount{
		{Destination: "/dev", Type: "bind", Source: "/dev", Options: []string{"rw", "rbind"}},
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "nodev", "noexec"}},
	}, mounts...)
	caps := []string{"CAP_KILL", "CAP_SYS_ADMIN"}
	return map[string]any{
		"process": map[string]any{
			"args": []string{"busybox", "sh", "-c", script},
			"env":  []string{"PATH=/sbin:/bin", "GREETING=hello"},
			"cwd":  "/etc",
			"capabilities": map[string]any{
				"bounding": caps, "effective": caps, "permitted": caps, "inheritable": caps,
			},
			"oomScoreAdj": 5,
			"rlimits":     []map[string]any{{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}},
		},
		"root":   map[string]any{"path": "rootfs"},
		"mounts": mounts,
		"linux":  map[string]any{"namespaces": []map[string]string{{"type": "mount"}, {"type": "pid"}}},
	}
}

func TestContainer(t *testing.T) {
	out, status := run(t, spec(`
		PATH=/bin; b=busybox
		$b echo pid $$ cwd $($b pwd) $GREETING
		$b cat name shared/shared; $b echo
		$b ls -d /made
		$b grep CapEff /proc/self/status
		$b echo oom $($b cat /proc/self/oom_score_adj) files $(ulimit -n)
		$b touch /etc/written && $b ls /etc
		$b touch /etc/shared/no 2>&1
		$b ls /ro; $b touch /ro/no 2>&1
		exit 7`,
		bundle.Mount{Destination: "/ro", Type: "tmpfs", Source: "tmpfs", Options: []string{"ro", "nosuid"}},
		bundle.Mount{Destination: "/ro/below", Type: "tmpfs", Source: "tmpfs"},
		bundle.Mount{Destination: "/etc/shared", Type: "bind", Source: "@/host", Options: []string{"ro", "rbind"}}))
	for _, want := range []string{
		"pid 1 cwd /etc hello", "inside", "from the host", "/made", "0000000000200020",
		"oom 5 files 64", "written", "shared/no: Read-only file system",
		"below", "/ro/no: Read-only file system",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if status != 7 {
		t.Errorf("status %d, want 7", status)
	}
}

func TestMissingProgramIsTold(t *testing.T) {
	s := spec("")
	s["process"].(map[string]any)["args"] = []string{"absent"}
	out, status := run(t, s)
	if status != 126 || !strings.Contains(out, "no program absent in /sbin:/bin") {
		t.Errorf("status %d, output %q", status, out)
	}
}

func TestMissingBindIsTold(t *testing.T) {
	out, status := run(t, spec("true", bundle.Mount{Destination: "/x", Type: "bind", Source: "/absent/path"}))
	if status != 126 || !strings.Contains(out, "/absent/path") {
		t.Errorf("status %d, output %q", status, out)
	}
}

func TestResolve(t *testing.T) {
	root := t.TempDir()
	for link, target := range map[string]string{
		"var/run": "/run", "relative": "var/run/x", "up": "../../../etc", "loop": "loop",
	} {
		path := filepath.Join(root, link)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"/var/run/docker": "/run/docker", "/relative": "/run/x", "/up/passwd": "/etc/passwd",
		"/../../a": "/a", "/new/./deep": "/new/deep", "/": "/",
	} {
		got, err := Resolve(root, path)
		if err != nil || got != filepath.Join(root, want) {
			t.Errorf("Resolve(%s) = %s, %v; want %s", path, got, err, want)
		}
	}
	if _, err := Resolve(root, "/loop"); err == nil {
		t.Error("a loop must be an error")
	}
}

func TestCapabilities(t *testing.T) {
	if got, err := capabilitySet([]string{"CAP_CHOWN", "cap_kill", "CAP_CHECKPOINT_RESTORE"}, 37); err != nil || got != 1|1<<5 {
		t.Errorf("set %x, %v", got, err)
	}
	if _, err := capabilitySet([]string{"CAP_NONSENSE"}, 40); err == nil {
		t.Error("an unknown name must be an error")
	}
}
