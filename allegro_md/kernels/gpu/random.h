// Normal deviates of atoms: the operations of rng.py in their order.
#pragma once
#include "gpu.h"

struct Words { u64 a, b, c, d; };

DEVICE Words philox(u64 x0, u64 x1, u64 x2, u64 x3, u64 key0, u64 key1) {
  const u64 mask = 0xFFFFFFFFull;
  for (int round = 0; round < 10; ++round) {
    const u64 p0 = 0xD2511F53ull * x0, p1 = 0xCD9E8D57ull * x2;
    const u64 a = (p1 >> 32) ^ x1 ^ key0, b = p1 & mask, c = (p0 >> 32) ^ x3 ^ key1, d = p0 & mask;
    x0 = a; x1 = b; x2 = c; x3 = d;
    key0 = (key0 + 0x9E3779B9ull) & mask;
    key1 = (key1 + 0xBB67AE85ull) & mask;
  }
  return {x0, x1, x2, x3};
}

#define FRACTION_BITS ((1ll << 52) - 1)
#define WHOLE (1.5 * 4503599627370496.0)
#define WHOLE_BITS (0x4338ll << 48)

// sqrt(-2 ln x) with x = (u + 1/2) / 2^52
DEVICE double radius_of(i64 u) {
  const double artanh[13] = {1.0 / 25, 1.0 / 23, 1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13,
                             1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3,  1.0};
  const i64 half_root_bits = 0x3fe6a09e667f3bcdll;  // of sqrt(1/2)
  const double centered = real_of(u - (1ll << 51) + WHOLE_BITS) - WHOLE;
  const double x = (centered + (2251799813685248.0 + 0.5)) * (1.0 / 4503599627370496.0);
  const i64 bits = bits_of(x) - half_root_bits;
  const double k = real_of((bits >> 52) + WHOLE_BITS) - WHOLE;
  const double m = real_of((bits & FRACTION_BITS) + half_root_bits);
  const double s = (m - 1.0) / (m + 1.0), square = s * s;
  double series = artanh[0];
  for (int n = 1; n < 13; ++n) series = series * square + artanh[n];
  return sqrt(-2.0 * (k * 0.6931471805599453 + 2.0 * s * series));
}

struct Direction { double cosine, sine; };

// cos and sin of 2 pi (w + 1/2) / 2^52
DEVICE Direction direction_of(i64 w) {
  const double sines[9] = {1.0 / 355687428096000.0, -1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800.0,
                           1.0 / 362880.0, -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0, 1.0};
  const double cosines[10] = {-1.0 / 6402373705728000.0, 1.0 / 20922789888000.0, -1.0 / 87178291200.0, 1.0 / 479001600.0,
                              -1.0 / 3628800.0, 1.0 / 40320.0, -1.0 / 720.0, 1.0 / 24.0, -1.0 / 2.0, 1.0};
  const i64 quarters = (w + (1ll << 49)) >> 50;
  const double rest = real_of(w - (quarters << 50) + WHOLE_BITS) - WHOLE;
  const double y = (rest + 0.5) * (2.0 * 3.141592653589793 * (1.0 / 4503599627370496.0)), square = y * y;
  double s = sines[0], c = cosines[0];
  for (int n = 1; n < 9; ++n) s = s * square + sines[n];
  for (int n = 1; n < 10; ++n) c = c * square + cosines[n];
  s = s * y;
  const bool odd = quarters & 1;
  const double along = odd ? s : c, across = odd ? c : s;
  return {(quarters + 1) & 2 ? -along : along, quarters & 2 ? -across : across};
}

// Three standard normal deviates of an atom; stream and substep as in rng.Draw.
DEVICE void normals_of(i64 atom, i64 seed, i64 stream, i64 step, i64 substep, double* out) {
  const i64 low = 0xFFFFFFFFll;
  for (int block = 0; block < 2; ++block) {
    const u64 last = (u64)((stream << 16) | (substep << 1) | block);
    const Words w = philox(atom & low, atom >> 32, step & low, last, seed & low, (seed >> 32) & low);
    const i64 u = (i64)(((w.a << 20) ^ (w.b >> 12)) & (u64)FRACTION_BITS);
    const i64 v = (i64)(((w.c << 20) ^ (w.d >> 12)) & (u64)FRACTION_BITS);
    const double radius = radius_of(u);
    const Direction d = direction_of(v);
    out[2 * block] = radius * d.cosine;
    if (block == 0) out[1] = radius * d.sine;
  }
}
