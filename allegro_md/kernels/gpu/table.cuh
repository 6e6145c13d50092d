// Rows of radial tables: see kernels/cpu_table.py. A thread per edge and piece of the columns.
#include "wide.h"

// f(p) and df/dp of `width` columns from `first` on. edges: of the block; table: rows of `power` columns per power of p;
// interval: offsets; value, slope: (edges, width).
template <class real>
KERNEL(256, 4) evaluate(const i64* edges, const real* table, int power, int first, int width, const i64* interval, const double* fraction, real* value, real* slope) {
  const int SIZE = Piece<real>::SIZE;
  FOR_THREADS(t) {
    const u32 k = (u32)THREAD(t), pieces = width / SIZE, e = k / pieces, c = k % pieces * SIZE;
    if (e < edges[0]) {
      const real p = (real)fraction[e];
      const real* at = table + interval[e] + first + c;
      const Piece<real> c0 = piece(at), c1 = piece(at + power), c2 = piece(at + 2 * power), c3 = piece(at + 3 * power);
      Piece<real> f, along;
#pragma unroll
      for (int u = 0; u < SIZE; ++u) {
        const real square = fma(c3.v[u], p, c2.v[u]), linear = fma(square, p, c1.v[u]);
        f.v[u] = fma(linear, p, c0.v[u]);
        along.v[u] = fma(fma(c3.v[u], p, square), p, linear);
      }
      put(value + (i64)e * width + c, f);
      put(slope + (i64)e * width + c, along);
    }
  }
}
