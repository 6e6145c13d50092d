"""The backend of CPUs: numba, one thread."""

from allegro_md.backends.base import Backend
from allegro_md.backends.cpu import domain, limits, lists, steps, sums

BACKEND = Backend(steps, sums, limits, lists, domain)
