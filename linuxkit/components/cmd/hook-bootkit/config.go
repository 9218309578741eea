package main

import (
	"path"

	"hooklab.dev/hook/internal/cmdline"
	"hooklab.dev/hook/internal/docker"
)

// containerName is what the worker's container is called.
const containerName = "tink-worker"

// config is what the command line says about the worker.
type config struct {
	registry, username, password string
	workerImage                  string
	grpcAuthority                string
	tls, insecureTLS             string
	workerID                     string
	httpProxy, httpsProxy        string
	noProxy                      string
}

func configFrom(args cmdline.Args) config {
	return config{
		registry:      args.Get("docker_registry"),
		username:      args.Get("registry_username"),
		password:      args.Get("registry_password"),
		workerImage:   args.Get("tink_worker_image"),
		grpcAuthority: args.Get("grpc_authority"),
		tls:           args.Get("tinkerbell_tls"),
		insecureTLS:   args.Get("tinkerbell_insecure_tls"),
		workerID:      args.Get("worker_id"),
		httpProxy:     args.Get("HTTP_PROXY"),
		httpsProxy:    args.Get("HTTPS_PROXY"),
		noProxy:       args.Get("NO_PROXY"),
	}
}

// image is the worker's image, "" when the command line names neither image nor registry.
func (c config) image() string {
	switch {
	case c.workerImage != "":
		return c.workerImage
	case c.registry != "":
		return path.Join(c.registry, "tink-worker:latest")
	}
	return ""
}

// auth is nil unless the image comes from the very registry the credentials are for: they must
// not be sent to another host.
func (c config) auth() *docker.Auth {
	if c.registry == "" || docker.Domain(c.image()) != c.registry {
		return nil
	}
	return &docker.Auth{Username: c.username, Password: c.password}
}

// container is the worker's container. Absent keys become empty variables, which is what the
// worker's defaults are written for.
func (c config) container() docker.Container {
	bind := func(source, target string) docker.Mount {
		return docker.Mount{Type: "bind", Source: source, Target: target}
	}
	return docker.Container{
		Image: c.image(),
		Env: []string{
			"DOCKER_REGISTRY=" + c.registry,
			"REGISTRY_USERNAME=" + c.username,
			"REGISTRY_PASSWORD=" + c.password,
			"TINKERBELL_GRPC_AUTHORITY=" + c.grpcAuthority,
			"TINKERBELL_TLS=" + c.tls,
			"TINKERBELL_INSECURE_TLS=" + c.insecureTLS,
			"WORKER_ID=" + c.workerID,
			"ID=" + c.workerID,
			"HTTP_PROXY=" + c.httpProxy,
			"HTTPS_PROXY=" + c.httpsProxy,
			"NO_PROXY=" + c.noProxy,
		},
		AttachStdout: true,
		AttachStderr: true,
		HostConfig: docker.HostConfig{
			Mounts: []docker.Mount{
				bind("/worker", "/worker"),
				bind("/var/run/docker.sock", "/var/run/docker.sock"),
				bind("/dev", "/dev"),
				bind("/host_root/run", "/run"),
			},
			NetworkMode: "host",
			Privileged:  true,
		},
	}
}
