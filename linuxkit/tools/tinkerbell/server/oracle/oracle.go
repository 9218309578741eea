// Package oracle is the door to Tinkerbell's gRPC handler, which is internal to
// github.com/tinkerbell/tinkerbell/tink/server. Go lets a package import an internal one when its
// import path lies below the parent of "internal"; that is why this module has the path it has. The
// published module itself is used as it is.
package oracle

import (
	"github.com/cenkalti/backoff/v5"
	"github.com/tinkerbell/tinkerbell/tink/server/internal/grpc"
)

// Backend is what the handler reads workflows from and writes them to.
type Backend interface {
	grpc.Backend
	grpc.WorkflowCreator
	grpc.WorkflowRuleSetLister
	grpc.HardwareCreator
}

// Auto says what the server does for agents it has no work for.
type Auto struct {
	Enrollment bool
	Discovery  bool
	// Namespace is where Hardware is made.
	Namespace string
	// EnrollmentEnabled is written into Hardware that is made.
	EnrollmentEnabled bool
}

// Handler returns Tinkerbell's handler. With once, what would be an error is answered at the first
// try; without, it is tried again for a minute as the real server does.
func Handler(backend Backend, once bool, auto Auto) *grpc.Handler {
	handler := &grpc.Handler{
		Backend: backend,
		AutoCapabilities: grpc.AutoCapabilities{
			Enrollment: grpc.AutoEnrollment{
				Enabled:               auto.Enrollment,
				WorkflowRuleSetLister: backend,
				WorkflowCreator:       backend,
			},
			Discovery: grpc.AutoDiscovery{
				Enabled:           auto.Discovery,
				Namespace:         auto.Namespace,
				EnrollmentEnabled: auto.EnrollmentEnabled,
				HardwareCreator:   backend,
				HardwareFilterer:  backend,
			},
		},
	}
	if once {
		handler.RetryOptions = []backoff.RetryOption{backoff.WithMaxTries(1)}
	}
	return handler
}
