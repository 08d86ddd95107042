package engine

import "context"

// DiscoverLibvirtBelow has the trials look for daemons of their own, which are not below /.
func DiscoverLibvirtBelow(ctx context.Context, r Runner, root string, candidates []Spec) []Spec {
	return discoverVirtBelow(ctx, r, root, candidates)
}
