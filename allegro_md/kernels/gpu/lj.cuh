// Lennard-Jones: see kernels/lj.py. Eight lanes per center.
// table: (kinds, kinds) rows of 4εσ¹², 4εσ⁶, the energy that is subtracted, near². virial: (n, 6), with VIRIAL.
// status: lowered to the first center whose forces are out of range, and to the first whose centroid virials are.
#include "pair.h"

#define MOST_SMALL 2048

struct LennardJones { const Four<double>* table; int kinds; };

DEVICE Four<double> row_of(const LennardJones& f, const Pairs& pairs, i64 i, int j) {
  return f.table[f.kinds > 1 ? pairs.species[i] * f.kinds + pairs.species[j] : 0];
}
DEVICE Pair pair_by(const Four<double>& row, double r2) {
  const double u = 1.0 / r2, u3 = u * u * u, a = row.x * u3, b = row.y;
  return {u3 * (a - b) - row.z, u3 * (6.0 * b - 12.0 * a) * u};
}
DEVICE Pair pair_of(const LennardJones& f, const Pairs& pairs, i64 i, int j, double r2) { return pair_by(row_of(f, pairs, i, j), r2); }

template <bool VIRIAL>
KERNEL(256, (VIRIAL ? 2 : 4)) lj(i64 n, const Four<double>* rows, const double* position, const int* shift, const short* species, Mat3 cell, const i64* offsets, const int* neighbors, double cutoff2, const Four<double>* table, int kinds, i64* force, double* energy, MAYBE double* virial, MAYBE i64* centroid, int* status) {
  const int AXES = 3, COMPONENTS = VIRIAL ? 6 : 0, groups = blockDim.x >> 3;
  const Pairs pairs = {rows, position, shift, species, cell, offsets, neighbors, cutoff2};
  const Out out = {force, energy, virial, centroid, status};
  const LennardJones formula = {table, kinds};
  FOR_GROUPS(g) {
    const Center c = center_at(pairs, (i64)blockIdx.x * groups + g, n);
    PerLane<int> held, near;
    PerLane<i64> e, f[3], v[6];  // integers: in no order
    FOR_LANES(l) {
      held(l) = near(l) = 0;
      e(l) = 0;
      for (int k = 0; k < 3; ++k) f[k](l) = 0;
      for (int k = 0; k < 6; ++k) v[k](l) = 0;
      for (i64 s = c.first + l; s < c.last; s += 8) {
        double d[3];
        const int j = __ldg(neighbors + s);
        vector_to(pairs, c, j, d);
        const double r2 = square_of(d);
        if (!(r2 >= cutoff2)) {
          const Four<double> row = row_of(formula, pairs, c.i, j);
          const Pair pair = pair_by(row, r2);
          const double w = pair.slope * FORCE_SCALE, g0 = w * d[0], g1 = w * d[1], g2 = w * d[2];
          held(l) += 1;
          if (!(row.w < r2)) near(l) = 1;
          e(l) += to_fixed(pair.energy);
          f[0](l) += nearest(g0); f[1](l) += nearest(g1); f[2](l) += nearest(g2);
          if (VIRIAL) {
            v[0](l) += nearest(g0 * d[0]); v[1](l) += nearest(g1 * d[1]); v[2](l) += nearest(g2 * d[2]);
            v[3](l) += nearest(g1 * d[2]); v[4](l) += nearest(g0 * d[2]); v[5](l) += nearest(g0 * d[1]);
          }
        }
      }
    }
    const bool checked = (sum_of(held) > MOST_SMALL) | (flags_of(near) != 0);
    const double of_center = 0.5 * ((double)sum_of(e) / FORCE_SCALE);
    i64 total[AXES];
    for (int k = 0; k < AXES; ++k) total[k] = sum_of(f[k]);
    double stress[6];
    for (int k = 0; k < COMPONENTS; ++k) stress[k] = -0.5 * ((double)sum_of(v[k]) / FORCE_SCALE);
    FOR_LANES(l) {
      if (c.i < n && !checked) put<VIRIAL>(l, c.i, of_center, total, stress, out);
    }
    sum_pairs<VIRIAL>(pairs, c, formula, checked, out);
    FOR_LANES(l) {
      if (centroid && !add_centroids(l, pairs, c, formula, centroid)) lower(status + 1, (int)c.i);
    }
  }
}
