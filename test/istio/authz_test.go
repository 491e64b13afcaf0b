package istio_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	extauthz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/wellknown"
)

// checker gives the ext_authz filter of a manager.
func checker(t *testing.T, http *hcm.HttpConnectionManager) *extauthz.ExtAuthz {
	t.Helper()
	out := &extauthz.ExtAuthz{}
	unmarshalFilter(t, http, wellknown.HTTPExternalAuthorization, out)
	return out
}

func unmarshalFilter(t *testing.T, http *hcm.HttpConnectionManager, name string, into proto.Message) {
	t.Helper()
	index := slices.Index(filterNames(http), name)
	if index < 0 {
		t.Fatalf("no %s in %v", name, filterNames(http))
	}
	if err := http.HttpFilters[index].GetTypedConfig().UnmarshalTo(into); err != nil {
		t.Fatal(err)
	}
}

func TestTheProviderAsksLimenAboutWholeRequestsAndRefusesWithoutIt(t *testing.T) {
	m := modes[0]
	g := generate(t, m, read(t, "ext-authz.yaml"), version)
	if len(g.managers) == 0 {
		t.Fatal("no connection manager")
	}
	for _, one := range g.managers {
		check := checker(t, one.http)
		service := check.GetGrpcService()
		body := check.GetWithRequestBody()
		if got := service.GetEnvoyGrpc(); got.GetClusterName() != limenCluster ||
			got.GetAuthority() != "limen.limen-system.svc.cluster.local" {
			t.Errorf("asks %v", got)
		}
		if service.GetTimeout().AsDuration() != 5*time.Second {
			t.Errorf("waits %v", service.GetTimeout())
		}
		if check.FailureModeAllow || check.GetStatusOnError().GetCode() != 503 {
			t.Errorf("on failure: allow %v, status %v", check.FailureModeAllow, check.GetStatusOnError())
		}
		if !body.GetPackAsBytes() || body.GetAllowPartialMessage() || body.GetMaxRequestBytes() != 8<<20 {
			t.Errorf("body: %v", body)
		}
	}
	golden(t, "ext-authz", static(t, "ext-authz", g.managers[0], g))
}

// Only the service accounts on the list may call the port that believes its caller.
func TestLimensOwnSidecarLetsNobodyInButTheGateway(t *testing.T) {
	pod := mode{
		name: "limen", kind: model.SidecarProxy, namespace: "limen-system", address: "10.0.0.7",
		labels: map[string]string{"app.kubernetes.io/name": "limen"},
	}
	seen := 0
	g := generate(t, pod, "", version)
	for _, one := range g.managers {
		if !inbound(one.listener) {
			continue
		}
		if one.listener.Name == model.VirtualInboundListenerName && one.chain.GetTransportSocket() == nil {
			t.Errorf("%s takes plaintext", one.chain.Name)
		}
		if one.chain.GetFilterChainMatch().GetDestinationPort().GetValue() != 9002 {
			continue
		}
		seen++
		walls := &rbac.RBAC{}
		unmarshalFilter(t, one.http, wellknown.HTTPRoleBasedAccessControl, walls)
		if len(walls.GetRules().GetPolicies()) != 1 {
			t.Fatalf("%d rules", len(walls.GetRules().GetPolicies()))
		}
		for _, policy := range walls.GetRules().GetPolicies() {
			if text := policy.String(); !strings.Contains(text, "ns/inference/sa/inference-istio") {
				t.Errorf("lets in %s", text)
			}
		}
		// The list of principals says nothing without mTLS, which golden/ leaves out.
		one.http.HttpFilters = slices.DeleteFunc(one.http.HttpFilters, func(f *hcm.HttpFilter) bool {
			return f.Name == wellknown.HTTPRoleBasedAccessControl
		})
		golden(t, "limen-sidecar", static(t, "limen-sidecar", one, g))
	}
	if seen < 2 {
		t.Fatalf("%d filter chains for Limen's port, want mTLS and tunnels", seen)
	}
	_, spec := envoyFilter(t, read(t, "limen.yaml"))
	if err := clusterSays(g, "inbound|9002||", expected(t, spec.ConfigPatches[0]).(*cluster.Cluster)); err != nil {
		t.Error(err)
	}
}
