// Activations and their derivatives: the operations of kernels/cpu_activation.py in their order.
#pragma once
#include "gpu.h"

#define SILU 0  // cpu_activation.CODES
#define GELU 1
#define MISH 2
#define NONE 3

// exp(-x), clamped to the range of normal numbers; NaN stays.
DEVICE float falling(float x) {
  const float bound = 87.0f, magic = 12582912.0f + 127.0f, ln2 = (float)0.6931471805599453;
  const double series[7] = {1.0 / 720, -1.0 / 120, 1.0 / 24, -1.0 / 6, 1.0 / 2, -1.0, 1.0};
  x = bound < x ? bound : x;
  x = -bound > x ? -bound : x;
  const float biased = fma(x, (float)(-1.0 / 0.6931471805599453), magic);
  const float t = fma(biased - magic, ln2, x);
  float p = (float)series[0];
#pragma unroll
  for (int n = 1; n < 7; ++n) p = fma(p, t, (float)series[n]);
  return p * real_of((int)((u32)bits_of(biased) << 23));
}
DEVICE double falling(double x) {
  const double bound = 708.0, magic = 6755399441055744.0 + 1023.0, ln2 = 0.6931471805599453;
  const double series[14] = {-1.0 / 6227020800.0, 1.0 / 479001600, -1.0 / 39916800, 1.0 / 3628800, -1.0 / 362880, 1.0 / 40320,
                             -1.0 / 5040, 1.0 / 720, -1.0 / 120, 1.0 / 24, -1.0 / 6, 1.0 / 2, -1.0, 1.0};
  x = bound < x ? bound : x;
  x = -bound > x ? -bound : x;
  const double biased = fma(x, -1.0 / 0.6931471805599453, magic);
  const double t = fma(biased - magic, ln2, x);
  double p = series[0];
#pragma unroll
  for (int n = 1; n < 14; ++n) p = fma(p, t, series[n]);
  return p * real_of((i64)((u64)bits_of(biased) << 52));
}

// exp(y²/2) (1 − Φ(y)) of w = 1 / (y + 5), 0 <= y <= 12.5: see cpu_activation.tail
DEVICE float tail(float w) {
  const double series[10] = {0.0003593960981315309, -0.0010853891030757326, -0.003036792250118449, 0.020893101370553932,
                             -0.06908745306032764,  0.16500897351968052,    -0.31353689229548726,  0.49530611484717507,
                             -0.665382401390655,    0.7691930453303072};
  const float t = fma(-10.0f, w, 1.0f);
  float p = (float)series[0];
#pragma unroll
  for (int n = 1; n < 10; ++n) p = fma(p, t, (float)series[n]);
  return p * w;
}
DEVICE double tail(double w) {
  const double series[20] = {-1.0298978053431174e-08, -3.019925375502174e-08, 1.0629932678338196e-07, 4.6581198771898827e-07,
                             -3.579626933661595e-07,  -2.798988930796388e-06, 3.97672920219401e-06,   1.6689231067086938e-05,
                             -4.975972266823459e-05,  -5.9376675732580895e-05, 0.0005448984523269273, -0.0007978693552802577,
                             -0.0029933767114418064,  0.02079506680034029,    -0.06911863870924083,   0.16502036617030016,
                             -0.3135331566712377,     0.4953056159699779,     -0.6653825028900572,    0.769193049750063};
  const double t = fma(-10.0, w, 1.0);
  double p = series[0];
#pragma unroll
  for (int n = 1; n < 20; ++n) p = fma(p, t, series[n]);
  return p * w;
}

template <class real> struct Activated { real value, slope; };

// x σ(x) and its derivative
template <class real> DEVICE Activated<real> silu(real x) {
  const real e = falling(x), s = real(1) / (real(1) + e), h = x * s;
  return {h, fma(h, e * s, s)};  // 1 − σ = e σ, without cancellation
}

// x Φ(x) and its derivative
template <class real> DEVICE Activated<real> gelu(real x) {
  const real end = real(12.5), low = end < x ? end : x, near = -end > low ? -end : low;  // NaN stays
  const real opposite = real(0) - near, y = near > opposite ? near : opposite;
  const real e = falling(real(0.5) * (y * y)), beyond = e * tail(real(1) / (y + real(5)));
  const real density = e * real(0.3989422804014327);
  return {fma(real(0) - y, beyond, x > real(0) ? x : real(0)), fma(near, density, x > real(0) ? real(1) - beyond : beyond)};
}

// x tanh(ln(1 + eˣ)) and its derivative
template <class real> DEVICE Activated<real> mish(real x) {
  x = real(-80) > x ? real(-80) : x;
  const real near = real(22) < x ? real(22) : x, e = falling(real(0) - near), above = e * (e + real(2));
  const real w = real(1) / (above + real(2)), t = above * w, bend = real(4) * e * w * ((e + real(1)) * w);
  return {x * t, fma(near, bend, t)};
}

template <class real, int CODE> DEVICE Activated<real> activated(real x) {
  return CODE == SILU ? silu(x) : CODE == GELU ? gelu(x) : mish(x);
}
