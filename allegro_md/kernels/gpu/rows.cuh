// Operations on the rows of a block on the way back: see kernels/cpu_rows.py. edges: of the block; gradient and other
// rows: (edges, width); row, row_slope: (edges, columns); partial: (edges, lanes of a wide vector).
#include "wide.h"

// From dE/doutput of a level to dE/dz, in place; to partial, lane by lane, dE/d(fraction) through f(r), start >= 0.
// fresh: partial begins with zeros. A thread per edge and lane.
template <class real>
KERNEL(256, 4) activation_backward(const i64* edges, int width, const real* slopes, real* gradient, const real* row_slope, int columns, int start, int fresh, real* partial) {
  const int LANES = Wide<real>::LANES;
  FOR_THREADS(t) {
    const i64 e = THREAD(t) / LANES;
    const int l = t % LANES;
    if (e < edges[0]) {
      real total = fresh ? real(0) : partial[e * LANES + l];
      for (int k = l; k < width; k += LANES) {
        const real on_z = gradient[e * width + k] * slopes[e * width + k];
        gradient[e * width + k] = on_z;
        if (start >= 0) total = fma(on_z, row_slope[e * columns + start + k], total);
      }
      partial[e * LANES + l] = total;
    }
  }
}

// Through the envelope, column `cut`, that the level's product with `input` was multiplied by: `cpu_rows.dots`, `scale`.
template <class real>
KERNEL(256, 4) cut_backward(const i64* edges, int width, const real* input, const real* row, const real* row_slope, int columns, int cut, real* gradient, double* by_fraction) {
  const int LANES = Wide<real>::LANES, EACH = Wide<real>::EACH;
  FOR_GROUPS(g) {
    const i64 e = GROUP(g);
    const bool exists = e < edges[0];
    PerLane<real> total[EACH];
    FOR_LANES(l) {
#pragma unroll
      for (int w = 0; w < EACH; ++w) total[w](l) = real(0);
      if (exists) {
        const real factor = row[e * columns + cut];
        for (int k = l; k < width; k += LANES)
#pragma unroll
          for (int w = 0; w < EACH; ++w) {
            const i64 at = e * width + k + 8 * w;
            const real value = gradient[at];
            total[w](l) = fma(value, input[at], total[w](l));
            gradient[at] = value * factor;
          }
      }
    }
    real product;
    sum_of_wide(total, product);
    FOR_LANES(l) {
      if (exists && l == 0) by_fraction[e] = by_fraction[e] + (double)(product * row_slope[e * columns + cut]);
    }
  }
}
