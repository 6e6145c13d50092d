"""The backend of GPUs: kernels of `kernels/gpu`, on tensors."""

from allegro_md.backends.base import Backend
from allegro_md.backends.cuda import domain, limits, lists, steps, sums

BACKEND = Backend(steps, sums, limits, lists, domain)
