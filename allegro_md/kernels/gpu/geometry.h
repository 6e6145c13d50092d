// The pair vector: the expression of kernels/geometry.py.
#pragma once
#include "gpu.h"

DEVICE void pair_vector(const double* position, const int* shift, const Mat3& h, i64 i, i64 j, double* d) {
  const int s0 = shift[3 * j] - shift[3 * i], s1 = shift[3 * j + 1] - shift[3 * i + 1], s2 = shift[3 * j + 2] - shift[3 * i + 2];
  for (int k = 0; k < 3; ++k) d[k] = position[3 * j + k] - position[3 * i + k];
  if (s0 | s1 | s2)  // else adding S·h would add zeros
    for (int k = 0; k < 3; ++k) d[k] = d[k] + ((double)s0 * h.v[k] + (double)s1 * h.v[3 + k] + (double)s2 * h.v[6 + k]);
}

// Where an atom is in the frame of the rank: x + shift · h.
DEVICE void place_of(const double* position, const int* shift, const Mat3& h, i64 i, double* x) {
  const double a = shift[3 * i], b = shift[3 * i + 1], c = shift[3 * i + 2];
  for (int k = 0; k < 3; ++k) x[k] = position[3 * i + k] + (a * h.v[k] + b * h.v[3 + k] + c * h.v[6 + k]);
}
