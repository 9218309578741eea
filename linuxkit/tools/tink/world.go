package main

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"sync"
	"time"
	"unsafe"

	"github.com/tinkerbell/tink/api/v1alpha1"
	"github.com/tinkerbell/tink/internal/deprecated/controller"
	"github.com/tinkerbell/tink/internal/deprecated/workflow"
	"github.com/tinkerbell/tink/internal/server"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// rounds is how often a controller may look at a workflow that keeps changing.
const rounds = 50

// The server asks for workflows by this index; what it holds is told by a function of the server's.
const byWorker = ".status.state.nonTerminalWorker"

//go:linkname workersOf github.com/tinkerbell/tink/internal/server.workflowByNonTerminalStateFunc
func workersOf(object client.Object) []string

// world is a cluster: what is stored, and Tinkerbell's controller, which looks at what was written
// before the writer goes on.
type world struct {
	lock       sync.Mutex
	scheme     *runtime.Scheme
	store      *replaceable
	controller reconcile.Reconciler
	now        time.Time
}

// replaceable is a store that can be replaced under those who hold it.
type replaceable struct {
	client.Client
}

func newWorld() *world {
	made := &world{scheme: controller.DefaultScheme(), store: &replaceable{}}
	reconciler := workflow.NewReconciler(made.store)
	made.setClock(reconciler)
	made.controller = reconciler
	return made
}

// setClock gives the world's time to a part of Tinkerbell, whose field for it is private: without
// this a timeout could only be seen by waiting for it.
func (w *world) setClock(part any) {
	clock := reflect.ValueOf(part).Elem().FieldByName("nowFunc")
	now := func() time.Time { return w.now }
	reflect.NewAt(clock.Type(), unsafe.Pointer(clock.UnsafeAddr())).Elem().Set(reflect.ValueOf(now))
}

// service returns Tinkerbell's service.
func (w *world) service() *server.KubernetesBackedServer {
	made := &server.KubernetesBackedServer{
		ClientFunc: func() client.Client { return &watched{Client: w.store, world: w} },
	}
	w.setClock(made)
	return made
}

func (w *world) load(ctx context.Context, given []json.RawMessage, now int64) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	decoder := serializer.NewCodecFactory(w.scheme).UniversalDeserializer()
	objects := []client.Object{}
	for _, each := range given {
		decoded, _, err := decoder.Decode(each, nil, nil)
		if err != nil {
			return err
		}
		object, ok := decoded.(client.Object)
		if !ok {
			return fmt.Errorf("%T is no object", decoded)
		}
		objects = append(objects, object)
	}
	w.store.Client = fake.NewClientBuilder().WithScheme(w.scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.Workflow{}).
		WithIndex(&v1alpha1.Workflow{}, byWorker, workersOf).
		WithInterceptorFuncs(interceptor.Funcs{Get: asCached}).Build()
	w.now = time.Unix(now, 0)
	return w.settle(ctx)
}

// asCached words "not found" as the cache does that Tinkerbell reads through: it names the kind.
func asCached(
	ctx context.Context, from client.WithWatch, key client.ObjectKey, into client.Object, options ...client.GetOption,
) error {
	err := from.Get(ctx, key, into, options...)
	if !errors.IsNotFound(err) {
		return err
	}
	kind, unknown := from.GroupVersionKindFor(into)
	if unknown != nil {
		return unknown
	}
	return errors.NewNotFound(schema.GroupResource{Group: kind.Group, Resource: kind.Kind}, key.Name)
}

func (w *world) advance(by time.Duration) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.now = w.now.Add(by)
}

func (w *world) state(ctx context.Context) (answer, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	workflows, err := w.workflows(ctx)
	if err != nil {
		return answer{}, err
	}
	hardware := &v1alpha1.HardwareList{}
	err = w.store.List(ctx, hardware)
	return answer{Workflows: workflows, Hardware: hardware.Items}, err
}

// workflows returns all of them by name: a cluster gives them in any order.
func (w *world) workflows(ctx context.Context) ([]v1alpha1.Workflow, error) {
	list := &v1alpha1.WorkflowList{}
	err := w.store.List(ctx, list)
	sortByName(list.Items)
	return list.Items, err
}

func sortByName(workflows []v1alpha1.Workflow) {
	sort.Slice(workflows, func(one, other int) bool {
		return workflows[one].Name < workflows[other].Name
	})
}

// settle lets the controller look at every workflow.
func (w *world) settle(ctx context.Context) error {
	workflows, err := w.workflows(ctx)
	if err != nil {
		return err
	}
	for _, each := range workflows {
		if err := w.settleOne(ctx, client.ObjectKeyFromObject(&each)); err != nil {
			return err
		}
	}
	return nil
}

// settleOne lets the controller look at a workflow until it has nothing to do, or complains.
func (w *world) settleOne(ctx context.Context, key client.ObjectKey) error {
	seen := ""
	for range rounds {
		found := &v1alpha1.Workflow{}
		if err := w.store.Get(ctx, key, found); err != nil {
			return err
		}
		if found.ResourceVersion == seen {
			break
		}
		seen = found.ResourceVersion
		again, err := w.reconcile(ctx, reconcile.Request{NamespacedName: key})
		if err != nil {
			break // it would be tried again, and note the time of its failure again
		}
		if again {
			seen = ""
		}
	}
	return nil
}

// reconcile lets the controller look once. A panic of it ends that look only, as in the manager.
func (w *world) reconcile(ctx context.Context, request reconcile.Request) (again bool, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	result, err := w.controller.Reconcile(ctx, request)
	return result.Requeue, err
}

// watched is the store as the server sees it.
type watched struct {
	client.Client
	world *world
}

func (s *watched) Get(
	ctx context.Context, key client.ObjectKey, into client.Object, options ...client.GetOption,
) error {
	s.world.lock.Lock()
	defer s.world.lock.Unlock()
	return s.Client.Get(ctx, key, into, options...)
}

func (s *watched) List(ctx context.Context, into client.ObjectList, options ...client.ListOption) error {
	s.world.lock.Lock()
	defer s.world.lock.Unlock()
	err := s.Client.List(ctx, into, options...)
	if workflows, ok := into.(*v1alpha1.WorkflowList); ok {
		sortByName(workflows.Items)
	}
	return err
}

func (s *watched) Status() client.SubResourceWriter {
	return &watchedStatus{SubResourceWriter: s.Client.Status(), world: s.world}
}

type watchedStatus struct {
	client.SubResourceWriter
	world *world
}

func (s *watchedStatus) Update(
	ctx context.Context, object client.Object, options ...client.SubResourceUpdateOption,
) error {
	s.world.lock.Lock()
	defer s.world.lock.Unlock()
	if err := s.SubResourceWriter.Update(ctx, object, options...); err != nil {
		return err
	}
	return s.world.settleOne(ctx, client.ObjectKeyFromObject(object))
}
