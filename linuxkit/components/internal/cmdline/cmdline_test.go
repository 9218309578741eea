package cmdline

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	args := Parse("BOOT=x console=tty0 console=ttyS1,115200 console=ttyS1 HTTP_PROXY=http://u:p=w@h:1/?a=b quiet twice=1 twice=2 empty= last=tinkerbell\n")
	for key, want := range map[string]string{
		"BOOT": "x", "HTTP_PROXY": "http://u:p=w@h:1/?a=b", "quiet": "", "twice": "2",
		"empty": "", "last": "tinkerbell", "absent": "",
	} {
		if got := args.Get(key); got != want {
			t.Errorf("Get(%q) = %q, want %q", key, got, want)
		}
	}
	if !args.Has("quiet") || args.Has("absent") {
		t.Error("Has must see a key without a value and no other")
	}
	if got := args.Consoles(); !reflect.DeepEqual(got, []string{"tty0", "ttyS1"}) {
		t.Errorf("Consoles() = %v", got)
	}
}

func TestList(t *testing.T) {
	args := Parse("insecure_registries=a:5000,b:5000, none=")
	if got := args.List("insecure_registries"); !reflect.DeepEqual(got, []string{"a:5000", "b:5000"}) {
		t.Errorf("List = %v", got)
	}
	if got := args.List("none"); got != nil {
		t.Errorf("List of an empty value = %v", got)
	}
}
