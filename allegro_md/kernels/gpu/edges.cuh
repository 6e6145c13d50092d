// Edges of a block of a single-layer network: see kernels/cpu_edges.py. A thread per edge.
#include "formulas.h"

template <class A, class B> DEVICE void convert(const A* x, int n, B* out) {
  for (int k = 0; k < n; ++k) out[k] = (B)x[k];
}

// out: degrees², of a unit vector
template <class real, int DEGREES> DEVICE void harmonics(double x, double y, double z, real* out) {
  double values[7];
  out[0] = real(1);
  if (DEGREES > 1) { out[1] = (real)(R3 * x); out[2] = (real)(R3 * y); out[3] = (real)(R3 * z); }
  if (DEGREES > 2) { second(x, y, z, values); convert(values, 5, out + 4); }
  if (DEGREES > 3) { third(x, y, z, values); convert(values, 7, out + 9); }
}

// sum (3): of on_y (degrees²) times the gradients of the polynomials
template <class real, int DEGREES> DEVICE void harmonics_backward(double x, double y, double z, const real* on_y, double* sum) {
  double g[7], more[3];
  for (int k = 0; k < 3; ++k) sum[k] = DEGREES > 1 ? R3 * (double)on_y[1 + k] : 0.0;
  if (DEGREES > 2) {
    convert(on_y + 4, 5, g);
    second_backward(x, y, z, g, more);
    for (int k = 0; k < 3; ++k) sum[k] = sum[k] + more[k];
  }
  if (DEGREES > 3) {
    convert(on_y + 9, 7, g);
    third_backward(x, y, z, g, more);
    for (int k = 0; k < 3; ++k) sum[k] = sum[k] + more[k];
  }
}

// edges: of the block; first: its first center; kinds: species; intervals: of a table, of `size` elements each;
// interval: offset in the table; y: (edges, degrees²)
template <class real, int DEGREES>
KERNEL(256, 4) place_edges(const i64* edges, const double* vector, const int* center, const int* neighbor, i64 first, const short* species, int kinds, const double* per_spacing, int intervals, int size, double* inverse, double* spacing, double* fraction, i64* interval, real* y) {
  FOR_THREADS(t) {
    const i64 e = THREAD(t);
    if (e < edges[0]) {
      const double d0 = vector[3 * e], d1 = vector[3 * e + 1], d2 = vector[3 * e + 2];
      const double r = sqrt(d0 * d0 + d1 * d1 + d2 * d2), over = 1.0 / r;
      const int pair = kinds > 1 ? species[first + center[e]] * kinds + species[neighbor[e]] : 0;
      const double steps = r * per_spacing[pair], low = steps > 0.0 ? steps : 0.0;  // of a NaN: 0
      const int k = low < (double)(intervals - 1) ? (int)low : intervals - 1;
      const double rest = steps - (double)k;
      spacing[e] = per_spacing[pair];
      fraction[e] = rest > 1.0 ? 1.0 : rest;
      interval[e] = ((i64)pair * intervals + k) * size;
      inverse[e] = over;
      harmonics<real, DEGREES>(d0 * over, d1 * over, d2 * over, y + e * DEGREES * DEGREES);
    }
  }
}

// gradient: (edges, 3), dE/dd; by_harmonics: (edges, degrees²), dE/dY, in place of that of Y_0 dE/d(fraction)
template <class real, int DEGREES>
KERNEL(256, 4) edge_gradients(const i64* edges, const double* vector, const double* inverse, const double* spacing, const double* by_fraction, const real* by_harmonics, double* gradient) {
  FOR_THREADS(t) {
    const i64 e = THREAD(t);
    if (e < edges[0]) {
      const double over = inverse[e];
      const double x = vector[3 * e] * over, y = vector[3 * e + 1] * over, z = vector[3 * e + 2] * over;
      const real* sums = by_harmonics + e * DEGREES * DEGREES;
      double g[3];
      harmonics_backward<real, DEGREES>(x, y, z, sums, g);
      const double along = (by_fraction[e] + (double)sums[0]) * spacing[e] - (g[0] * x + g[1] * y + g[2] * z) * over;
      gradient[3 * e] = along * x + g[0] * over;
      gradient[3 * e + 1] = along * y + g[1] * over;
      gradient[3 * e + 2] = along * z + g[2] * over;
    }
  }
}
