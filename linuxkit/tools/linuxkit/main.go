// linuxkit is LinuxKit's assembly as a program of its own: what its `cache import` and `build
// --format tar --no-sbom` do, by the same packages.
//
//	linuxkit import CACHE ARCHIVE      takes the OCI image layouts in a tar archive into CACHE
//	linuxkit build CACHE YAML OUTPUT   writes the file tree that YAML describes as a tar archive
//
// LinuxKit's own main package also runs machines and uploads to a dozen clouds; their kits are four
// fifths of the time that compiling it takes.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/cache"
	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/moby"
	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/moby/build"
	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/util"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(words []string) error {
	if err := util.SetupLogging(false, false); err != nil {
		return err
	}
	switch {
	case len(words) == 3 && words[0] == "import":
		return load(words[1], words[2])
	case len(words) == 4 && words[0] == "build":
		return assemble(words[1], words[2], words[3])
	}
	return errors.New("usage: linuxkit import CACHE ARCHIVE | linuxkit build CACHE YAML OUTPUT")
}

func load(folder, archive string) error {
	provider, err := cache.NewProvider(folder)
	if err != nil {
		return err
	}
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = provider.ImageLoad(file)
	return err
}

func assemble(folder, yaml, output string) error {
	text, err := os.ReadFile(yaml)
	if err != nil {
		return err
	}
	config, err := moby.NewConfig(text, nil)
	if err != nil {
		return err
	}
	// NewConfig checks; appending to nothing is what fills in the defaults.
	config, err = moby.AppendConfig(moby.Moby{}, config)
	if err != nil {
		return err
	}
	file, err := os.Create(output)
	if err != nil {
		return err
	}
	defer file.Close()
	// Scratch files; LinuxKit's own choice is the user's home.
	build.MobyDir = filepath.Join(folder, "moby")
	err = build.Build(config, file, build.BuildOpts{BuilderType: "tar", CacheDir: folder, Arch: runtime.GOARCH})
	if err != nil {
		return err
	}
	return file.Close()
}
