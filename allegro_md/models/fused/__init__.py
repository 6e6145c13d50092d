"""Trained networks in the form of the CPU kernels: description, tables, packed arrays, accuracy."""
