// What kernels of pairs share: packed atoms, pair vectors, the sums of a center and their bounds. See kernels/pair.py,
// kernels/fixed.py and kernels/centroid.py, whose operations these are.
#pragma once
#include "gpu.h"
#include "geometry.h"

#define FORCE_SCALE 17592186044416.0  // 2^44 units of fixed point
#define CENTER_BOUND 131072.0
#define EDGE_BOUND 128.0
#define VIRIAL_LIMIT 4096.0
#define CODE_BITS 21                  // of each component of a shift

// Atoms and their lists.
struct Pairs {
  const Four<double>* rows;  // of `pack` in pair.cuh
  const double* position;    // read where the code of a shift says nothing, like shift
  const int* shift;
  const short* species;
  const Mat3& cell;
  const i64* offsets;
  const int* neighbors;
  double cutoff2;
};

struct Out { i64* force; double* energy; double* virial; i64* centroid; int* status; };

struct Center { i64 i, first, last; Four<double> own; };

// Center i of n and where its list is; beyond the last one an empty list.
DEVICE Center center_at(const Pairs& pairs, i64 i, i64 n) {
  Center c = {i, 0, 0, {0.0, 0.0, 0.0, 0.0}};
  if (i < n) { c.own = pairs.rows[i]; c.first = pairs.offsets[i]; c.last = pairs.offsets[i + 1]; }
  return c;
}

// Takes the last component, as a signed number, off a difference of codes.
DEVICE double last_shift(i64& left) {
  const i64 field = (i64)((u64)left << (64 - CODE_BITS)) >> (64 - CODE_BITS);
  left = (left - field) >> CODE_BITS;
  return (double)field;
}

DEVICE void vector_to(const Pairs& pairs, const Center& c, int j, double* d) {
  const Four<double> row = pairs.rows[j];
  d[0] = row.x - c.own.x; d[1] = row.y - c.own.y; d[2] = row.z - c.own.z;
  const i64 code = bits_of(row.w), own = bits_of(c.own.w);
  if (code == own) return;
  if ((code | own) < 0) {
    pair_vector(pairs.position, pairs.shift, pairs.cell, c.i, j, d);
  } else {
    i64 left = code - own;
    const double s2 = last_shift(left), s1 = last_shift(left), s0 = last_shift(left), *h = pairs.cell.v;
    for (int k = 0; k < 3; ++k) d[k] = d[k] + (h[k] * s0 + h[3 + k] * s1 + h[6 + k] * s2);
  }
}

DEVICE double square_of(const double* d) { return d[0] * d[0] + d[1] * d[1] + d[2] * d[2]; }
DEVICE double size_of(double x) { return x < 0.0 ? -x : x; }
DEVICE i64 to_fixed(double x) { return nearest(x * FORCE_SCALE); }

// Square of the largest force of an edge with which the sum over so many edges needs no further look.
DEVICE double square_bound(int edges) {
  const double share = CENTER_BOUND / (double)(edges > 1 ? edges : 1);
  return share * share;
}

// One lane each stores the energy, a component of the force and one of the virial of a center.
template <bool VIRIAL>
DEVICE void put(int l, i64 i, double energy, const i64* force, const double* virial, const Out& out) {
  if (l == 0) out.energy[i] = energy;
#pragma unroll
  for (int k = 0; k < 6; ++k) {
    if (k < 3 && l == k) out.force[3 * i + k] += force[k];
    if (VIRIAL && l == k) out.virial[6 * i + k] = virial[k];
  }
}

// Adds −d ⊗ g, g = slope · d, to the virial of a neighbor; false where one is not finite or out of range.
DEVICE bool add_centroid(int j, const double* d, double slope, i64* centroid) {
  const i64 limit = to_fixed(VIRIAL_LIMIT);
  bool fine = true;
  for (int a = 0; a < 3; ++a)
    for (int b = 0; b < 3; ++b) {
      const double term = -d[a] * (slope * d[b]);
      if (size_of(term) < VIRIAL_LIMIT) {
        const i64 sum = added(centroid + 9 * (i64)j + 3 * a + b, to_fixed(term));
        fine = fine && sum <= limit && sum >= -limit;
      } else {
        fine = false;
      }
    }
  return fine;
}

// Potentials of pairs. A formula gives energy and slope φ'/r by `pair_of(formula, pairs, i, j, r2)`.
struct Pair { double energy, slope; };

// Σ |slope| r of a center, edge by edge.
template <class Formula>
DEVICE double magnitudes(const Pairs& pairs, const Center& c, const Formula& formula) {
  double total = 0.0;
  for (i64 s = c.first; s < c.last; ++s) {
    double d[3];
    const int j = pairs.neighbors[s];
    vector_to(pairs, c, j, d);
    const double r2 = square_of(d);
    if (!(r2 >= pairs.cutoff2)) total = total + size_of(pair_of(formula, pairs, c.i, j, r2).slope) * sqrt(r2);
  }
  return total;
}

// Adds a lane's share of the centroid virials of a center's neighbors; false where one is not finite or out of range.
template <class Formula>
DEVICE bool add_centroids(int l, const Pairs& pairs, const Center& c, const Formula& formula, i64* centroid) {
  bool fine = true;
  for (i64 s = c.first + l; s < c.last; s += 8) {
    double d[3];
    const int j = pairs.neighbors[s];
    vector_to(pairs, c, j, d);
    const double r2 = square_of(d);
    if (!(r2 >= pairs.cutoff2)) fine = add_centroid(j, d, 0.5 * pair_of(formula, pairs, c.i, j, r2).slope, centroid) && fine;
  }
  return fine;
}

// The lane of the edge that is number `rank` among those with a flag; any where there are not so many.
DEVICE int lane_of(u32 flags, int rank) {
  for (int k = 0; k < rank; ++k) flags &= flags - 1;
  return ones((flags & (0u - flags)) - 1u) & 7;
}

// Energy, force and virial of a center whose sums depend on the order: edge number k of those within the cutoff belongs
// to lane k mod 8. All threads meet it; it does nothing for groups with taken false.
template <bool VIRIAL, class Formula>
DEVICE void sum_pairs(const Pairs& pairs, const Center& c, const Formula& formula, bool taken, const Out& out) {
  const int AXES = 3, MOVED = VIRIAL ? 5 : 1, COMPONENTS = VIRIAL ? 6 : 0;
  const i64 last = taken ? c.last : c.first;
  int edges = 0;
  PerLane<int> within, source, large;
  PerLane<double> here[5], there[5], largest, total, v[6];  // here, there: energy, slope, pair vector
  PerLane<i64> f[3];
  FOR_LANES(l) {
    largest(l) = total(l) = 0.0;
    for (int k = 0; k < 3; ++k) f[k](l) = 0;
    for (int k = 0; k < 6; ++k) v[k](l) = 0.0;
  }
  for (i64 s = c.first; any(s < last); s += 8) {
    FOR_LANES(l) {
      within(l) = 0;
      for (int k = 0; k < 5; ++k) here[k](l) = 0.0;
      if (s + l < last) {
        double d[3];
        const int j = __ldg(pairs.neighbors + s + l);
        vector_to(pairs, c, j, d);
        const double r2 = square_of(d);
        if (!(r2 >= pairs.cutoff2)) {
          const Pair pair = pair_of(formula, pairs, c.i, j, r2);
          const double w = pair.slope, square = w * w * r2;
          within(l) = 1;
          here[0](l) = pair.energy; here[1](l) = w; here[2](l) = d[0]; here[3](l) = d[1]; here[4](l) = d[2];
          for (int k = 0; k < 3; ++k) f[k](l) += to_fixed(w * d[k]);
          if (!(square <= largest(l))) largest(l) = square < 1e300 ? square : 1e300;  // also of a NaN
        }
      }
    }
    const u32 flags = flags_of(within);
    FOR_LANES(l) { source(l) = lane_of(flags, (l - edges) & 7); }
    for (int k = 0; k < MOVED; ++k) there[k] = moved(here[k], source);
    FOR_LANES(l) {
      if (((l - edges) & 7) < ones(flags)) {
        total(l) = total(l) + there[0](l);
        if (VIRIAL) {
          const double w = there[1](l), x = there[2](l), y = there[3](l), z = there[4](l), g0 = w * x, g1 = w * y, g2 = w * z;
          v[0](l) = fma(g0, x, v[0](l)); v[1](l) = fma(g1, y, v[1](l)); v[2](l) = fma(g2, z, v[2](l));
          v[3](l) = fma(g1, z, v[3](l)); v[4](l) = fma(g0, z, v[4](l)); v[5](l) = fma(g0, y, v[5](l));
        }
      }
    }
    edges += ones(flags);
  }
  FOR_LANES(l) { large(l) = !(largest(l) < square_bound(edges)); }
  const u32 doubtful = flags_of(large);
  const double energy = 0.5 * sum_of(total);
  i64 force[AXES];
  for (int k = 0; k < AXES; ++k) force[k] = sum_of(f[k]);
  double virial[6];
  for (int k = 0; k < COMPONENTS; ++k) virial[k] = -0.5 * sum_of(v[k]);
  FOR_LANES(l) {
    if (taken) put<VIRIAL>(l, c.i, energy, force, virial, out);
    if (l == 0 && doubtful && !(magnitudes(pairs, c, formula) < CENTER_BOUND)) lower(out.status, (int)c.i);
  }
}
