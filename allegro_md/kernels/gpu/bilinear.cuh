// Bilinear networks, eight lanes per center: E_i = shift + Σ_j a(r) + Σ_lmu Γ_lmu Q_lmu, the operations of
// kernels/cpu_bilinear.py and cpu_bilinear_lanes.py in their order. Of the neighbors of a center within the cutoff, in the
// order of the list, number e belongs to lane e mod 8.
#include "formulas.h"
#include "geometry.h"

// Tables of the radial functions: env, q (eV), a (eV) of an interval one after the other, four coefficients each.
template <class real> struct Radial { const Four<real>* table; const double* per_spacing; int intervals, functions; };
template <class real> struct Edge { double r; real x, y, z, inverse, p, per_spacing; const Four<real>* row; };
template <class real> struct Value { real f, slope; };

// d: three components, `room` apart; pair: ordered pair of species
template <class real> DEVICE Edge<real> edge_of(const double* d, int room, int pair, const Radial<real>& radial) {
  const double a = d[0], b = d[room], c = d[2 * room], squared = fma(c, c, fma(b, b, a * a));
  const real near = sqrt((real)squared), inverse = real(1) / near;
  double r = (double)near;
  r = fma(fma(0.0 - r, r, squared), 0.5 * (double)inverse, r);
  const double per_spacing = radial.per_spacing[pair], t = r * per_spacing, top = (double)(radial.intervals - 1);
  const double low = t > 0.0 ? t : 0.0;  // of a NaN: 0
  const int interval = (int)(low < top ? low : top);
  const double fraction = t - (double)interval;
  Edge<real> e;
  e.r = r;
  e.x = (real)a * inverse; e.y = (real)b * inverse; e.z = (real)c * inverse;
  e.inverse = inverse;
  e.p = (real)(1.0 < fraction ? 1.0 : fraction);
  e.per_spacing = (real)per_spacing;
  e.row = radial.table + ((i64)pair * radial.intervals + interval) * radial.functions;
  return e;
}

template <class real> DEVICE Value<real> evaluate(const Four<real>& c, real p) {
  const real high = fma(c.w, p, c.z), low = fma(high, p, c.y);
  return {fma(low, p, c.x), fma(fma(c.w, p, high), p, low)};
}

template <class real, int D> DEVICE void harmonics(const Edge<real>& e, real* y) {
  y[0] = real(1);
  if constexpr (D > 1) { y[1] = real(R3) * e.x; y[2] = real(R3) * e.y; y[3] = real(R3) * e.z; }
  if constexpr (D > 2) second(e.x, e.y, e.z, y + 4);
  if constexpr (D > 3) third(e.x, e.y, e.z, y + 9);
}

// Adds Σ on_y · ∂Y/∂(x, y, z) of the harmonics to g.
template <class real, int D> DEVICE void harmonics_backward(const Edge<real>& e, const real* on_y, real* g) {
  if constexpr (D > 1) { g[0] = real(R3) * on_y[1]; g[1] = real(R3) * on_y[2]; g[2] = real(R3) * on_y[3]; }
  real more[3];
  if constexpr (D > 2) {
    second_backward(e.x, e.y, e.z, on_y + 4, more);
    for (int k = 0; k < 3; ++k) g[k] = g[k] + more[k];
  }
  if constexpr (D > 3) {
    third_backward(e.x, e.y, e.z, on_y + 9, more);
    for (int k = 0; k < 3; ++k) g[k] = g[k] + more[k];
  }
}

// dE/dd of an edge, eV/Å. sums: Γ of the center, then Q, (degrees², C) each.
template <class real, int D, int C> DEVICE void gradient_of(const Edge<real>& e, const real* sums, double* w) {
  constexpr int ALL = D * D * C;
  real y[D * D], on_y[D * D], g[3] = {real(0), real(0), real(0)};
  harmonics<real, D>(e, y);
  real by_interval = evaluate(e.row[2 * D * C], e.p).slope;
#pragma unroll
  for (int degree = 0; degree < D; ++degree) {
    real along[2 * D - 1], out[2 * D - 1];
#pragma unroll
    for (int m = 0; m <= 2 * degree; ++m) along[m] = out[m] = real(0);
#pragma unroll(C > 4 ? 1 : C)
    for (int u = 0; u < C; ++u) {
      const Value<real> env = evaluate(e.row[degree * C + u], e.p), own = evaluate(e.row[(D + degree) * C + u], e.p);
#pragma unroll
      for (int m = 0; m <= 2 * degree; ++m) {
        const real a = sums[(degree * degree + m) * C + u], b = sums[ALL + (degree * degree + m) * C + u];
        along[m] = fma(b, env.slope, fma(a, own.slope, along[m]));
        out[m] = fma(b, env.f, fma(a, own.f, out[m]));
      }
    }
#pragma unroll
    for (int m = 0; m <= 2 * degree; ++m) {
      by_interval = fma(y[degree * degree + m], along[m], by_interval);
      on_y[degree * degree + m] = out[m];
    }
  }
  harmonics_backward<real, D>(e, on_y, g);
  real along = by_interval * e.per_spacing;
  along = along - (g[0] * e.x + g[1] * e.y + g[2] * e.z) * e.inverse;
  w[0] = (double)fma(along, e.x, g[0] * e.inverse);
  w[1] = (double)fma(along, e.y, g[1] * e.inverse);
  w[2] = (double)fma(along, e.z, g[2] * e.inverse);
}

// Adds the nuclear repulsion to dE/dd of an edge; returns its energy, eV. d as for edge_of; pair: ordered pair of species;
// repulsion: (3, pairs) ½ e² Z Z' (eV·Å), inverse screening length (1/Å) and cutoff (Å)
DEVICE double repel(double r, const double* d, int room, int pair, int pairs, const double* repulsion, double* w) {
  const double cutoff = repulsion[2 * pairs + pair];
  double energy_slope[2] = {0.0, 0.0};
  if (!(r >= cutoff)) pair_repulsion(r, repulsion[pair], repulsion[pairs + pair], cutoff, energy_slope);
  for (int k = 0; k < 3; ++k) w[k] = w[k] + energy_slope[1] * d[k * room];
  return energy_slope[0];
}

DEVICE bool below(double x, double limit) { return (x < 0.0 ? -x : x) < limit; }  // not a NaN
DEVICE bool within_range(i64 sum, double limit) { return (sum < 0 ? -sum : sum) <= (i64)(limit * FORCE_SCALE); }

// Adds a gradient that may be large to the center, its opposite to the neighbor; false where one number is out of range.
DEVICE bool add_large(const double* w, i64* center, i64* neighbor) {
  bool fine = true;
  for (int k = 0; k < 3; ++k) {
    if (below(w[k], FORCE_LIMIT)) {
      const i64 fixed = nearest(w[k] * FORCE_SCALE);
      fine &= within_range(added(center + k, fixed), 0.5 * FORCE_LIMIT);
      fine &= within_range(added(neighbor + k, -fixed), 0.5 * FORCE_LIMIT);
    } else {
      fine = false;
    }
  }
  return fine;
}

// Adds −d ⊗ w to the virial of the neighbor, (9,); d as for edge_of; false where a component is out of range.
DEVICE bool add_centroid(const double* d, int room, const double* w, i64* virial) {
  bool fine = true;
  for (int a = 0; a < 3; ++a)
    for (int b = 0; b < 3; ++b) {
      const double term = -d[a * room] * w[b];
      if (below(term, VIRIAL_LIMIT)) fine &= within_range(added(virial + 3 * a + b, nearest(term * FORCE_SCALE)), VIRIAL_LIMIT);
      else fine = false;
    }
  return fine;
}

// Channels whose sums are in registers at a time: a divisor of all.
DEVICE constexpr int at_once(int orders, int channels, int bytes) {
  const int most = (channels > 4 ? 32 : 64) / (bytes * orders);
  int u = most > 8 ? 8 : most > 1 ? most : 1;
  while (channels % u) --u;
  return u;
}

// Centers from the first to before the last; energy and virial have a row of each of these. kinds: species;
// per_spacing: (kinds, kinds) 1/Å; shifts: (kinds,) eV; table: see Radial; repulsion: see repel; room: for the neighbors of a center, at least
// as many as are listed. force: (n_all, 3) and centroid: (n_all, 9) are added to. status: lowered to the first center
// whose forces are out of range. Dynamic shared memory: see models/fused/gpu.py.
template <class real, int D, int C, bool REPULSION>
KERNEL(256, (D > 3 ? 1 : D * D * C > 4 || sizeof(real) > 4 ? 2 : REPULSION ? 3 : 4)) bilinear(i64 first, i64 last, const double* position, const int* shift, const short* species, Mat3 cell, const i64* offsets, const int* neighbors, double cutoff2, int kinds, const double* per_spacing, const double* shifts, int intervals, const Four<real>* table, MAYBE const double* repulsion, int room, i64* force, double* energy, MAYBE double* virial, MAYBE i64* centroid, i64* status) {
  constexpr int ALL = D * D * C, U = at_once(D * D, C, sizeof(real)), SLOTS = D * D * U;
  const int groups = blockDim.x >> 3;
  const Radial<real> radial = {table, per_spacing, intervals, 2 * D * C + 1};
  DYNAMIC(double, memory);
  real* all_sums = (real*)(memory + (virial ? 6 : 3) * room * groups);
  FOR_GROUPS(g) {
    double *vector = memory + 3 * room * g, *gradient = vector + 3 * room * groups;  // x, y, z of all edges in turn
    real* sums = all_sums + 2 * ALL * g;                                           // Γ, then Q
    int* other = (int*)(all_sums + 2 * ALL * groups) + room * g;
    const i64 i = first + (i64)blockIdx.x * groups + g;
    i64 begin = 0, end = 0;
    int kind = 0, edges = 0;
    if (i < last) { begin = offsets[i]; end = offsets[i + 1]; kind = species[i]; }

    PerLane<int> within, j;
    PerLane<double> d0, d1, d2;
    for (i64 s = begin; any(s < end); s += 8) {
      FOR_LANES(l) {
        within(l) = 0;
        if (s + l < end) {
          double d[3];
          j(l) = __ldg(neighbors + s + l);
          pair_vector(position, shift, cell, i, j(l), d);
          d0(l) = d[0]; d1(l) = d[1]; d2(l) = d[2];
          within(l) = !(d[0] * d[0] + d[1] * d[1] + d[2] * d[2] >= cutoff2);  // a NaN is, for the range check to find
        }
      }
      const u32 flags = flags_of(within);
      FOR_LANES(l) {
        if (within(l)) {
          const int at = edges + ones(flags & ((1u << l) - 1));
          vector[at] = d0(l); vector[room + at] = d1(l); vector[2 * room + at] = d2(l);
          other[at] = j(l);
        }
      }
      edges += ones(flags);
    }

    PerLane<real> gamma[SLOTS], q[SLOTS], alone;
#pragma unroll 1
    for (int u = 0; u < C; u += U) {
      FOR_LANES(l) {
#pragma unroll
        for (int k = 0; k < SLOTS; ++k) gamma[k](l) = q[k](l) = real(0);
        if (u == 0) alone(l) = real(0);
        for (int k = l; k < edges; k += 8) {
          const int pair = kinds > 1 ? kind * kinds + species[other[k]] : 0;
          const Edge<real> e = edge_of<real>(vector + k, room, pair, radial);
          if (u == 0) alone(l) = alone(l) + evaluate(e.row[2 * D * C], e.p).f;
          real y[D * D];
          harmonics<real, D>(e, y);
#pragma unroll
          for (int degree = 0; degree < D; ++degree)
#pragma unroll
            for (int v = 0; v < U; ++v) {
              const real env = evaluate(e.row[degree * C + u + v], e.p).f, own = evaluate(e.row[(D + degree) * C + u + v], e.p).f;
#pragma unroll
              for (int m = degree * degree; m < (degree + 1) * (degree + 1); ++m) {
                gamma[m * U + v](l) = fma(env, y[m], gamma[m * U + v](l));
                q[m * U + v](l) = fma(own, y[m], q[m * U + v](l));
              }
            }
        }
      }
      real a[SLOTS], b[SLOTS];
#pragma unroll
      for (int k = 0; k < SLOTS; ++k) { a[k] = sum_of(gamma[k]); b[k] = sum_of(q[k]); }
      FOR_LANES(l) {
#pragma unroll
        for (int k = 0; k < SLOTS; ++k)
          if (l == k % 8) { sums[k / U * C + u + k % U] = a[k]; sums[ALL + k / U * C + u + k % U] = b[k]; }
      }
    }
    const real apart = sum_of(alone);

    PerLane<i64> f0, f1, f2;
    PerLane<double> repelled;
    FOR_LANES(l) {
      if (l == 0 && i < last) {
        double total = (double)apart;
        for (int k = 0; k < ALL; ++k) total = total + (double)sums[k] * (double)sums[ALL + k];
        energy[i - first] = shifts[kind] + total;
      }
      f0(l) = f1(l) = f2(l) = 0;
      repelled(l) = 0.0;
      for (int k = l; k < edges; k += 8) {
        const int pair = kinds > 1 ? kind * kinds + species[other[k]] : 0;
        double w[3];
        const Edge<real> e = edge_of<real>(vector + k, room, pair, radial);
        gradient_of<real, D, C>(e, sums, w);
        if constexpr (REPULSION) repelled(l) = repelled(l) + repel(e.r, vector + k, room, pair, kinds * kinds, repulsion, w);
        const i64 there = other[k];
        if (virial) { gradient[k] = w[0]; gradient[room + k] = w[1]; gradient[2 * room + k] = w[2]; }
        if (centroid && !add_centroid(vector + k, room, w, centroid + 9 * there)) lower(status, i);
        if (w[0] * w[0] + w[1] * w[1] + w[2] * w[2] < SMALL_GRADIENT * SMALL_GRADIENT) {
          const i64 n0 = nearest(w[0] * FORCE_SCALE), n1 = nearest(w[1] * FORCE_SCALE), n2 = nearest(w[2] * FORCE_SCALE);
          f0(l) += n0; f1(l) += n1; f2(l) += n2;
          add(force + 3 * there, -n0); add(force + 3 * there + 1, -n1); add(force + 3 * there + 2, -n2);
        } else if (!add_large(w, force + 3 * i, force + 3 * there)) {
          lower(status, i);
        }
      }
    }
    if constexpr (REPULSION) {
      const double total = sum_of(repelled);
      FOR_LANES(l) { if (l == 0 && i < last) energy[i - first] = energy[i - first] + total; }
    }
    const i64 t0 = sum_of(f0), t1 = sum_of(f1), t2 = sum_of(f2);
    FOR_LANES(l) {
      if (i < last && l < 3) add(force + 3 * i + l, l == 0 ? t0 : l == 1 ? t1 : t2);
      if (virial && i < last && l < 6) {  // −Σ d ⊗ w, symmetric: xx yy zz yz xz xy
        const int a = l < 3 ? l : l == 3 ? 1 : 0, b = l < 3 ? l : l == 5 ? 1 : 2;
        double sum = 0.0;
        for (int k = 0; k < edges; ++k)
          sum = sum - 0.5 * (vector[a * room + k] * gradient[b * room + k] + vector[b * room + k] * gradient[a * room + k]);
        virial[6 * (i - first) + l] = sum;
      }
    }
  }
}
