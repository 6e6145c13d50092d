// The extremes that guards look at: see backends/cpu/limits.py.
#include "gpu.h"
#include "geometry.h"

// largest: bits of the largest square of a length, raised; infinite if one is not finite
template <class T>
KERNEL(256, 8) largest_square(i64 n, const T* rows, u64* largest) {
  PerThread<u64, 1> mine;
  FOR_THREADS(t) {
    mine(t, 0) = 0;
    const i64 i = THREAD(t);
    if (i < n) {
      const double x = (double)rows[3 * i], y = (double)rows[3 * i + 1], z = (double)rows[3 * i + 2];
      mine(t, 0) = size_bits(x * x + y * y + z * z);
    }
  }
  raise_all(mine, largest);
}

// Of each center the listed pair that is closest to its limit: distance less limit, and its place in the list (−1: none).
// least: lowered to the least of all, as `ordered`. shortest: (species, species); pairs with 0 have no limit.
KERNEL(256, 4) clearances(i64 n, const double* position, const int* shift, const short* species, Mat3 cell, const i64* offsets, const int* neighbors, int kinds, const double* shortest, i64* least, double* nearest_of, i64* slot_of) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) {
      double closest = real_of((i64)INFINITE_BITS);
      i64 slot = -1;
      for (i64 s = offsets[i]; s < offsets[i + 1]; ++s) {
        const int j = neighbors[s];
        const double limit = shortest[species[i] * kinds + species[j]];
        if (limit > 0.0) {
          double d[3];
          pair_vector(position, shift, cell, i, j, d);
          const double clearance = sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]) - limit;
          if (clearance < closest) { closest = clearance; slot = s; }
        }
      }
      nearest_of[i] = closest;
      slot_of[i] = slot;
      if (slot >= 0) lower(least, ordered(closest));
    }
  }
}

// first: lowered to the first center whose clearance is the least of all
KERNEL(256, 8) first_with(i64 n, const double* nearest_of, const i64* slot_of, const i64* least, i64* first) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n && slot_of[i] >= 0 && ordered(nearest_of[i]) == least[0]) lower(first, i);
  }
}
