package emulated

import "encoding/binary"

// cpuid executes the instruction for a leaf.
func cpuid(leaf uint32) (a, b, c, d uint32)

// hypervisor is the signature a hypervisor leaves at leaf 0x40000000, "" on bare metal (bit 31 of
// leaf 1 says whether there is one).
func hypervisor() string {
	if _, _, c, _ := cpuid(1); c&(1<<31) == 0 {
		return ""
	}
	_, b, c, d := cpuid(0x40000000)
	var text []byte
	for _, word := range []uint32{b, c, d} {
		text = binary.LittleEndian.AppendUint32(text, word)
	}
	return string(text)
}
