package engine

import "golang.org/x/sys/cpu"

// requiredCPU lists what ClickHouse is built for from 26.6 on: x86-64-v3.
func requiredCPU() []cpuFeature {
	return []cpuFeature{
		{"SSE4.2", cpu.X86.HasSSE42},
		{"POPCNT", cpu.X86.HasPOPCNT},
		{"AVX2", cpu.X86.HasAVX2},
		{"BMI1", cpu.X86.HasBMI1},
		{"BMI2", cpu.X86.HasBMI2},
		{"FMA", cpu.X86.HasFMA},
	}
}
