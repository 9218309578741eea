// Package docker talks to a docker engine's HTTP API on its unix socket: the seven calls hook-bootkit needs.
package docker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// apiVersion is what docker 20.10 speaks; every later engine to date still accepts it or says so.
const apiVersion = "v1.41"

// Client is bound to one socket.
type Client struct{ http *http.Client }

// New returns a client; nothing is connected yet.
func New(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Error is an answer with an error status.
type Error struct {
	Status  int
	Message string
}

func (e *Error) Error() string { return "Error response from daemon: " + e.Message }

// Ping succeeds when the engine answers.
func (c *Client) Ping(ctx context.Context) error {
	response, err := c.do(ctx, http.MethodGet, "/_ping", nil, nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// WaitUntilUp returns when the engine answers, asking every interval.
func (c *Client) WaitUntilUp(ctx context.Context, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for c.Ping(ctx) != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// Auth is a registry's user and password.
type Auth struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// Pull asks the engine for an image and returns its progress, a stream of lines. An error the engine
// meets later is one of the lines, not an error of Pull.
func (c *Client) Pull(ctx context.Context, image string, auth *Auth) (io.ReadCloser, error) {
	name, tag := SplitReference(image)
	query := url.Values{"fromImage": {name}, "tag": {tag}}
	header := http.Header{}
	if auth != nil {
		content, err := json.Marshal(auth)
		if err != nil {
			return nil, err
		}
		header.Set("X-Registry-Auth", base64.URLEncoding.EncodeToString(content))
	}
	response, err := c.do(ctx, http.MethodPost, "/images/create?"+query.Encode(), header, nil)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// Lines calls each with every line of a progress stream and closes it.
func Lines(stream io.ReadCloser, each func(line []byte)) error {
	defer stream.Close()
	scanner := bufio.NewScanner(stream)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		each(scanner.Bytes())
	}
	return scanner.Err()
}

// HasImage tells whether the engine holds an image.
func (c *Client) HasImage(ctx context.Context, image string) bool {
	response, err := c.do(ctx, http.MethodGet, "/images/"+image+"/json", nil, nil)
	if err != nil {
		return false
	}
	response.Body.Close()
	return true
}

// Container is the part of a container's creation that Hook sets.
type Container struct {
	Image        string
	Env          []string
	AttachStdout bool
	AttachStderr bool
	HostConfig   HostConfig
}

// HostConfig is how the container sees the host.
type HostConfig struct {
	Mounts      []Mount
	NetworkMode string
	Privileged  bool
}

// Mount is a bind.
type Mount struct{ Type, Source, Target string }

// Create makes a container and returns its identifier.
func (c *Client) Create(ctx context.Context, name string, config Container) (string, error) {
	var answer struct{ ID string }
	err := c.json(ctx, http.MethodPost, "/containers/create?name="+url.QueryEscape(name), config, &answer)
	return answer.ID, err
}

// Start starts a container.
func (c *Client) Start(ctx context.Context, id string) error {
	return c.json(ctx, http.MethodPost, "/containers/"+id+"/start", nil, nil)
}

// Running tells whether a container runs.
func (c *Client) Running(ctx context.Context, id string) (bool, error) {
	var answer struct{ State struct{ Running bool } }
	err := c.json(ctx, http.MethodGet, "/containers/"+id+"/json", nil, &answer)
	return answer.State.Running, err
}

// Remove kills and removes a container by name; one that is not there is fine.
func (c *Client) Remove(ctx context.Context, name string) error {
	err := c.json(ctx, http.MethodDelete, "/containers/"+url.PathEscape(name)+"?force=1", nil, nil)
	var answer *Error
	if errors.As(err, &answer) && answer.Status == http.StatusNotFound {
		return nil
	}
	return err
}

func (c *Client) json(ctx context.Context, method, path string, body, into any) error {
	response, err := c.do(ctx, method, path, nil, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if into == nil {
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	return json.NewDecoder(response.Body).Decode(into)
}

func (c *Client) do(ctx context.Context, method, path string, header http.Header, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://docker/"+apiVersion+path, content)
	if err != nil {
		return nil, err
	}
	for key, values := range header {
		request.Header[key] = values
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("Cannot connect to the Docker daemon. Is the docker daemon running? %w", errors.Unwrap(err))
	}
	if response.StatusCode < http.StatusBadRequest {
		return response, nil
	}
	defer response.Body.Close()
	answer := &Error{Status: response.StatusCode, Message: response.Status}
	var reason struct{ Message string }
	if json.NewDecoder(io.LimitReader(response.Body, 1<<16)).Decode(&reason) == nil && reason.Message != "" {
		answer.Message = strings.TrimSpace(reason.Message)
	}
	return nil, answer
}
