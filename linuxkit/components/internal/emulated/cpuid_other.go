//go:build !amd64

package emulated

// hypervisor is unknown: other processors have no instruction that tells.
func hypervisor() string { return "" }
