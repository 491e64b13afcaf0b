package istio_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/validation/envoyfilter"
	"istio.io/istio/pkg/proto/merge"
	"istio.io/istio/pkg/wellknown"
)

const (
	filterName  = "limen.ext_proc"
	refusalName = "limen.unsupported_proxy"
)

// Istio says this of every EnvoyFilter. Everything else that it says of ours is a failure.
const standingWarning = "EnvoyFilter exposes internal implementation details"

func TestIstiodAcceptsEachEnvoyFilterWithoutAWord(t *testing.T) {
	files := []string{"limen.yaml"}
	for _, m := range modes {
		files = append(files, m.file)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			if err := complaints(t, read(t, file)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestIstiodComplainsOfAFieldThatEnvoyDoesNotKnow(t *testing.T) {
	text := edited(t, "gateway.yaml", "failure_mode_allow: false", "failure_mode_alow: false")
	if complaints(t, text) == nil {
		t.Error("a misspelt field went through")
	}
}

func complaints(t *testing.T, text string) error {
	t.Helper()
	object, _ := envoyFilter(t, text)
	warning, err := envoyfilter.ValidateEnvoyFilter(object)
	if err != nil || warning == nil {
		return err
	}
	var joined interface{ WrappedErrors() []error }
	all := []error{warning}
	if errors.As(error(warning), &joined) {
		all = joined.WrappedErrors()
	}
	for _, one := range all {
		if !strings.Contains(one.Error(), standingWarning) {
			return one
		}
	}
	return nil
}

// edited is a file of istio/ with each first text replaced by the one after it.
func edited(t *testing.T, file string, pairs ...string) string {
	t.Helper()
	text := read(t, file)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%s does not say %q", file, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// generated is what istiod sends to one proxy.
type generated struct {
	managers []manager
	routes   []*route.RouteConfiguration
	clusters []*cluster.Cluster
}

func generate(t *testing.T, m mode, text, version string) generated {
	t.Helper()
	d := istiod(t, text)
	p := m.proxyOf(d, version)
	listeners := d.Listeners(p)
	return generated{managersOf(t, listeners), d.RoutesFromListeners(p, listeners), d.Clusters(p)}
}

func (g generated) guarded(m mode) (inside, outside []manager) {
	for _, one := range g.managers {
		if m.guards(one.listener, one.chain) {
			inside = append(inside, one)
		} else {
			outside = append(outside, one)
		}
	}
	return inside, outside
}

// stands checks that `name`, and nothing else of ours, stands directly before the router wherever requests for
// a model pass, and nowhere else.
func stands(g generated, m mode, name string) error {
	inside, outside := g.guarded(m)
	if len(inside) == 0 {
		return errors.New("no connection manager to guard")
	}
	for _, one := range inside {
		names := filterNames(one.http)
		if len(names) < 2 || names[len(names)-1] != wellknown.Router || names[len(names)-2] != name {
			return fmt.Errorf("%s: %v", one.listener.Name, names)
		}
		if ours(names) != 1 {
			return fmt.Errorf("%s: %d filters of ours", one.listener.Name, ours(names))
		}
	}
	for _, one := range outside {
		if names := filterNames(one.http); ours(names) != 0 {
			return fmt.Errorf("%s is not ours: %v", one.listener.Name, names)
		}
	}
	return nil
}

func filterNames(http *hcm.HttpConnectionManager) []string {
	var names []string
	for _, filter := range http.HttpFilters {
		names = append(names, filter.Name)
	}
	return names
}

func ours(names []string) int {
	count := 0
	for _, name := range names {
		if strings.HasPrefix(name, "limen.") {
			count++
		}
	}
	return count
}

func TestTheFilterStandsOnceDirectlyBeforeTheRouterAsTheFileSaysIt(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			g := generate(t, m, read(t, m.file), version)
			if err := stands(g, m, filterName); err != nil {
				t.Fatal(err)
			}
			_, spec := envoyFilter(t, read(t, m.file))
			inside, _ := g.guarded(m)
			for _, patch := range spec.ConfigPatches {
				if err := inForce(t, g, inside, patch); err != nil {
					t.Errorf("%v: %v", patch.ApplyTo, err)
				}
			}
		})
	}
}

// inForce checks that what istiod generated says what the patch says.
func inForce(t *testing.T, g generated, inside []manager, patch *networking.EnvoyFilter_EnvoyConfigObjectPatch) error {
	t.Helper()
	value := expected(t, patch)
	switch want := value.(type) {
	case *hcm.HttpFilter:
		if want.Name == refusalName {
			return nil // replaced
		}
		for _, one := range inside {
			index := slices.Index(filterNames(one.http), want.Name)
			if index < 0 || !proto.Equal(one.http.HttpFilters[index], want) {
				return fmt.Errorf("%s is not what the file says", want.Name)
			}
		}
	case *listener.Filter:
		settings := &hcm.HttpConnectionManager{}
		if err := want.GetTypedConfig().UnmarshalTo(settings); err != nil {
			return err
		}
		for _, one := range inside {
			if err := says(one.http, settings); err != nil {
				return err
			}
		}
	case *listener.Listener:
		for _, one := range inside {
			if err := says(one.listener, want); err != nil {
				return err
			}
		}
	case *route.Route:
		return routesSay(g, inside, want)
	case *cluster.Cluster:
		return limenClusterSays(g, want)
	default:
		return fmt.Errorf("no check for a patch of a %T", value)
	}
	return nil
}

// says is true of a message that merging `want` into would not change.
func says(got, want proto.Message) error {
	merged := proto.Clone(got)
	merge.MergeWithReplaceList(merged, want)
	if !proto.Equal(merged, got) {
		return fmt.Errorf("want %v in %v", want, got)
	}
	return nil
}

func routesSay(g generated, inside []manager, want *route.Route) error {
	seen := 0
	for _, one := range inside {
		routes := one.routesOf(g.routes)
		for _, host := range routes.GetVirtualHosts() {
			for _, r := range host.Routes {
				seen++
				if err := says(r, want); err != nil {
					return err
				}
			}
		}
	}
	if seen == 0 {
		return errors.New("no route")
	}
	return nil
}

// limenClusterSays checks the way to Limen: HTTP/2 under mTLS.
func limenClusterSays(g generated, want *cluster.Cluster) error {
	if err := clusterSays(g, limenCluster, want); err != nil {
		return err
	}
	index := slices.IndexFunc(g.clusters, func(c *cluster.Cluster) bool { return c.Name == limenCluster })
	options := &upstream.HttpProtocolOptions{}
	any := g.clusters[index].TypedExtensionProtocolOptions["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
	if err := any.UnmarshalTo(options); err != nil {
		return err
	}
	if options.GetExplicitHttpConfig().GetHttp2ProtocolOptions() == nil {
		return errors.New("the cluster of Limen does not speak HTTP/2")
	}
	if len(g.clusters[index].TransportSocketMatches) == 0 {
		return errors.New("the cluster of Limen has no mTLS")
	}
	return nil
}

func clusterSays(g generated, name string, want *cluster.Cluster) error {
	index := slices.IndexFunc(g.clusters, func(c *cluster.Cluster) bool { return c.Name == name })
	if index < 0 {
		return fmt.Errorf("the proxy has no cluster %s", name)
	}
	return says(g.clusters[index], want)
}

// A proxy that the file was not tried on must not pass anything: neither an older one nor one that does not say.
func TestAProxyOfAnotherVersionRefusesEverything(t *testing.T) {
	for _, m := range modes {
		for _, other := range []string{"1.27.9", "1.2.8", "2.0.0", "unknown"} {
			t.Run(m.name+" "+other, func(t *testing.T) {
				if err := stands(generate(t, m, read(t, m.file), other), m, refusalName); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestTheFilterStandsInEveryVersionThatItIsSaidToWorkOn(t *testing.T) {
	m := modes[0]
	for _, supported := range []string{"1.28.0", "1.29.3", "1.30.8", "1.31-alpha.0123456789", "1.40.2-vendor.1"} {
		t.Run(supported, func(t *testing.T) {
			if err := stands(generate(t, m, read(t, m.file), supported), m, filterName); err != nil {
				t.Error(err)
			}
		})
	}
}

// istiod drops a patch that matches nothing without a word. These are the mistakes that people make; each must
// be seen by the check above, or that check proves nothing.
func TestAMistakeInAnAnchorIsSeen(t *testing.T) {
	router := "subFilter: { name: envoy.filters.http.router }"
	rows := []struct{ name, file, old, new string }{
		{"misspelt router", "gateway.yaml", router, "subFilter: { name: envoy.filters.http.ruter }"},
		{"the wrong context", "gateway.yaml", "context: GATEWAY", "context: SIDECAR_OUTBOUND"},
		{"another gateway", "gateway.yaml", "kind: Gateway, name: inference", "kind: Gateway, name: others"},
		{"inserted at the end", "gateway.yaml", "operation: INSERT_BEFORE", "operation: INSERT_AFTER"},
		{"another port", "sidecar-outbound.yaml", "portNumber: 10000\n          filterChain", "portNumber: 10001\n          filterChain"},
		{"the Service's port", "sidecar-inbound.yaml", "destinationPort: 8000", "destinationPort: 80"},
		{"the listener's port", "sidecar-inbound.yaml", "          filterChain:\n            destinationPort: 8000", "          portNumber: 8000\n          filterChain:"},
		{"the tunnel's listener too", "waypoint.yaml", "          name: main_internal\n", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			index := slices.IndexFunc(modes, func(m mode) bool { return m.file == row.file })
			m := modes[index]
			if stands(generate(t, m, edited(t, row.file, row.old, row.new), version), m, filterName) == nil {
				t.Error("not seen")
			}
		})
	}
}
