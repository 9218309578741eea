module hooklab/tools/ipxe

go 1.24.0

require github.com/tinkerbell/tinkerbell v0.25.0
