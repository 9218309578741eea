package kmod

// finitModule is the number of finit_module(2), which package syscall lacks.
func finitModule() uintptr { return 313 }
