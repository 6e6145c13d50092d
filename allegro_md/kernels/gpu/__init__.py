"""Kernels of GPUs: CUDA C++ that is compiled when it is first needed, and gives the bits of the kernels of CPUs."""
