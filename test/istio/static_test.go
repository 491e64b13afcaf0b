package istio_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"istio.io/istio/pkg/util/protomarshal"
	"istio.io/istio/pkg/wellknown"
)

// What a plain Envoy has. Istio's own build has a few filters more, about telemetry and its own protocols.
const plainEnvoy = "type.googleapis.com/envoy."

// TestTheGoldenFilesAreWhatIstiodGenerates keeps golden/ true: UPDATE_GOLDEN=1 writes it anew.
func TestTheGoldenFilesAreWhatIstiodGenerates(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			g := generate(t, m, read(t, m.file), version)
			inside, _ := g.guarded(m)
			index := slices.IndexFunc(inside, func(one manager) bool { return strings.HasPrefix(one.chain.Name, m.shown) })
			if index < 0 {
				t.Fatalf("no filter chain %q", m.shown)
			}
			golden(t, m.name, static(t, m.name, inside[index], g))
		})
	}
}

// What a proxy gets that is too old: a real Envoy has to show that it refuses.
func TestTheGoldenFileOfAnOldProxyIsWhatIstiodGenerates(t *testing.T) {
	m := modes[0]
	g := generate(t, m, read(t, m.file), "1.27.9")
	golden(t, "unsupported-proxy", static(t, "unsupported-proxy", g.managers[0], g))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("golden", name+".want.json")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date: run UPDATE_GOLDEN=1 go test, and read the difference", file)
	}
}

// static turns one connection manager into what a plain Envoy can load alone, with the routes and clusters that
// it needs. Everything that decides about a request stays as istiod wrote it; what goes is how connections
// arrive and leave in a mesh: addresses, iptables, mTLS. Ports are 0: who loads it fills them in.
func static(t *testing.T, name string, m manager, g generated) []byte {
	t.Helper()
	http := proto.Clone(m.http).(*hcm.HttpConnectionManager)
	http.HttpFilters = slices.DeleteFunc(http.HttpFilters, func(f *hcm.HttpFilter) bool {
		return !strings.HasPrefix(f.GetTypedConfig().GetTypeUrl(), plainEnvoy)
	})
	http.Tracing = nil
	http.RouteSpecifier = &hcm.HttpConnectionManager_RouteConfig{RouteConfig: m.routesOf(g.routes)}
	manager, err := anypb.New(http)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener.Listener{
		Name:                          name,
		Address:                       loopback(),
		PerConnectionBufferLimitBytes: m.listener.PerConnectionBufferLimitBytes,
		FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{
			Name:       wellknown.HTTPConnectionManager,
			ConfigType: &listener.Filter_TypedConfig{TypedConfig: manager},
		}}}},
	}
	out := struct {
		Listener json.RawMessage   `json:"listener"`
		Clusters []json.RawMessage `json:"clusters"`
	}{Listener: jsonOf(t, l)}
	needed := map[string]bool{}
	if bytes.Contains(out.Listener, []byte(limenCluster)) {
		needed[limenCluster] = true
	}
	for _, host := range m.routesOf(g.routes).VirtualHosts {
		for _, r := range host.Routes {
			needed[r.GetRoute().GetCluster()] = true
		}
	}
	for _, c := range g.clusters {
		if needed[c.Name] {
			delete(needed, c.Name)
			out.Clusters = append(out.Clusters, jsonOf(t, staticCluster(c)))
		}
	}
	for missing := range needed {
		t.Errorf("no cluster %q", missing)
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

func loopback() *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 0},
	}}}
}

func staticCluster(generated *cluster.Cluster) *cluster.Cluster {
	c := proto.Clone(generated).(*cluster.Cluster)
	c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}
	c.EdsClusterConfig = nil
	c.LbConfig = nil
	if c.LbPolicy == cluster.Cluster_CLUSTER_PROVIDED {
		c.LbPolicy = cluster.Cluster_ROUND_ROBIN
	}
	c.LoadAssignment = &endpoint.ClusterLoadAssignment{
		ClusterName: c.Name,
		Endpoints: []*endpoint.LocalityLbEndpoints{{LbEndpoints: []*endpoint.LbEndpoint{{
			HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: loopback()}},
		}}}},
	}
	c.TransportSocket = nil
	c.TransportSocketMatches = nil
	c.Filters = nil
	c.UpstreamBindConfig = nil
	c.DnsResolvers = nil //nolint:staticcheck // deprecated, and still sent
	return c
}

// jsonOf has one spelling: the encoder of protobuf varies its spaces from build to build.
func jsonOf(t *testing.T, message proto.Message) json.RawMessage {
	t.Helper()
	text, err := protomarshal.MarshalProtoNames(message)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	text, err = json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
