// tink is Tinkerbell's tink-server v0.12.2 and its workflow controller, with a Kubernetes API that is
// nothing but a table in memory: service and controller are the published module's. They are internal
// packages of it; Go lets a package import those when its own path lies below theirs, which is why
// this module has the path it has.
//
// It takes no arguments. The first line it writes to stdout tells where it listens:
//
//	{"once": "127.0.0.1:1234"}
//
// Then each line of stdin is a command (see command), answered by one line with the state of
// everything (see answer). It ends with stdin.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/tinkerbell/tink/api/v1alpha1"
	"google.golang.org/grpc"
	ctrl "sigs.k8s.io/controller-runtime"
)

// command is one of:
//
//	load     objects replace everything there was, now is the time in seconds since the epoch
//	advance  time goes on by seconds
//	state    nothing happens
//
// The controller looks at every workflow after what is loaded or written, until it has nothing more
// to do. Time that goes by it does not see: it is no reason for it to look.
type command struct {
	Do      string            `json:"do"`
	Objects []json.RawMessage `json:"objects"`
	Now     int64             `json:"now"`
	Seconds float64           `json:"seconds"`
}

type answer struct {
	Workflows []v1alpha1.Workflow `json:"workflows"`
	Hardware  []v1alpha1.Hardware `json:"hardware"`
	Error     string              `json:"error,omitempty"`
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	ctrl.SetLogger(logr.Discard())
	world := newWorld()
	if err := world.load(ctx, nil, 0); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	world.service().Register(server)
	go server.Serve(listener)

	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]string{"once": listener.Addr().String()}); err != nil {
		return err
	}
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	for in.More() {
		given := command{}
		if err := in.Decode(&given); err != nil {
			return err
		}
		told, err := obey(ctx, world, given)
		if err != nil {
			told.Error = err.Error()
		}
		if err := out.Encode(told); err != nil {
			return err
		}
	}
	return nil
}

func obey(ctx context.Context, world *world, given command) (answer, error) {
	var err error
	switch given.Do {
	case "load":
		err = world.load(ctx, given.Objects, given.Now)
	case "advance":
		world.advance(time.Duration(given.Seconds * float64(time.Second)))
	case "state":
	default:
		err = fmt.Errorf("unknown command %q", given.Do)
	}
	if err != nil {
		return answer{}, err
	}
	return world.state(ctx)
}
