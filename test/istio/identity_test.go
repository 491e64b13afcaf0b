package istio_test

import (
	"slices"
	"strings"
	"testing"

	sfsvalue "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	sfs "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
)

// The requests of a waypoint come through a listener without TLS. Who sends them stands in what the tunnel's listener
// hands on; istiod says nothing about it in any document, so its own configuration has to.
func TestAWaypointHandsOnWhoCallsUnderTheNameThatTheFilterAsksFor(t *testing.T) {
	const key = "io.istio.peer_principal"
	m := modes[slices.IndexFunc(modes, func(m mode) bool { return m.name == "waypoint" })]
	text := read(t, m.file)
	if !strings.Contains(text, "- filter_state['"+key+"']") {
		t.Fatalf("%s does not ask for %s", m.file, key)
	}
	_, tunnels := generate(t, m, text, version).guarded(m)
	if len(tunnels) == 0 {
		t.Fatal("no listener ends a tunnel")
	}
	for _, tunnel := range tunnels {
		index := slices.IndexFunc(statesOf(t, tunnel), func(v *sfsvalue.FilterStateValue) bool {
			return v.GetObjectKey() == key &&
				v.GetFormatString().GetTextFormatSource().GetInlineString() == "%DOWNSTREAM_PEER_URI_SAN%" &&
				v.GetSharedWithUpstream() == sfsvalue.FilterStateValue_ONCE
		})
		if index < 0 {
			t.Errorf("%s does not hand on the name of the tunnel's certificate", tunnel.listener.Name)
		}
	}
}

// statesOf gives what a connection manager keeps of its requests for listeners behind it.
func statesOf(t *testing.T, m manager) (out []*sfsvalue.FilterStateValue) {
	t.Helper()
	for _, filter := range m.http.HttpFilters {
		config := &sfs.Config{}
		if !filter.GetTypedConfig().MessageIs(config) {
			continue
		}
		if err := filter.GetTypedConfig().UnmarshalTo(config); err != nil {
			t.Fatal(err)
		}
		out = append(out, config.OnRequestHeaders...)
	}
	return out
}
