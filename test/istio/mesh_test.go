// Package istio_test asks Istio's own code what it makes of the files in istio/: whether istiod accepts them,
// what it generates from them for each kind of proxy, and whether Kubernetes would take the manifests. The
// generated configuration is kept in golden/, where istio.slow.ts loads it into a real Envoy.
package istio_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/gvk"
	configxds "istio.io/istio/pkg/config/xds"
	"istio.io/istio/pkg/test"
	"istio.io/istio/pkg/wellknown"
)

const limenCluster = "outbound|9002||limen.limen-system.svc.cluster.local"

// read gives a file of istio/ as it stands there.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "istio", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parse gives the objects of Istio in a text; the others are Kubernetes's.
func parse(t *testing.T, text string) (configs []config.Config, others int) {
	t.Helper()
	configs, kinds, err := crd.ParseInputs(text)
	if err != nil {
		t.Fatal(err)
	}
	return configs, len(kinds)
}

// envoyFilter gives the one EnvoyFilter of a text.
func envoyFilter(t *testing.T, text string) (config.Config, *networking.EnvoyFilter) {
	t.Helper()
	configs, _ := parse(t, text)
	for _, one := range configs {
		if one.GroupVersionKind == gvk.EnvoyFilter {
			return one, one.Spec.(*networking.EnvoyFilter)
		}
	}
	t.Fatal("no EnvoyFilter in the text")
	return config.Config{}, nil
}

// mode is one place where the filter can stand.
type mode struct {
	name, file string
	// What the proxy says of itself when it connects.
	kind               model.NodeType
	namespace, address string
	labels             map[string]string
	// guards says of each connection manager whether requests for a model pass it.
	guards func(l *listener.Listener, chain *listener.FilterChain) bool
	// shown is how the name of the filter chain begins that golden/ keeps, where there are several.
	shown string
}

// version is that of the proxies: this istiod's own.
const version = "1.31.0"

var modes = []mode{
	{
		name: "gateway", file: "gateway.yaml",
		kind: model.Router, namespace: "inference", address: "10.0.0.5",
		labels: map[string]string{"gateway.networking.k8s.io/gateway-name": "inference"},
		guards: func(*listener.Listener, *listener.FilterChain) bool { return true },
	},
	{
		name: "sidecar-outbound", file: "sidecar-outbound.yaml",
		kind: model.SidecarProxy, namespace: "agents", address: "10.0.0.6",
		labels: map[string]string{"limen.dev/boundary": "outbound"},
		guards: func(l *listener.Listener, _ *listener.FilterChain) bool {
			return l.GetAddress().GetSocketAddress().GetPortValue() == 10000
		},
	},
	{
		name: "sidecar-inbound", file: "sidecar-inbound.yaml",
		kind: model.SidecarProxy, namespace: "models", address: "10.0.0.8",
		labels: map[string]string{"app": "model", "limen.dev/boundary": "inbound"},
		guards: func(l *listener.Listener, chain *listener.FilterChain) bool {
			return inbound(l) && chain.GetFilterChainMatch().GetDestinationPort().GetValue() == 8000
		},
	},
	{
		name: "waypoint", file: "waypoint.yaml",
		kind: model.Waypoint, namespace: "models", address: "10.0.0.9",
		labels: map[string]string{
			"gateway.networking.k8s.io/gateway-name": "waypoint",
			"gateway.istio.io/managed":               "istio.io-mesh-controller",
		},
		guards: func(l *listener.Listener, _ *listener.FilterChain) bool { return l.Name == "main_internal" },
		shown:  "inbound-vip|80|http|chat.models",
	},
}

// inbound is true of the listeners by which a sidecar is reached: with mTLS, and through the tunnels of an ambient
// mesh.
func inbound(l *listener.Listener) bool {
	return l.Name == model.VirtualInboundListenerName || l.Name == "main_internal"
}

// istiod is a control plane with the mesh of mesh.yaml, Limen, the provider of ext-authz.yaml, and `texts`.
func istiod(t *testing.T, texts ...string) *xds.FakeDiscoveryServer {
	t.Helper()
	test.SetForTest(t, &features.EnableAmbient, true)
	test.SetForTest(t, &features.EnableSidecarHBONEListening, true)
	around, err := os.ReadFile("mesh.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var settings struct {
		MeshConfig map[string]any `json:"meshConfig"`
	}
	unmarshalStrict(t, read(t, "mesh-config.yaml"), &settings)
	meshConfig, err := mesh.ApplyMeshConfig(marshal(t, settings.MeshConfig), mesh.DefaultMeshConfig())
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(append([]string{string(around), read(t, "limen.yaml")}, texts...), "\n---\n")
	return xds.NewFakeDiscoveryServer(t, xds.FakeOptions{
		// The ambient index reads Istio's objects from Kubernetes, everything else reads the configuration.
		ConfigString:           all,
		KubernetesObjectString: all,
		MeshConfig:             meshConfig,
	})
}

// proxyOf is a proxy of that mode as it connects, with the version that it says of itself.
func (m mode) proxyOf(d *xds.FakeDiscoveryServer, version string) *model.Proxy {
	return d.SetupProxy(&model.Proxy{
		Type: m.kind, ConfigNamespace: m.namespace, Labels: m.labels, IPAddresses: []string{m.address},
		Metadata: &model.NodeMetadata{
			IstioVersion: version, Namespace: m.namespace, Labels: m.labels, EnableHBONE: true,
		},
	})
}

// manager is a connection manager and where it stands.
type manager struct {
	listener *listener.Listener
	chain    *listener.FilterChain
	http     *hcm.HttpConnectionManager
}

func managersOf(t *testing.T, listeners []*listener.Listener) []manager {
	t.Helper()
	var out []manager
	for _, l := range listeners {
		chains := l.FilterChains
		if l.DefaultFilterChain != nil {
			chains = append(chains[:len(chains):len(chains)], l.DefaultFilterChain)
		}
		for _, chain := range chains {
			for _, filter := range chain.Filters {
				if filter.Name != wellknown.HTTPConnectionManager {
					continue
				}
				http := &hcm.HttpConnectionManager{}
				if err := filter.GetTypedConfig().UnmarshalTo(http); err != nil {
					t.Fatal(err)
				}
				out = append(out, manager{l, chain, http})
			}
		}
	}
	return out
}

// routesOf gives the routes of a manager, its own or those it would fetch.
func (m manager) routesOf(fetched []*route.RouteConfiguration) *route.RouteConfiguration {
	if own := m.http.GetRouteConfig(); own != nil {
		return own
	}
	for _, one := range fetched {
		if one.Name == m.http.GetRds().GetRouteConfigName() {
			return one
		}
	}
	return nil
}

// expected builds what a patch says, as strictly as a compiler: a field that Envoy does not know is an error.
func expected(t *testing.T, patch *networking.EnvoyFilter_EnvoyConfigObjectPatch) any {
	t.Helper()
	object, err := configxds.BuildXDSObjectFromStruct(patch.ApplyTo, patch.Patch.Value, true)
	if err != nil {
		t.Fatal(err)
	}
	return object
}
