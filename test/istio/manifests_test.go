package istio_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/resource"
	"istio.io/istio/pkg/config/validation/agent"
	"istio.io/istio/pkg/util/protomarshal"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

func unmarshalStrict(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

func marshal(t *testing.T, value any) string {
	t.Helper()
	text, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documents cuts a text into its objects, as JSON.
func documents(t *testing.T, text string) []json.RawMessage {
	t.Helper()
	decoder := kubeyaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 1<<16)
	var out []json.RawMessage
	for {
		var one json.RawMessage
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, []byte("null")) {
			out = append(out, one)
		}
	}
}

// manifests are the objects of limen.yaml, each in the type that Kubernetes has for it.
type manifests struct {
	namespace corev1.Namespace
	account   corev1.ServiceAccount
	config    corev1.ConfigMap
	set       appsv1.StatefulSet
	service   corev1.Service
	budget    policyv1.PodDisruptionBudget
	scaler    autoscalingv2.HorizontalPodAutoscaler
	network   networkingv1.NetworkPolicy
}

func decode(t *testing.T) manifests {
	t.Helper()
	var out manifests
	types := map[string]any{
		"Namespace": &out.namespace, "ServiceAccount": &out.account, "ConfigMap": &out.config,
		"StatefulSet": &out.set, "Service": &out.service, "PodDisruptionBudget": &out.budget,
		"HorizontalPodAutoscaler": &out.scaler, "NetworkPolicy": &out.network,
	}
	for _, text := range documents(t, read(t, "limen.yaml")) {
		var kind metav1.TypeMeta
		if err := json.Unmarshal(text, &kind); err != nil {
			t.Fatal(err)
		}
		if into, ours := types[kind.Kind]; ours {
			unmarshalStrict(t, string(text), into)
			delete(types, kind.Kind)
		} else if !strings.HasSuffix(kind.GroupVersionKind().Group, "istio.io") {
			t.Errorf("%s twice, or not expected", kind.Kind)
		}
	}
	for missing := range types {
		t.Errorf("no %s", missing)
	}
	return out
}

func TestKubernetesKnowsEveryFieldOfTheManifestsAndTheyFitTogether(t *testing.T) {
	m := decode(t)
	pod := m.set.Spec.Template
	container := pod.Spec.Containers[0]
	equal(t, "the namespace", m.namespace.Name, "limen-system")
	for _, object := range []metav1.Object{&m.account, &m.config, &m.set, &m.service, &m.budget, &m.scaler, &m.network} {
		equal(t, "namespace of "+object.GetName(), object.GetNamespace(), m.namespace.Name)
	}
	labels := marshal(t, pod.Labels)
	equal(t, "the Service's selector", marshal(t, m.service.Spec.Selector), labels)
	for name, selector := range map[string]*metav1.LabelSelector{
		"the set's": m.set.Spec.Selector, "the budget's": m.budget.Spec.Selector,
		"the network policy's": &m.network.Spec.PodSelector, "the spread's": pod.Spec.TopologySpreadConstraints[0].LabelSelector,
	} {
		equal(t, name+" selector", marshal(t, selector.MatchLabels), labels)
	}
	equal(t, "the scaler's target", m.scaler.Spec.ScaleTargetRef.Name, m.set.Name)
	equal(t, "the scaled container", m.scaler.Spec.Metrics[0].ContainerResource.Container, container.Name)
	equal(t, "the pod's account", pod.Spec.ServiceAccountName, m.account.Name)
	equal(t, "the set's Service", m.set.Spec.ServiceName, m.service.Name)

	port := m.service.Spec.Ports[0]
	known := func(p corev1.ContainerPort) bool { return p.ContainerPort == port.TargetPort.IntVal }
	if port.Port != 9002 || !slices.ContainsFunc(container.Ports, known) {
		t.Errorf("the Service's port %v is none of %v", port, container.Ports)
	}
	if !strings.HasPrefix(port.Name, "grpc-") {
		t.Errorf("%s: Istio would not speak HTTP/2 to it", port.Name)
	}

	mounted := map[string]bool{}
	for _, volume := range pod.Spec.Volumes {
		mounted[volume.Name] = true
		for _, item := range volume.ConfigMap.Items {
			if m.config.Data[item.Key] == "" || volume.ConfigMap.Name != m.config.Name {
				t.Errorf("no key %s in the ConfigMap", item.Key)
			}
		}
		equal(t, "keys that are mounted", len(volume.ConfigMap.Items), len(m.config.Data))
	}
	mounted[m.set.Spec.VolumeClaimTemplates[0].Name] = true
	for _, mount := range container.VolumeMounts {
		if !mounted[mount.Name] {
			t.Errorf("no volume %s", mount.Name)
		}
	}
}

func TestThePodIsLockedDownAndOutlivesItsDrain(t *testing.T) {
	m := decode(t)
	spec := m.set.Spec.Template.Spec
	container := spec.Containers[0]
	security := container.SecurityContext
	equal(t, "read-only root", *security.ReadOnlyRootFilesystem, true)
	equal(t, "escalation", *security.AllowPrivilegeEscalation, false)
	equal(t, "dropped", marshal(t, security.Capabilities), "drop:\n- ALL\n")
	equal(t, "non-root", *spec.SecurityContext.RunAsNonRoot, true)
	equal(t, "seccomp", spec.SecurityContext.SeccompProfile.Type, corev1.SeccompProfileTypeRuntimeDefault)
	equal(t, "token", *spec.AutomountServiceAccountToken, false)

	var config struct {
		Drain struct {
			Seconds int64 `json:"seconds"`
		} `json:"drain"`
	}
	if err := yaml.Unmarshal([]byte(m.config.Data["limen.yaml"]), &config); err != nil {
		t.Fatal(err)
	}
	// 5 s: how long Limen says no to health checks before it refuses streams.
	needed := container.Lifecycle.PreStop.Sleep.Seconds + 5 + config.Drain.Seconds
	if *spec.TerminationGracePeriodSeconds <= needed {
		t.Errorf("killed after %d s of the %d s that it needs", *spec.TerminationGracePeriodSeconds, needed)
	}
}

func TestIstioAcceptsEveryObjectOfItsOwnInTheFiles(t *testing.T) {
	want := map[string]int{
		"limen.yaml": 3, "gateway.yaml": 1, "sidecar-outbound.yaml": 4, "sidecar-inbound.yaml": 1,
		"waypoint.yaml": 1, "ext-authz.yaml": 1,
	}
	for file, count := range want {
		seen := 0
		for _, text := range documents(t, read(t, file)) {
			var object struct {
				metav1.TypeMeta   `json:",inline"`
				metav1.ObjectMeta `json:"metadata"`
				Spec              json.RawMessage `json:"spec"`
			}
			if err := json.Unmarshal(text, &object); err != nil {
				t.Fatal(err)
			}
			kind := object.GroupVersionKind()
			schema, known := collections.PilotGatewayAPI().FindByGroupVersionAliasesKind(resource.FromKubernetesGVK(&kind))
			if !known {
				continue
			}
			seen++
			// Validated in full by `parse`; here a field that Istio does not know is an error.
			spec, err := schema.NewInstance()
			if err != nil {
				t.Fatal(err)
			}
			if err := protomarshal.ApplyJSONStrict(string(object.Spec), spec.(proto.Message)); err != nil {
				t.Errorf("%s: %s: %v", file, object.Kind, err)
			}
		}
		parse(t, read(t, file))
		equal(t, file, seen, count)
	}
}

func TestTheMeshAcceptsTheProvider(t *testing.T) {
	var file struct {
		MeshConfig json.RawMessage `json:"meshConfig"`
	}
	unmarshalStrict(t, read(t, "mesh-config.yaml"), &file)
	if err := protomarshal.ApplyJSONStrict(string(file.MeshConfig), &meshconfig.MeshConfig{}); err != nil {
		t.Fatal(err)
	}
	applied, err := mesh.ApplyMeshConfig(string(file.MeshConfig), mesh.DefaultMeshConfig())
	if err != nil {
		t.Fatal(err)
	}
	if warning, err := agent.ValidateMeshConfig(applied); err != nil || warning != nil {
		t.Error(warning, err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
