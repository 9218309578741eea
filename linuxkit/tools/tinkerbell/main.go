// tinkerbell is Tinkerbell's tink-server v0.25.0 and its workflow controller, with a Kubernetes API
// that is nothing but a table in memory: handler, backend and controller are the published module's.
//
// It takes no arguments. The first line it writes to stdout tells where it listens:
//
//	{"once": "127.0.0.1:1234", "patient": "127.0.0.1:1235"}
//
// The server "once" answers an error at the first try, "patient" is Tinkerbell's own server, which
// tries again for a minute. Then each line of stdin is a command (see command), answered by one line
// with the state of everything (see answer). It ends with stdin.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/tinkerbell/tinkerbell/api/v1alpha1/tinkerbell"
	"github.com/tinkerbell/tinkerbell/pkg/proto"
	"github.com/tinkerbell/tinkerbell/tink/server"
	oracle "github.com/tinkerbell/tinkerbell/tink/server/oracle"
	"google.golang.org/grpc"
	ctrl "sigs.k8s.io/controller-runtime"
)

// command is one of:
//
//	load     objects replace everything there was, now is the time in seconds since the epoch; with
//	         hide an agent's workflows are not found so many times
//	advance  time goes on by seconds
//	bmc      every job for a BMC is done
//	state    nothing happens
//
// After each the controller has looked at every workflow until it had nothing more to do.
type command struct {
	Do      string            `json:"do"`
	Objects []json.RawMessage `json:"objects"`
	Now     int64             `json:"now"`
	Hide    int               `json:"hide"`
	Seconds float64           `json:"seconds"`
	Auto    oracle.Auto       `json:"auto"`
}

type answer struct {
	Workflows []tinkerbell.Workflow `json:"workflows"`
	Hardware  []tinkerbell.Hardware `json:"hardware"`
	Error     string                `json:"error,omitempty"`
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	ctrl.SetLogger(logr.Discard())
	world, err := newWorld()
	if err != nil {
		return err
	}
	if err := world.load(ctx, nil, 0, 0); err != nil {
		return err
	}
	handler := &current{}
	handler.set(oracle.Handler(world, true, oracle.Auto{}))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	own := grpc.NewServer()
	proto.RegisterWorkflowServiceServer(own, handler)
	go own.Serve(listener)

	patient, err := freePort()
	if err != nil {
		return err
	}
	theirs := server.NewConfig(server.WithBackend(world), server.WithBindAddrPort(patient))
	failed := make(chan error, 1)
	go func() { failed <- theirs.Start(ctx, logr.Discard()) }()
	if err := listening(patient, failed); err != nil {
		return err
	}

	out := json.NewEncoder(os.Stdout)
	addresses := map[string]string{"once": listener.Addr().String(), "patient": patient.String()}
	if err := out.Encode(addresses); err != nil {
		return err
	}
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	for in.More() {
		given := command{}
		if err := in.Decode(&given); err != nil {
			return err
		}
		told, err := obey(ctx, world, handler, given)
		if err != nil {
			told.Error = err.Error()
		}
		if err := out.Encode(told); err != nil {
			return err
		}
	}
	return nil
}

func obey(ctx context.Context, world *world, handler *current, given command) (answer, error) {
	var err error
	switch given.Do {
	case "load":
		handler.set(oracle.Handler(world, true, given.Auto))
		err = world.load(ctx, given.Objects, given.Now, given.Hide)
	case "advance":
		err = world.advance(ctx, time.Duration(given.Seconds*float64(time.Second)))
	case "bmc":
		err = world.bmcDone(ctx)
	case "state":
	default:
		err = fmt.Errorf("unknown command %q", given.Do)
	}
	if err != nil {
		return answer{}, err
	}
	return world.state(ctx)
}

// current hands calls to the handler that was set last.
type current struct {
	proto.UnimplementedWorkflowServiceServer
	lock    sync.Mutex
	handler proto.WorkflowServiceServer
}

func (c *current) set(handler proto.WorkflowServiceServer) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.handler = handler
}

func (c *current) get() proto.WorkflowServiceServer {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.handler
}

func (c *current) GetAction(ctx context.Context, asked *proto.ActionRequest) (*proto.ActionResponse, error) {
	return c.get().GetAction(ctx, asked)
}

func (c *current) ReportActionStatus(
	ctx context.Context, said *proto.ActionStatusRequest,
) (*proto.ActionStatusResponse, error) {
	return c.get().ReportActionStatus(ctx, said)
}

// freePort returns an address nobody listens on: Tinkerbell's server does not tell which port it got.
func freePort() (netip.AddrPort, error) {
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer probe.Close()
	return netip.ParseAddrPort(probe.Addr().String())
}

func listening(address netip.AddrPort, failed <-chan error) error {
	for {
		connection, err := net.DialTimeout("tcp", address.String(), time.Second)
		if err == nil {
			return connection.Close()
		}
		select {
		case err := <-failed:
			return err
		case <-time.After(2 * time.Millisecond):
		}
	}
}
