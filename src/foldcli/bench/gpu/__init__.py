"""What benchmarks/gpu_report.py does on a CUDA GPU: test the kernels there, tune them, time them against others."""
