"""Instances of all kernels of GPUs, for the tests of their machine code."""

from __future__ import annotations

INSTANCES: dict[str, tuple[str, ...]] = {
    "bilinear.cuh": (
        "bilinear<float,2,1,false>", "bilinear<float,2,1,true>", "bilinear<double,2,1,true>",
        "bilinear<double,3,2,false>", "bilinear<float,4,3,true>", "bilinear<double,4,16,true>",
    ),
    "domain.cuh": (
        "first_beyond", "extremes", "add_costs", "assign_owners", "flag_outside", "flag_inside", "gather<short>",
        "gather<int>", "gather<i64>", "scatter_add",
    ),
    "eam.cuh": ("eam<false>", "eam<true>"),
    "limits.cuh": ("largest_square<double>", "largest_square<i64>", "clearances", "first_with"),
    "lj.cuh": ("lj<false>", "lj<true>"),
    "neighbors.cuh": (
        "bounds_of", "counts_along", "cells_of", "arrange", "pairs<0>", "pairs<1>", "sort_lists", "sort_long_lists",
        "farthest", "wrapped<float>", "wrapped<double>", "displacement<float>", "displacement<double>",
    ),
    "pair.cuh": ("pack",),
    "steps.cuh": (
        "kick", "work", "scale_velocities", "add_forces", "drift", "thermalize", "strain", "kick_with_cell",
        "drift_with_cell", "combine",
    ),
    "sums.cuh": (
        "kinetic_energy", "kinetic_tensor", "momentum", "total_mass", "column_sum", "heat", "product_sum",
    ),
    "zbl.cuh": ("zbl<false>", "zbl<true>"),
}  # fmt: skip
"""File → instances."""
