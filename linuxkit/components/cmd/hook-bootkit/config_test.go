package main

import (
	"reflect"
	"testing"

	"hooklab.dev/hook/internal/cmdline"
	"hooklab.dev/hook/internal/docker"
)

func TestImage(t *testing.T) {
	for line, want := range map[string]string{
		"a=b":                           "",
		"docker_registry=r.lab:5000":    "r.lab:5000/tink-worker:latest",
		"docker_registry=quay.io/tink/": "quay.io/tink/tink-worker:latest",
		"tink_worker_image=x/y:v1":      "x/y:v1",
		"docker_registry=r tink_worker_image=127.0.0.1/embedded/tink-worker\n": "127.0.0.1/embedded/tink-worker",
		"docker_registry=r.lab docker_registry=s.lab\n":                        "s.lab/tink-worker:latest",
		"docker_registry tink_worker_image=":                                   "",
	} {
		if got := configFrom(cmdline.Parse(line)).image(); got != want {
			t.Errorf("%q: image %q, want %q", line, got, want)
		}
	}
}

// Credentials go to the registry they are for and to no other.
func TestAuth(t *testing.T) {
	const login = " registry_username=u registry_password=p=w\n"
	for line, want := range map[string]bool{
		"docker_registry=r.lab:5000":                                         true,
		"docker_registry=r.lab tink_worker_image=r.lab/other/worker:v1":      true,
		"docker_registry=r.lab tink_worker_image=r.lab:5000/worker":          false,
		"docker_registry=r.lab tink_worker_image=evil.org/r.lab/worker":      false,
		"docker_registry=r.lab tink_worker_image=r.lab.evil.org/worker":      false,
		"docker_registry=r.lab/path":                                         false,
		"tink_worker_image=r.lab/worker":                                     false,
		"docker_registry=docker.io tink_worker_image=tinkerbell/tink-worker": true,
	} {
		got := configFrom(cmdline.Parse(line + login)).auth()
		if (got != nil) != want {
			t.Errorf("%q: auth %v, want some: %v", line, got, want)
		}
		if got != nil && *got != (docker.Auth{Username: "u", Password: "p=w"}) {
			t.Errorf("%q: auth %v", line, *got)
		}
	}
}

func TestContainer(t *testing.T) {
	got := configFrom(cmdline.Parse("docker_registry=r.lab registry_username=u registry_password=p grpc_authority=t:42113 " +
		"tinkerbell_tls=false worker_id=02:00:00:00:00:01 HTTP_PROXY=http://a:b=c@d NO_PROXY=x,y\n")).container()
	wantEnv := []string{
		"DOCKER_REGISTRY=r.lab", "REGISTRY_USERNAME=u", "REGISTRY_PASSWORD=p", "TINKERBELL_GRPC_AUTHORITY=t:42113",
		"TINKERBELL_TLS=false", "TINKERBELL_INSECURE_TLS=", "WORKER_ID=02:00:00:00:00:01", "ID=02:00:00:00:00:01",
		"HTTP_PROXY=http://a:b=c@d", "HTTPS_PROXY=", "NO_PROXY=x,y",
	}
	if !reflect.DeepEqual(got.Env, wantEnv) {
		t.Errorf("env %q", got.Env)
	}
	wantHost := docker.HostConfig{NetworkMode: "host", Privileged: true, Mounts: []docker.Mount{
		{Type: "bind", Source: "/worker", Target: "/worker"},
		{Type: "bind", Source: "/var/run/docker.sock", Target: "/var/run/docker.sock"},
		{Type: "bind", Source: "/dev", Target: "/dev"},
		{Type: "bind", Source: "/host_root/run", Target: "/run"},
	}}
	if !reflect.DeepEqual(got.HostConfig, wantHost) || got.Image != "r.lab/tink-worker:latest" {
		t.Errorf("container %+v", got)
	}
}
