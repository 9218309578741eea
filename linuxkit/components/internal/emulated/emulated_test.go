package emulated

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

func TestHypervisorBit(t *testing.T) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if runtime.GOARCH != "amd64" || err != nil {
		t.Skip("nothing to compare with")
	}
	if flagged := strings.Contains(string(info), " hypervisor"); flagged != (hypervisor() != "") {
		t.Errorf("the kernel sees a hypervisor: %v; signature %q", flagged, hypervisor())
	}
}
