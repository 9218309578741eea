package lease

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func packet(options ...byte) []byte {
	return append(append(make([]byte, headerSize), cookie...), options...)
}

func TestTimeServers(t *testing.T) {
	for name, c := range map[string]struct {
		packet []byte
		want   string
	}{
		"none":      {packet(53, 1, 5, 255), "[]"},
		"two":       {packet(53, 1, 5, 0, 0, 42, 8, 10, 0, 0, 1, 10, 0, 0, 2, 255), "[10.0.0.1 10.0.0.2]"},
		"split":     {packet(42, 2, 10, 0, 42, 2, 0, 3, 255), "[10.0.0.3]"},
		"after end": {packet(255, 42, 4, 10, 0, 0, 1), "[]"},
		"cut off":   {packet(42, 4, 10, 0), "[]"},
		"no cookie": {make([]byte, 300), "[]"},
		"empty":     {nil, "[]"},
	} {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "eth0.lease"), c.packet, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(TimeServers(folder)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func FuzzTimeServers(f *testing.F) {
	f.Add(packet(42, 4, 1, 2, 3, 4, 255))
	f.Fuzz(func(_ *testing.T, data []byte) { timeServers(data) })
}
