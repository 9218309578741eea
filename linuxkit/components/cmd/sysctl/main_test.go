package main

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	settings, failures := parse("# c\n; c\n\nnet.ipv4.ip_forward = 1\n-kernel/core_pattern=|/x a=b\nnonsense\n= 1\n", "./")
	want := []setting{{"net/ipv4/ip_forward", "1"}, {"kernel/core_pattern", "|/x a=b"}}
	if !reflect.DeepEqual(settings, want) {
		t.Errorf("settings = %v, want %v", settings, want)
	}
	if len(failures) != 2 {
		t.Errorf("failures = %v, want two", failures)
	}
	settings, _ = parse("kernel/mm/x.y/enabled = madvise", "/")
	if want := []setting{{"kernel/mm/x.y/enabled", "madvise"}}; !reflect.DeepEqual(settings, want) {
		t.Errorf("sysfs: %v, want %v", settings, want)
	}
}

func TestApply(t *testing.T) {
	tree := t.TempDir()
	path := filepath.Join(tree, "key")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := (setting{"key", "7"}).apply(tree); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "7" {
		t.Errorf("wrote %q", got)
	}
	if (setting{"absent", "7"}).apply(tree) == nil {
		t.Error("a key that does not exist must be told")
	}
}
