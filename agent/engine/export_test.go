package engine

// What tests of other packages reach.
var DiscoverProxmoxAt = discoverProxmoxAt
