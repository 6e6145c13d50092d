// Sums over the edges of each center: see kernels/cpu_centers.py. bounds: (centers + 1), first edge of each center.
#include "gpu.h"

// out (centers, degrees², channels): the sums of y (edges, degrees²) times env (edges, degrees, channels), in ascending
// order of the edges. A thread per center and channel.
template <class real, int DEGREES>
KERNEL(256, 2) sum_edges(i64 centers, int channels, const i64* bounds, const real* y, const real* env, real* out) {
  const int COMPONENTS = DEGREES * DEGREES;
  FOR_THREADS(t) {
    const i64 i = THREAD(t) / channels;
    const int u = (int)(THREAD(t) % channels);
    if (i < centers) {
      real total[COMPONENTS];
#pragma unroll
      for (int m = 0; m < COMPONENTS; ++m) total[m] = real(0);
      for (i64 e = bounds[i]; e < bounds[i + 1]; ++e) {
#pragma unroll
        for (int degree = 0; degree < DEGREES; ++degree) {
          const real value = env[(e * DEGREES + degree) * channels + u];
#pragma unroll
          for (int m = degree * degree; m < (degree + 1) * (degree + 1); ++m) total[m] = fma(y[e * COMPONENTS + m], value, total[m]);
        }
      }
#pragma unroll
      for (int m = 0; m < COMPONENTS; ++m) out[(i * COMPONENTS + m) * channels + u] = total[m];
    }
  }
}
