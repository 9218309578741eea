package zlog

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func TestShape(t *testing.T) {
	var out bytes.Buffer
	log := New(&out)
	log.now = func() time.Time { return time.Unix(0, 0) }
	log.Info("Pulling image", "imageName", "r/x:\"1\"", "bad", func() {})
	log.Error(errors.New("no"), "image pull failure")
	lines := bytes.Split(out.Bytes(), []byte("\n"))
	if !bytes.HasPrefix(lines[0], []byte(`{"level":"info","imageName":"r/x:\"1\"","bad":"0x`)) ||
		!bytes.HasSuffix(lines[0], []byte(`"time":"1970-01-01T00:00:00Z","message":"Pulling image"}`)) {
		t.Errorf("%s", lines[0])
	}
	if want := `{"level":"error","error":"no","time":"1970-01-01T00:00:00Z","message":"image pull failure"}`; string(lines[1]) != want {
		t.Errorf("%s", lines[1])
	}
}
