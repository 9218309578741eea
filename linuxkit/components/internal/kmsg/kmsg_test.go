package kmsg

import (
	"reflect"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	if got := Split("a\r\n\nb\n"); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("Split = %q", got)
	}
	long := strings.Repeat("x", 2*maxLine+1)
	got := Split(long)
	if len(got) != 3 || strings.Join(got, "") != long {
		t.Errorf("a long line became %d records", len(got))
	}
}
