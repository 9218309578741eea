// Package emulated tells whether the processor is software: QEMU's translator, TCG, without KVM or its like.
package emulated

// Emulated reports whether TCG runs this machine.
func Emulated() bool { return hypervisor() == "TCGTCGTCGTCG" }
