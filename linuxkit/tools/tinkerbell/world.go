package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/tinkerbell/tinkerbell/api/v1alpha1/bmc"
	"github.com/tinkerbell/tinkerbell/api/v1alpha1/tinkerbell"
	"github.com/tinkerbell/tinkerbell/pkg/backend/kube"
	"github.com/tinkerbell/tinkerbell/pkg/data"
	controller "github.com/tinkerbell/tinkerbell/tink/controller/oracle"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// rounds is how often a controller may look at a workflow that keeps changing.
const rounds = 50

// world is a cluster: what is stored, Tinkerbell's way of reading it, and Tinkerbell's controller,
// which looks at what was written before the writer goes on.
type world struct {
	lock       sync.Mutex
	scheme     *runtime.Scheme
	store      *replaceable
	backend    *kube.Backend
	controller reconcile.Reconciler
	now        time.Time
	hide       int
}

// replaceable is a store that can be replaced under those who hold it.
type replaceable struct {
	client.Client
}

func newWorld() (*world, error) {
	made := &world{scheme: runtime.NewScheme(), store: &replaceable{}}
	if err := tinkerbell.AddToScheme(made.scheme); err != nil {
		return nil, err
	}
	if err := bmc.AddToScheme(made.scheme); err != nil {
		return nil, err
	}
	made.controller = controller.Reconciler(made.store, func() time.Time { return made.now })
	var err error
	made.backend, err = kube.NewBackend(
		kube.Backend{ClientConfig: &rest.Config{Host: "http://127.0.0.1:1"}},
		func(options *cluster.Options) {
			options.NewClient = func(*rest.Config, client.Options) (client.Client, error) {
				return made.store, nil
			}
		},
	)
	return made, err
}

func (w *world) load(ctx context.Context, given []json.RawMessage, now int64, hide int) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	codecs := serializer.NewCodecFactory(w.scheme)
	decoder := codecs.UniversalDeserializer()
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
	// Who owns which field, which the builder's own tracker notes, does not matter here.
	tracker := testing.NewObjectTracker(w.scheme, codecs.UniversalDecoder())
	store := fake.NewClientBuilder().WithScheme(w.scheme).WithObjectTracker(tracker).WithObjects(objects...).
		WithStatusSubresource(&tinkerbell.Workflow{}, &bmc.Job{})
	for _, index := range kube.Indexes {
		store = store.WithIndex(index.Obj, index.Field, index.ExtractValue)
	}
	// The controller knows a job that was made by its UID, which an API server gives it.
	w.store.Client = store.WithInterceptorFuncs(interceptor.Funcs{Create: withUID, Get: asCached}).Build()
	w.now, w.hide = time.Unix(now, 0), hide
	return w.settle(ctx)
}

func withUID(
	ctx context.Context, into client.WithWatch, object client.Object, options ...client.CreateOption,
) error {
	if object.GetUID() == "" {
		object.SetUID(types.UID("uid-of-" + object.GetName()))
	}
	return into.Create(ctx, object, options...)
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

func (w *world) advance(ctx context.Context, by time.Duration) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.now = w.now.Add(by)
	return w.settle(ctx)
}

func (w *world) bmcDone(ctx context.Context) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	jobs := &bmc.JobList{}
	if err := w.store.List(ctx, jobs); err != nil {
		return err
	}
	for _, job := range jobs.Items {
		job.SetCondition(bmc.JobCompleted, bmc.ConditionTrue)
		if err := w.store.Status().Update(ctx, &job); err != nil {
			return err
		}
	}
	return w.settle(ctx)
}

func (w *world) state(ctx context.Context) (answer, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	workflows, err := w.workflows(ctx)
	if err != nil {
		return answer{}, err
	}
	hardware := &tinkerbell.HardwareList{}
	if err := w.store.List(ctx, hardware); err != nil {
		return answer{}, err
	}
	sort.Slice(hardware.Items, func(one, other int) bool {
		return hardware.Items[one].Name < hardware.Items[other].Name
	})
	return answer{Workflows: workflows, Hardware: hardware.Items}, nil
}

// workflows returns all of them by name: a cluster gives them in any order.
func (w *world) workflows(ctx context.Context) ([]tinkerbell.Workflow, error) {
	list := &tinkerbell.WorkflowList{}
	err := w.store.List(ctx, list)
	sortByName(list.Items)
	return list.Items, err
}

func sortByName(workflows []tinkerbell.Workflow) {
	sort.Slice(workflows, func(one, other int) bool {
		return workflows[one].Name < workflows[other].Name
	})
}

// settle lets the controller look at every workflow until it has nothing to do. What it complains
// of stands in the workflow's conditions.
func (w *world) settle(ctx context.Context) error {
	workflows, err := w.workflows(ctx)
	if err != nil {
		return err
	}
	for _, each := range workflows {
		key := client.ObjectKeyFromObject(&each)
		seen := ""
		for range rounds {
			found := &tinkerbell.Workflow{}
			if err := w.store.Get(ctx, key, found); err != nil {
				return err
			}
			if found.ResourceVersion == seen || w.waitsForBMC(ctx, found) {
				break
			}
			seen = found.ResourceVersion
			if result, _ := w.controller.Reconcile(ctx, reconcile.Request{NamespacedName: key}); result.Requeue {
				seen = ""
			}
		}
	}
	return nil
}

// waitsForBMC tells whether a job is on its way: the controller would sleep now.
func (w *world) waitsForBMC(ctx context.Context, workflow *tinkerbell.Workflow) bool {
	before := workflow.Status.State == tinkerbell.WorkflowStatePreparing
	after := workflow.Status.State == tinkerbell.WorkflowStatePost
	for name, known := range workflow.Status.BootOptions.Jobs {
		last := strings.HasPrefix(name, "iso-eject-") || strings.HasPrefix(name, "customboot-post-")
		if (last && !after) || (!last && !before) {
			continue
		}
		if known.UID == "" || known.Complete || !known.ExistingJobDeleted {
			continue
		}
		job := &bmc.Job{}
		key := client.ObjectKey{Name: name, Namespace: workflow.Namespace}
		if err := w.store.Get(ctx, key, job); err == nil && !job.HasCondition(bmc.JobCompleted, bmc.ConditionTrue) {
			return true
		}
	}
	return false
}

// What follows is the backend that the server is given.

func (w *world) ReadWorkflow(ctx context.Context, name, namespace string) (*tinkerbell.Workflow, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.backend.ReadWorkflow(ctx, name, namespace)
}

func (w *world) ListWorkflows(ctx context.Context, by data.WorkflowFilter) ([]tinkerbell.Workflow, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.hide > 0 {
		w.hide--
		return nil, nil
	}
	found, err := w.backend.ListWorkflows(ctx, by)
	sortByName(found)
	return found, err
}

func (w *world) ListWorkflowRuleSets(
	ctx context.Context, by data.WorkflowFilter,
) ([]tinkerbell.WorkflowRuleSet, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	found, err := w.backend.ListWorkflowRuleSets(ctx, by)
	sort.Slice(found, func(one, other int) bool { return found[one].Name < found[other].Name })
	return found, err
}

func (w *world) UpdateWorkflow(ctx context.Context, workflow *tinkerbell.Workflow, how data.UpdateOptions) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	if err := w.backend.UpdateWorkflow(ctx, workflow, how); err != nil {
		return err
	}
	return w.settle(ctx)
}

func (w *world) CreateWorkflow(ctx context.Context, workflow *tinkerbell.Workflow) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	if err := w.backend.CreateWorkflow(ctx, workflow); err != nil {
		return err
	}
	return w.settle(ctx)
}

func (w *world) ReadHardware(ctx context.Context, name, namespace string) (*tinkerbell.Hardware, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.backend.ReadHardware(ctx, name, namespace)
}

func (w *world) FilterHardware(ctx context.Context, by data.HardwareFilter) (*tinkerbell.Hardware, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.backend.FilterHardware(ctx, by)
}

func (w *world) UpdateHardware(ctx context.Context, hardware *tinkerbell.Hardware, how data.UpdateOptions) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.backend.UpdateHardware(ctx, hardware, how)
}

func (w *world) CreateHardware(ctx context.Context, hardware *tinkerbell.Hardware) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.backend.CreateHardware(ctx, hardware)
}
