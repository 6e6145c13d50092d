// Screened nuclear repulsion: see kernels/zbl.py. Eight lanes per center.
// table: (2, kinds, kinds), K Zᵢ Zⱼ and x / r. virial: (n, 6), with VIRIAL.
// status: lowered to the first center whose forces or centroid virials are out of range.
#include "exponential.h"
#include "pair.h"

struct Zbl { const double* table; int kinds; double cutoff; };

DEVICE Pair pair_of(const Zbl& f, const Pairs& pairs, i64 i, int j, double r2) {
  const int row = f.kinds > 1 ? pairs.species[i] * f.kinds + pairs.species[j] : 0;
  const double charge = f.table[row], inverse_length = f.table[f.kinds * f.kinds + row];
  const double r = sqrt(r2), inverse = 1.0 / r, inverse_cutoff = 1.0 / f.cutoff, x = r * inverse_length, t = r * inverse_cutoff;
  const double a = 0.02817 * exponential(-0.20162 * x), b = 0.28022 * exponential(-0.40290 * x);
  const double c = 0.50986 * exponential(-0.94229 * x), d = 0.18175 * exponential(-3.19980 * x);
  const double fall = 0.20162 * a + 0.40290 * b + 0.94229 * c + 3.19980 * d, psi = a + b + c + d;
  const double t2 = t * t, t5 = t2 * t2 * t;
  const double u = 1.0 - t5 * t * (28.0 - t * (48.0 - 21.0 * t)), u_slope = -168.0 * t5 * (1.0 - t) * (1.0 - t);
  const double coulomb = charge * inverse;
  const double slope = coulomb * (psi * u_slope * inverse_cutoff - (fall * inverse_length + psi * inverse) * u);
  return {coulomb * psi * u, slope * inverse};
}

template <bool VIRIAL>
KERNEL(256, (VIRIAL ? 2 : 3)) zbl(i64 n, const Four<double>* rows, const double* position, const int* shift, const short* species, Mat3 cell, const i64* offsets, const int* neighbors, double cutoff, const double* table, int kinds, i64* force, double* energy, MAYBE double* virial, MAYBE i64* centroid, int* status) {
  const int groups = blockDim.x >> 3;
  const Pairs pairs = {rows, position, shift, species, cell, offsets, neighbors, cutoff * cutoff};
  const Out out = {force, energy, virial, centroid, status};
  const Zbl formula = {table, kinds, cutoff};
  FOR_GROUPS(g) {
    const Center c = center_at(pairs, (i64)blockIdx.x * groups + g, n);
    sum_pairs<VIRIAL>(pairs, c, formula, c.i < n, out);
    FOR_LANES(l) {
      if (centroid && !add_centroids(l, pairs, c, formula, centroid)) lower(status, (int)c.i);
    }
  }
}
