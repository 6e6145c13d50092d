// The tensor sum of a single-layer network: see kernels/cpu_single_layer_tensor.py. edges: of the block; center: of each,
// within the block; y: (edges, degrees²); environment: (centers, degrees², channels); dots and other values of edges:
// (edges, degrees, channels); row, row_slope: (edges, columns), begin with own; partial: (edges, lanes of a wide vector).
#include "wide.h"

// dots = Σ_m Y_lm A[lm, u], and the scalars own · dots (edges, stride): of each degree, or their sum where they are shared.
// A thread per edge and piece of the channels.
template <class real, int DEGREES>
KERNEL(256, 2) make_scalars(const i64* edges, int channels, int shared, const int* center, const real* y, const real* environment, const real* row, int columns, int stride, real* dots, real* scalars) {
  const int SIZE = Piece<real>::SIZE, COMPONENTS = DEGREES * DEGREES;
  FOR_THREADS(t) {
    const u32 k = (u32)THREAD(t), pieces = channels / SIZE, e = k / pieces, c = k % pieces * SIZE;
    if (e < edges[0]) {
      const real *a = environment + (i64)center[e] * COMPONENTS * channels + c, *own = row + (i64)e * columns + c;
      real *dot = dots + (i64)e * DEGREES * channels + c, *to = scalars + (i64)e * stride + c;
      Piece<real> total;
#pragma unroll
      for (int degree = 0; degree < DEGREES; ++degree) {
        Piece<real> d;
#pragma unroll
        for (int u = 0; u < SIZE; ++u) d.v[u] = real(0);
#pragma unroll
        for (int m = degree * degree; m < (degree + 1) * (degree + 1); ++m) {
          const real factor = y[(i64)e * COMPONENTS + m];
          const Piece<real> p = piece(a + m * channels);
#pragma unroll
          for (int u = 0; u < SIZE; ++u) d.v[u] = fma(factor, p.v[u], d.v[u]);
        }
        const Piece<real> q = piece(own + degree * channels);
#pragma unroll
        for (int u = 0; u < SIZE; ++u) total.v[u] = shared && degree > 0 ? fma(q.v[u], d.v[u], total.v[u]) : q.v[u] * d.v[u];
        put(dot + degree * channels, d);
        if (!shared) put(to + degree * channels, total);
      }
      if (shared) put(to, total);
    }
  }
}

// Replaces dots by dE/d(dots), and adds to partial, lane by lane, dE/d(fraction); gradient: (edges, stride),
// dE/d(scalars). A thread per edge and lane.
template <class real, int DEGREES>
KERNEL(256, 4) scalars_backward(const i64* edges, int channels, int shared, const real* row, const real* row_slope, int columns, const real* gradient, int stride, real* dots, real* partial) {
  const int LANES = Wide<real>::LANES;
  FOR_THREADS(t) {
    const i64 e = THREAD(t) / LANES;
    const int l = t % LANES;
    if (e < edges[0]) {
      real by_own = partial[e * LANES + l];
#pragma unroll 1  // all degrees at a time are enough to load
      for (int u = l; u < channels; u += LANES)
#pragma unroll
        for (int degree = 0; degree < DEGREES; ++degree) {
          const int k = degree * channels + u;
          const i64 at = e * DEGREES * channels + k;
          const real on_scalars = gradient[e * stride + (shared ? u : k)];
          by_own = fma(on_scalars * dots[at], row_slope[e * columns + k], by_own);
          dots[at] = on_scalars * row[e * columns + k];
        }
      partial[e * LANES + l] = by_own;
    }
  }
}

// From dE/d(dots) to dE/dY, and dE/d(fraction) in place of that of the constant Y_0: sums (edges, degrees²).
template <class real, int DEGREES>
KERNEL(256, 2) environments_backward(const i64* edges, int channels, const int* center, const real* y, const real* env, const real* env_slope, const real* on_dots, const real* environment, const real* grad_environment, const real* partial, real* sums) {
  const int LANES = Wide<real>::LANES, EACH = Wide<real>::EACH, COMPONENTS = DEGREES * DEGREES;
  FOR_GROUPS(g) {
    const i64 e = GROUP(g);
    const bool exists = e < edges[0];
    PerLane<real> total[COMPONENTS * EACH];
    FOR_LANES(l) {
#pragma unroll
      for (int k = 0; k < COMPONENTS * EACH; ++k) total[k](l) = real(0);
      if (exists) {
        const i64 there = (i64)center[e] * COMPONENTS * channels;
#pragma unroll
        for (int w = 0; w < EACH; ++w) total[w](l) = partial[e * LANES + l + 8 * w];
#pragma unroll
        for (int degree = 0; degree < DEGREES; ++degree)
          for (int k = l; k < channels; k += LANES)
#pragma unroll
            for (int w = 0; w < EACH; ++w) {
              const int u = k + 8 * w;
              const i64 at = (e * DEGREES + degree) * channels + u;
              const real value = env[at], on_dot = on_dots[at];
              real on_env = real(0);
#pragma unroll
              for (int m = degree * degree; m < (degree + 1) * (degree + 1); ++m) {
                const real a = grad_environment[there + m * channels + u];
                on_env = fma(y[e * COMPONENTS + m], a, on_env);
                if (m > 0) {
                  total[m * EACH + w](l) = fma(value, a, total[m * EACH + w](l));
                  total[m * EACH + w](l) = fma(on_dot, environment[there + m * channels + u], total[m * EACH + w](l));
                }
              }
              total[w](l) = fma(on_env, env_slope[at], total[w](l));
            }
      }
    }
#pragma unroll
    for (int m = 0; m < COMPONENTS; ++m) {
      real sum;
      sum_of_wide(total + m * EACH, sum);
      FOR_LANES(l) { if (exists && l == m % 8) sums[e * COMPONENTS + m] = sum; }
    }
  }
}
