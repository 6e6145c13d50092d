// Blocks of centers: see kernels/blocks.py. A block is n centers from `first` on; center: index within the block; bounds:
// (n + 1), first edge of each center, and their number.
#include "formulas.h"
#include "geometry.h"
#include "wide.h"

struct Listed { double d[3]; bool within; };

// The pair vector of a listed pair; within: it is an edge.
DEVICE Listed listed(i64 i, int j, const double* position, const int* shift, const short* species, const Mat3& cell, int kinds, const double* cutoff2) {
  Listed pair;
  pair_vector(position, shift, cell, i, j, pair.d);
  const double* d = pair.d;
  pair.within = !(d[0] * d[0] + d[1] * d[1] + d[2] * d[2] >= cutoff2[species[i] * kinds + species[j]]);
  return pair;
}

// counts: (n), edges of each center
KERNEL(256, 4) count_edges(i64 first, i64 n, const double* position, const int* shift, const short* species, Mat3 cell, const i64* offsets, const int* neighbors, int kinds, const double* cutoff2, i64* counts) {
  FOR_GROUPS(g) {
    const i64 c = GROUP(g), i = first + c;
    PerLane<i64> found;
    FOR_LANES(l) {
      found(l) = 0;
      if (c < n)
        for (i64 s = offsets[i] + l; s < offsets[i + 1]; s += 8)
          found(l) += listed(i, neighbors[s], position, shift, species, cell, kinds, cutoff2).within;
    }
    const i64 total = sum_of(found);
    FOR_LANES(l) { if (l == 0 && c < n) counts[c] = total; }
  }
}

KERNEL(256, 4) fill_block(i64 first, i64 n, const double* position, const int* shift, const short* species, Mat3 cell, const i64* offsets, const int* neighbors, int kinds, const double* cutoff2, const i64* bounds, double* vector, int* center, int* neighbor) {
  FOR_GROUPS(g) {
    const i64 c = GROUP(g), i = first + c;
    i64 last = 0, from = 0, at = 0;
    if (c < n) { from = offsets[i]; last = offsets[i + 1]; at = bounds[c]; }
    PerLane<int> within, j;
    PerLane<double> d[3];
    for (i64 s = from; any(s < last); s += 8) {
      FOR_LANES(l) {
        within(l) = 0;
        if (s + l < last) {
          j(l) = neighbors[s + l];
          const Listed pair = listed(i, j(l), position, shift, species, cell, kinds, cutoff2);
          within(l) = pair.within;
          for (int k = 0; k < 3; ++k) d[k](l) = pair.d[k];
        }
      }
      const u32 flags = flags_of(within);
      FOR_LANES(l) {
        if (within(l)) {
          const i64 e = at + ones(flags & ((1u << l) - 1));
          for (int k = 0; k < 3; ++k) vector[3 * e + k] = d[k](l);
          center[e] = (int)c;
          neighbor[e] = j(l);
        }
      }
      at += ones(flags);
    }
  }
}

DEVICE bool is_below(double x, double limit) { return x < limit && -x < limit; }  // not a NaN
DEVICE bool in_range(i64 sum, double limit) { return sum <= (i64)(limit * FORCE_SCALE) && -sum <= (i64)(limit * FORCE_SCALE); }

// Edge gradients (edges, 3) to both ends of the edges; status: lowered to the first center with a component of a gradient
// or of a sum that is out of range.
KERNEL(256, 4) spread_block(i64 first, i64 n, const i64* bounds, const int* neighbor, const double* gradient, i64* force, i64* status) {
  FOR_GROUPS(g) {
    const i64 c = GROUP(g), i = first + c;
    PerLane<i64> sum[3];
    FOR_LANES(l) {
      sum[0](l) = sum[1](l) = sum[2](l) = 0;
      if (c < n)
        for (i64 e = bounds[c] + l; e < bounds[c + 1]; e += 8) {
          const double* x = gradient + 3 * e;
          bool fine = true;
#pragma unroll
          for (int k = 0; k < 3; ++k) fine = fine && is_below(x[k], FORCE_LIMIT);
          if (fine) {
            i64* there = force + 3 * (i64)neighbor[e];
#pragma unroll
            for (int k = 0; k < 3; ++k) {
              const i64 f = nearest(x[k] * FORCE_SCALE);
              sum[k](l) += f;
              fine = in_range(added(there + k, -f), FORCE_LIMIT) && in_range(sum[k](l), FORCE_LIMIT) && fine;
            }
          }
          if (!fine) lower(status, i);
        }
    }
    i64 total[3];
    total[0] = sum_of(sum[0]);
    total[1] = sum_of(sum[1]);
    total[2] = sum_of(sum[2]);
    FOR_LANES(l) {
#pragma unroll
      for (int k = 0; k < 3; ++k)
        if (l == k && c < n && !in_range(added(force + 3 * i + k, total[k]), FORCE_LIMIT)) lower(status, i);
    }
  }
}

// virial: (n, 6), stored. A thread per center: the sums run along its edges.
KERNEL(256, 4) sum_virials(i64 n, const i64* bounds, const double* vector, const double* gradient, double* virial) {
  FOR_THREADS(t) {
    const i64 c = THREAD(t);
    if (c < n) {
      double w[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
      for (i64 e = bounds[c]; e < bounds[c + 1]; ++e) {
        const double *d = vector + 3 * e, *x = gradient + 3 * e;
        w[0] = w[0] - d[0] * x[0];
        w[1] = w[1] - d[1] * x[1];
        w[2] = w[2] - d[2] * x[2];
        w[3] = w[3] - 0.5 * (d[1] * x[2] + d[2] * x[1]);
        w[4] = w[4] - 0.5 * (d[0] * x[2] + d[2] * x[0]);
        w[5] = w[5] - 0.5 * (d[0] * x[1] + d[1] * x[0]);
      }
      for (int k = 0; k < 6; ++k) virial[6 * c + k] = w[k];
    }
  }
}

// centroid: (atoms, 9), −d ⊗ gradient of each edge at the neighbor; see kernels/centroid.py. A thread per edge.
KERNEL(256, 4) spread_virials(const i64* edges, i64 first, const int* center, const int* neighbor, const double* vector, const double* gradient, i64* centroid, i64* status) {
  FOR_THREADS(t) {
    const i64 e = THREAD(t);
    if (e < edges[0]) {
      i64* there = centroid + 9 * (i64)neighbor[e];
      bool fine = true;
      for (int k = 0; k < 9; ++k) {
        const double term = -vector[3 * e + k / 3] * gradient[3 * e + k % 3];
        fine = is_below(term, VIRIAL_LIMIT) && in_range(added(there + k, nearest(term * FORCE_SCALE)), VIRIAL_LIMIT) && fine;
      }
      if (!fine) lower(status, first + center[e]);
    }
  }
}
