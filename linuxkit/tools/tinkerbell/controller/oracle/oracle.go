// Package oracle is the door to Tinkerbell's workflow controller, which is internal to
// github.com/tinkerbell/tinkerbell/tink/controller; see the package of this name beside the server.
package oracle

import (
	"context"
	"errors"
	"reflect"
	"time"
	"unsafe"

	"github.com/tinkerbell/tinkerbell/tink/controller/internal/workflow"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

type noReferences struct{}

func (noReferences) DynamicRead(
	context.Context, schema.GroupVersionResource, string, string,
) (map[string]any, error) {
	return nil, errors.New("there are no references here")
}

// Reconciler returns Tinkerbell's controller of workflows, with the clock now.
func Reconciler(cluster client.Client, now func() time.Time) reconcile.Reconciler {
	made := workflow.NewReconciler(cluster, noReferences{})
	// The field is private: without this a timeout could only be seen by waiting for it.
	clock := reflect.ValueOf(made).Elem().FieldByName("nowFunc")
	reflect.NewAt(clock.Type(), unsafe.Pointer(clock.UnsafeAddr())).Elem().Set(reflect.ValueOf(now))
	return made
}
