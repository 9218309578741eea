package kmod

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"hooklab.dev/hook/internal/cmdline"
)

func tree(t *testing.T, line string) *Modules {
	t.Helper()
	folder := t.TempDir()
	for name, text := range map[string]string{
		"modules.dep": "kernel/a/virtio_net.ko: kernel/a/net_failover.ko kernel/a/failover.ko\n" +
			"kernel/a/net_failover.ko: kernel/a/failover.ko\nkernel/a/failover.ko:\nkernel/b/usb-storage.ko.xz:\n",
		"modules.alias": "# generated\nalias virtio:d00000001v* virtio_net\n" +
			"alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci\nalias pci:v*d*sv*sd*bc01sc06i01* ahci\n" +
			"alias net-pf-10 ipv6\nalias usb:v*p*d*dc*dsc*dp*ic08isc06ip50in* usb_storage\nalias with space mod-a\nbroken\n",
		"modules.softdep": "# x\nsoftdep libcrc32c pre: crc32c post: late\nsoftdep ext4 pre: crc32c\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m, err := OpenAt(folder, cmdline.Parse(line))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMatch(t *testing.T) {
	m := tree(t, "modprobe.blacklist=ipv6,x")
	virtio := "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00"
	disk := "pci:v00001AF4d00001001sv0sd0bc01sc06i01"
	got := m.Match([]string{disk, virtio, "virtio:d00000001v00001AF4", "net-pf-10", "with space", "nothing"})
	want := map[string][]string{
		virtio: {"virtio_pci"}, disk: {"virtio_pci", "ahci"}, "virtio:d00000001v00001AF4": {"virtio_net"},
		"with space": {"mod_a"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Match = %v, want %v", got, want)
	}
}

func TestTree(t *testing.T) {
	m := tree(t, "virtio-net.napi_tx=1 virtio_net.csum=0 other.x=1 virtio_netx=2\n")
	if got := m.deps["usb_storage"].path; got != "kernel/b/usb-storage.ko.xz" {
		t.Errorf("usb_storage is %q", got)
	}
	if got := m.soft["libcrc32c"]; !reflect.DeepEqual(got, softdep{[]string{"crc32c"}, []string{"late"}}) {
		t.Errorf("softdep = %v", got)
	}
	if got := m.parameters("virtio_net"); got != "napi_tx=1 csum=0" {
		t.Errorf("parameters = %q", got)
	}
	if err := m.Load("no_such_module_anywhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unknown module gives %v", err)
	}
}
