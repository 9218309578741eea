package docker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// engine serves one handler on a unix socket.
func engine(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return New(socket)
}

func TestPull(t *testing.T) {
	c := engine(t, func(w http.ResponseWriter, r *http.Request) {
		header, err := base64.URLEncoding.DecodeString(r.Header.Get("X-Registry-Auth"))
		if err != nil {
			t.Error(err)
		}
		var auth Auth
		if err := json.Unmarshal(header, &auth); err != nil || auth != (Auth{"u", "p"}) {
			t.Errorf("auth %s", header)
		}
		if r.Method+" "+r.URL.Path != "POST /v1.41/images/create" ||
			r.URL.Query().Get("fromImage") != "r.lab:5000/a/b" || r.URL.Query().Get("tag") != "v1" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		_, _ = io.WriteString(w, "{\"status\":\"one\"}\n{\"error\":\"two\"}\n")
	})
	progress, err := c.Pull(context.Background(), "r.lab:5000/a/b:v1", &Auth{"u", "p"})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	if err := Lines(progress, func(line []byte) { lines = append(lines, string(line)) }); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 2 || !strings.Contains(lines[1], "two") {
		t.Errorf("lines %q", lines)
	}
}

func TestContainerLife(t *testing.T) {
	var asked []string
	c := engine(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		switch {
		case strings.Contains(r.URL.Path, "create"):
			var config map[string]any
			if err := json.NewDecoder(r.Body).Decode(&config); err != nil || config["Image"] != "i" {
				t.Errorf("config %v, %v", config, err)
			}
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"Id":"abc","Warnings":[]}`)
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodGet:
			_, _ = io.WriteString(w, `{"Id":"abc","State":{"Running":true}}`)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	ctx := context.Background()
	if err := c.Remove(ctx, "tink-worker"); err != nil {
		t.Errorf("a container that is not there: %v", err)
	}
	id, err := c.Create(ctx, "tink-worker", Container{Image: "i"})
	if err != nil || id != "abc" {
		t.Errorf("create: %q, %v", id, err)
	}
	if err := c.Start(ctx, id); err != nil {
		t.Error(err)
	}
	if running, err := c.Running(ctx, id); err != nil || !running {
		t.Errorf("running: %v, %v", running, err)
	}
	want := "DELETE /v1.41/containers/tink-worker?force=1, POST /v1.41/containers/create?name=tink-worker, " +
		"POST /v1.41/containers/abc/start, GET /v1.41/containers/abc/json"
	if got := strings.Join(asked, ", "); got != want {
		t.Errorf("asked %s", got)
	}
}

func TestErrors(t *testing.T) {
	c := engine(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"message":"Get \"https://r/v2/\": refused"}`)
	})
	_, err := c.Pull(context.Background(), "r/x", nil)
	var answer *Error
	if !errors.As(err, &answer) || err.Error() != `Error response from daemon: Get "https://r/v2/": refused` {
		t.Errorf("error %v", err)
	}
	absent := New(filepath.Join(t.TempDir(), "absent.sock"))
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer stop()
	if err := absent.WaitUntilUp(ctx, time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for an engine that is not there: %v", err)
	}
	if err := absent.Ping(context.Background()); err == nil || !strings.Contains(err.Error(), "Cannot connect to the Docker daemon") {
		t.Errorf("error %v", err)
	}
}

func TestReference(t *testing.T) {
	for image, want := range map[string][3]string{
		"tink-worker":                 {"tink-worker", "latest", "docker.io"},
		"a/b":                         {"a/b", "latest", "docker.io"},
		"localhost/a":                 {"localhost/a", "latest", "localhost"},
		"r.lab:5000/a/b":              {"r.lab:5000/a/b", "latest", "r.lab:5000"},
		"r.lab:5000/a/b:v1":           {"r.lab:5000/a/b", "v1", "r.lab:5000"},
		"r.lab/a@sha256:00":           {"r.lab/a", "sha256:00", "r.lab"},
		"r.lab/a:v1@sha256:00":        {"r.lab/a", "sha256:00", "r.lab"},
		"index.docker.io/library/x:1": {"index.docker.io/library/x", "1", "docker.io"},
		"Host/a":                      {"Host/a", "latest", "Host"},
	} {
		name, tag := SplitReference(image)
		if got := [3]string{name, tag, Domain(image)}; got != want {
			t.Errorf("%s: %q, want %q", image, got, want)
		}
	}
}
