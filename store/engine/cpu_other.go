//go:build !amd64

package engine

import "golang.org/x/sys/cpu"

// requiredCPU lists what ClickHouse is built for: ARMv8.2 with atomics and CRC. Other
// architectures have no library.
func requiredCPU() []cpuFeature {
	return []cpuFeature{
		{"CRC32", cpu.ARM64.HasCRC32},
		{"LSE atomics", cpu.ARM64.HasATOMICS},
		{"dot product", cpu.ARM64.HasASIMDDP},
	}
}
