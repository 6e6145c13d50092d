"""Instances of all kernels of GPUs, for the tests of their machine code."""

from __future__ import annotations


def of_reals(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}<{real}>" for name in names for real in ("float", "double"))


def of_degrees(*names: str) -> tuple[str, ...]:
    chosen = "float,2", "double,3", "float,4", "double,4"
    return tuple(f"{name}<{arguments}>" for name in names for arguments in chosen)


INSTANCES: dict[str, tuple[str, ...]] = {
    "bilinear.cuh": (
        "bilinear<float,2,1,false>", "bilinear<float,2,1,true>", "bilinear<double,2,1,true>",
        "bilinear<double,3,2,false>", "bilinear<float,4,3,true>", "bilinear<double,4,16,true>",
    ),
    "blocks.cuh": ("count_edges", "fill_block", "spread_block", "sum_virials", "spread_virials"),
    "centers.cuh": of_degrees("sum_edges"),
    "domain.cuh": (
        "first_beyond", "extremes", "add_costs", "assign_owners", "flag_outside", "flag_inside", "gather<short>",
        "gather<int>", "gather<i64>", "scatter_add",
    ),
    "eam.cuh": ("eam<false>", "eam<true>"),
    "edges.cuh": of_degrees("place_edges", "edge_gradients"),
    "limits.cuh": ("largest_square<double>", "largest_square<i64>", "clearances", "first_with"),
    "lj.cuh": ("lj<false>", "lj<true>"),
    "matrix.cuh": (
        "multiply<float,0,64>", "multiply<float,3,16>", "multiply<float,3,64>", "multiply<double,1,64>",
        "multiply<double,2,64>", "multiply<double,3,32>",
    ),
    "neighbors.cuh": (
        "bounds_of", "counts_along", "cells_of", "arrange", "pairs<0>", "pairs<1>", "sort_lists", "sort_long_lists",
        "farthest", "wrapped<float>", "wrapped<double>", "displacement<float>", "displacement<double>",
    ),
    "pair.cuh": ("pack",),
    "repulsion.cuh": ("add_repulsion",),
    "rows.cuh": of_reals("activation_backward", "cut_backward"),
    "single_layer.cuh": (*of_reals("energies"), "sum_energies"),
    "single_layer_tensor.cuh": of_degrees("make_scalars", "scalars_backward", "environments_backward"),
    "steps.cuh": (
        "kick", "work", "scale_velocities", "add_forces", "drift", "thermalize", "strain", "kick_with_cell",
        "drift_with_cell", "combine",
    ),
    "sums.cuh": (
        "kinetic_energy", "kinetic_tensor", "momentum", "total_mass", "column_sum", "heat", "product_sum",
    ),
    "table.cuh": of_reals("evaluate"),
    "zbl.cuh": ("zbl<false>", "zbl<true>"),
}  # fmt: skip
"""File → instances."""
