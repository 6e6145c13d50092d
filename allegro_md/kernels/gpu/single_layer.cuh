// The last level of a single-layer network, and the energies of centers: see kernels/cpu_single_layer.py.
#include "wide.h"

// edges: of the block; first: its first center; input: (edges, width); last: (width), the only column of the level; row,
// row_slope: (edges, columns), with the envelope in column `cut` and f in `start`, −1: there is none. term: energies, eV;
// by_fraction: dE/d(fraction) through them, gradient: (edges, width) dE/dinput.
template <class real>
KERNEL(256, 4) energies(const i64* edges, i64 first, const int* center, const short* species, const double* factors, int width, const real* input, const real* last, const real* row, const real* row_slope, int columns, int cut, int start, double* term, double* by_fraction, real* gradient) {
  const int LANES = Wide<real>::LANES, EACH = Wide<real>::EACH;
  FOR_GROUPS(g) {
    const i64 e = GROUP(g);
    const bool exists = e < edges[0];
    PerLane<real> total[EACH];
    FOR_LANES(l) {
#pragma unroll
      for (int w = 0; w < EACH; ++w) total[w](l) = real(0);
      if (exists)
        for (int k = l; k < width; k += LANES)
#pragma unroll
          for (int w = 0; w < EACH; ++w) total[w](l) = fma(input[e * width + k + 8 * w], last[k + 8 * w], total[w](l));
    }
    real product;
    sum_of_wide(total, product);
    FOR_LANES(l) {
      if (exists) {
        const double factor = factors[species[first + center[e]]];
        double value = (double)product, along = 0.0;
        real seed = (real)factor;
        if (cut >= 0) {
          along = factor * value * (double)row_slope[e * columns + cut];
          value = value * (double)row[e * columns + cut];
          seed = (real)(factor * (double)row[e * columns + cut]);
        }
        if (start >= 0) {
          value = value + (double)row[e * columns + start];
          along = along + factor * (double)row_slope[e * columns + start];
        }
        if (l == 0) { term[e] = factor * value; by_fraction[e] = along; }
        for (int k = l; k < width; k += 8) gradient[e * width + k] = last[k] * seed;
      }
    }
  }
}

// energy: (n), of the centers from `first` on; bounds: (n + 1), first edge of each; term, repulsion: (edges). A thread
// per center: the sums run along its edges.
KERNEL(256, 4) sum_energies(i64 n, i64 first, const i64* bounds, const double* term, MAYBE const double* repulsion, const short* species, const double* shifts, double* energy) {
  FOR_THREADS(t) {
    const i64 c = THREAD(t);
    if (c < n) {
      double total = 0.0;
      for (i64 e = bounds[c]; e < bounds[c + 1]; ++e) total = total + term[e];
      if (repulsion)
        for (i64 e = bounds[c]; e < bounds[c + 1]; ++e) total = total + repulsion[e];
      energy[c] = total + shifts[species[first + c]];
    }
  }
}
