//go:build !amd64

package engine

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// requiredCPU lists what ClickHouse is built for: ARMv8.2 with atomics and CRC. Other
// architectures have no library at all, and darwin's arm64 processors have all of these.
func requiredCPU() []cpuFeature {
	if runtime.GOARCH == "arm64" && runtime.GOOS == "linux" {
		return []cpuFeature{
			{"CRC32", cpu.ARM64.HasCRC32},
			{"LSE atomics", cpu.ARM64.HasATOMICS},
			{"dot product", cpu.ARM64.HasASIMDDP},
		}
	}
	return nil
}
