// Package bundle reads what LinuxKit writes for each container of an image:
// /containers/{onboot,services,onshutdown}/NAME/{config.json,runtime.json}.
//
// config.json is an OCI runtime specification, runtime.json LinuxKit's list of things to do in the
// host before the container starts (mount its root, make directories). Only fields LinuxKit can write are read.
package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
)

// Mount is one entry of either file.
type Mount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Options     []string `json:"options"`
}

// Runtime is runtime.json. Interfaces and bindNS of LinuxKit are refused, not ignored: see Check.
type Runtime struct {
	Cgroups    []string          `json:"cgroups"`
	Mounts     []Mount           `json:"mounts"`
	Mkdir      []string          `json:"mkdir"`
	Interfaces []json.RawMessage `json:"interfaces"`
	BindNS     map[string]string `json:"bindNS"`
}

// Spec is the part of an OCI runtime specification that LinuxKit fills.
type Spec struct {
	Process struct {
		User struct {
			UID            uint32   `json:"uid"`
			GID            uint32   `json:"gid"`
			AdditionalGids []uint32 `json:"additionalGids"`
		} `json:"user"`
		Args         []string      `json:"args"`
		Env          []string      `json:"env"`
		Cwd          string        `json:"cwd"`
		Capabilities *Capabilities `json:"capabilities"`
		Rlimits      []struct {
			Type string `json:"type"`
			Hard uint64 `json:"hard"`
			Soft uint64 `json:"soft"`
		} `json:"rlimits"`
		NoNewPrivileges bool `json:"noNewPrivileges"`
		OOMScoreAdj     *int `json:"oomScoreAdj"`
	} `json:"process"`
	Root struct {
		Path     string `json:"path"`
		Readonly bool   `json:"readonly"`
	} `json:"root"`
	Hostname    string            `json:"hostname"`
	Mounts      []Mount           `json:"mounts"`
	Annotations map[string]string `json:"annotations"`
	Linux       struct {
		Sysctl      map[string]string `json:"sysctl"`
		CgroupsPath string            `json:"cgroupsPath"`
		Namespaces  []struct {
			Type string `json:"type"`
			Path string `json:"path"`
		} `json:"namespaces"`
		Devices []struct {
			Path     string `json:"path"`
			Type     string `json:"type"`
			Major    uint32 `json:"major"`
			Minor    uint32 `json:"minor"`
			FileMode uint32 `json:"fileMode"`
			UID      uint32 `json:"uid"`
			GID      uint32 `json:"gid"`
		} `json:"devices"`
		MaskedPaths   []string `json:"maskedPaths"`
		ReadonlyPaths []string `json:"readonlyPaths"`
	} `json:"linux"`
}

// Capabilities are the five sets, by name ("CAP_SYS_ADMIN").
type Capabilities struct {
	Bounding    []string `json:"bounding"`
	Effective   []string `json:"effective"`
	Inheritable []string `json:"inheritable"`
	Permitted   []string `json:"permitted"`
	Ambient     []string `json:"ambient"`
}

// Bundle is one container.
type Bundle struct {
	Name    string // folder name; "005-dhcpcd-once" for onboot, "hook-docker" for a service
	Path    string
	Spec    Spec
	Runtime Runtime
}

// Rootfs is where the container's root is mounted.
func (b *Bundle) Rootfs() string { return filepath.Join(b.Path, "rootfs") }

// Load reads one bundle. A missing runtime.json means nothing to prepare.
func Load(path string) (*Bundle, error) {
	b := &Bundle{Name: filepath.Base(path), Path: path}
	if err := readJSON(filepath.Join(path, "config.json"), &b.Spec); err != nil {
		return nil, err
	}
	err := readJSON(filepath.Join(path, "runtime.json"), &b.Runtime)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return b, b.check()
}

func (b *Bundle) check() error {
	if len(b.Spec.Process.Args) == 0 {
		return fmt.Errorf("%s: config.json names no command", b.Name)
	}
	if len(b.Runtime.Interfaces) > 0 {
		return fmt.Errorf("%s: runtime.json wants network interfaces, which this init does not make", b.Name)
	}
	for kind, path := range b.Runtime.BindNS {
		if path != "" {
			return fmt.Errorf("%s: runtime.json wants the %s namespace bound, which this init does not do", b.Name, kind)
		}
	}
	return nil
}

// LoadAll reads every bundle below folder in the order of their names, as LinuxKit does. A folder
// that does not exist holds none. Bundles that cannot be read are left out and told in the errors.
func LoadAll(folder string) ([]*Bundle, []error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, []error{err}
	}
	var bundles []*Bundle
	var failures []error
	for _, entry := range entries {
		b, err := Load(filepath.Join(folder, entry.Name()))
		if err != nil {
			failures = append(failures, err)
			continue
		}
		bundles = append(bundles, b)
	}
	return bundles, failures
}

// StartOrder is the annotation that moves a service forward: those that carry a number start first, lowest
// first; the rest follow by name. LinuxKit itself knows only names; with one processor the order is time.
const StartOrder = "hook.start"

// Sort puts services in the order they are to be started.
func Sort(bundles []*Bundle) {
	rank := func(b *Bundle) string {
		if order, ok := b.Spec.Annotations[StartOrder]; ok {
			return fmt.Sprintf("0%8s", order)
		}
		return "1" + b.Name
	}
	sort.SliceStable(bundles, func(i, j int) bool { return rank(bundles[i]) < rank(bundles[j]) })
}

func readJSON(path string, into any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
