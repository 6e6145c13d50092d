// Wide vectors of the kernels of CPUs, 64 bytes of float32 or float64: see kernels/cpu_vector.py. A lane sums by itself;
// the eight lanes of a group hold those of one vector, each every eighth.
#pragma once
#include "gpu.h"

template <class real> struct Wide {
  static const int LANES = 64 / sizeof(real);
  static const int EACH = LANES / 8;  // of the vector's lanes, held by one of the group
};

// What is loaded and stored at once.
template <class real> struct alignas(16) Piece {
  static const int SIZE = 16 / sizeof(real);
  real v[SIZE];
};
template <class real> DEVICE Piece<real> piece(const real* p) { return *(const Piece<real>*)p; }
template <class real> DEVICE void put(real* p, const Piece<real>& x) { *(Piece<real>*)p = x; }

// The group of a thread, among those of all blocks.
#define GROUP(g) ((i64)blockIdx.x * (blockDim.x >> 3) + g)

// The lanes of a wide vector added up: halves, quarters, pairs.
template <class real> DEVICE void sum_of_wide(PerLane<real>* x, real& sum) {
  PerLane<real> pair;
  FOR_LANES(l) {
    pair(l) = x[0](l);
#pragma unroll
    for (int w = 1; w < Wide<real>::EACH; ++w) pair(l) = pair(l) + x[w](l);
  }
  sum = sum_of(pair);
}
