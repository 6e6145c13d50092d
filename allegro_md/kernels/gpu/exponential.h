// The exponential of kernels/exponential.py, written out.
#pragma once
#include "gpu.h"

DEVICE double exponential(double x) {
  x = 709.0 < x ? 709.0 : x;  // a NaN stays
  x = -709.0 > x ? -709.0 : x;
  const double magic = 6755399441055744.0 + 1023.0, biased = fma(x, 1.0 / 0.6931471805599453, magic), k = biased - magic;
  const double t = fma(k, -2.3190468138462996e-17, fma(k, -0.6931471805599453, x));
  double p = 1.0 / 6227020800.0;
  p = fma(p, t, 1.0 / 479001600.0); p = fma(p, t, 1.0 / 39916800.0); p = fma(p, t, 1.0 / 3628800.0);
  p = fma(p, t, 1.0 / 362880.0); p = fma(p, t, 1.0 / 40320.0); p = fma(p, t, 1.0 / 5040.0); p = fma(p, t, 1.0 / 720.0);
  p = fma(p, t, 1.0 / 120.0); p = fma(p, t, 1.0 / 24.0); p = fma(p, t, 1.0 / 6.0); p = fma(p, t, 0.5);
  p = fma(p, t, 1.0); p = fma(p, t, 1.0);
  return p * real_of((i64)((u64)bits_of(biased) << 52));  // 2^k: the lowest bits are k and the bias of exponents
}
