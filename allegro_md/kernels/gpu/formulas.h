// Made by translate.py from the modules of kernels/ that these constants and formulas stand in.
#pragma once
#include "exponential.h"

#define R3 1.7320508075688772
#define FORCE_SCALE 17592186044416.0
#define SMALL_GRADIENT 8.0
#define FORCE_LIMIT 8192.0
#define VIRIAL_LIMIT 4096.0

template <class real> DEVICE void second(real x, real y, real z, real* out) {
  out[0] = ((real(3.872983346207417) * x) * z);
  out[1] = ((real(3.872983346207417) * x) * y);
  out[2] = (real(2.23606797749979) * ((y * y) - (real(0.5) * ((x * x) + (z * z)))));
  out[3] = ((real(3.872983346207417) * y) * z);
  out[4] = (real(1.9364916731037085) * ((z * z) - (x * x)));
}

template <class real> DEVICE void third(real x, real y, real z, real* out) {
  real w = ((x * x) + (z * z));
  out[0] = ((real(2.091650066335189) * x) * (((real(3.0) * z) * z) - (x * x)));
  out[1] = (((real(10.246950765959598) * x) * y) * z);
  out[2] = ((real(1.620185174601965) * x) * (((real(4.0) * y) * y) - w));
  out[3] = ((real(1.3228756555322954) * y) * (((real(2.0) * y) * y) - (real(3.0) * w)));
  out[4] = ((real(1.620185174601965) * z) * (((real(4.0) * y) * y) - w));
  out[5] = ((real(5.123475382979799) * y) * ((z * z) - (x * x)));
  out[6] = ((real(2.091650066335189) * z) * ((z * z) - ((real(3.0) * x) * x)));
}

template <class real> DEVICE void second_backward(real x, real y, real z, const real* g, real* out) {
  real g4 = (real(3.872983346207417) * g[0]);
  real g5 = (real(3.872983346207417) * g[1]);
  real g6 = (real(2.23606797749979) * g[2]);
  real g7 = (real(3.872983346207417) * g[3]);
  real g8 = (real(3.872983346207417) * g[4]);
  real a = ((((g4 * z) + (g5 * y)) - (g6 * x)) - (g8 * x));
  real b = (((g5 * x) + ((real(2.0) * g6) * y)) + (g7 * z));
  out[0] = a;
  out[1] = b;
  out[2] = ((((g4 * x) + (g7 * y)) - (g6 * z)) + (g8 * z));
}

template <class real> DEVICE void third_backward(real x, real y, real z, const real* g, real* out) {
  real w = ((x * x) + (z * z));
  real g9 = (real(6.274950199005566) * g[0]);
  real g15 = (real(6.274950199005566) * g[6]);
  real g10 = (real(10.246950765959598) * g[1]);
  real g14 = (real(10.246950765959598) * g[5]);
  real g11 = (real(1.620185174601965) * g[2]);
  real g12 = (real(1.3228756555322954) * g[3]);
  real g13 = (real(1.620185174601965) * g[4]);
  real a = (((g9 * ((z * z) - (x * x))) + ((g10 * y) * z)) + (g11 * ((((real(4.0) * y) * y) - ((real(3.0) * x) * x)) - (z * z))));
  a = (a - ((((((real(6.0) * g12) * x) * y) + (((real(2.0) * g13) * x) * z)) + ((g14 * x) * y)) + (((real(2.0) * g15) * x) * z)));
  real b = (((((g10 * x) * z) + (((real(8.0) * g11) * x) * y)) + (g12 * (((real(6.0) * y) * y) - (real(3.0) * w)))) + (((real(8.0) * g13) * y) * z));
  b = (b + ((real(0.5) * g14) * ((z * z) - (x * x))));
  real c = ((((((real(2.0) * g9) * x) * z) + ((g10 * x) * y)) - (((real(2.0) * g11) * x) * z)) - (((real(6.0) * g12) * y) * z));
  out[0] = a;
  out[1] = b;
  out[2] = (((c + (g13 * ((((real(4.0) * y) * y) - (x * x)) - ((real(3.0) * z) * z)))) + ((g14 * y) * z)) + (g15 * ((z * z) - (x * x))));
}

template <class real> DEVICE void screening(real x, real* out) {
  real a = (real(0.02817) * exponential((real(-0.20162) * x)));
  real b = (real(0.28022) * exponential((real(-0.4029) * x)));
  real c = (real(0.50986) * exponential((real(-0.94229) * x)));
  real d = (real(0.18175) * exponential((real(-3.1998) * x)));
  real fall = ((((real(0.20162) * a) + (real(0.4029) * b)) + (real(0.94229) * c)) + (real(3.1998) * d));
  out[0] = (((a + b) + c) + d);
  out[1] = fall;
}

template <class real> DEVICE void envelope(real t, real* out) {
  real t2 = (t * t);
  real t5 = ((t2 * t2) * t);
  out[0] = (real(1.0) - ((t5 * t) * (real(28.0) - (t * (real(48.0) - (real(21.0) * t))))));
  out[1] = (((real(-168.0) * t5) * (real(1.0) - t)) * (real(1.0) - t));
}

template <class real> DEVICE void pair_repulsion(real r, real charge, real inverse_length, real cutoff, real* out) {
  real one = real(1.0);
  real inverse = (one / r);
  real inverse_cutoff = (one / cutoff);
  real psi_fall[2];
  screening((r * inverse_length), psi_fall);
  real psi = psi_fall[0];
  real fall = psi_fall[1];
  real u_u_slope[2];
  envelope((r * inverse_cutoff), u_u_slope);
  real u = u_u_slope[0];
  real u_slope = u_u_slope[1];
  real coulomb = (charge * inverse);
  real slope = (coulomb * (((psi * u_slope) * inverse_cutoff) - (((fall * inverse_length) + (psi * inverse)) * u)));
  out[0] = ((coulomb * psi) * u);
  out[1] = (slope * inverse);
}
