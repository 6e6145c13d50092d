"""The backend of GPUs: kernels of `kernels/gpu`, on tensors."""
