// Embedded-atom method: see kernels/eam.py. Eight lanes per center; edge number k of those within the cutoff belongs to
// lane k mod 8.
// embedding: (kinds, of_rho) and functions: (kinds, kinds, of_r) rows of coefficients: of F; of the neighbor's density,
// then of r φ. room: edges that a center has place for: those of the longest list, or the most that are allowed.
// virial: (n, 6), with VIRIAL. status: lowered to the first center whose forces or centroid virials are out of range.
#include "pair.h"

struct Embedded { double energy, slope; };

DEVICE Embedded embed(double rho, double spacing, const Four<double>* table, int intervals) {
  const double t = rho / spacing, top = (double)(intervals - 1), low = t > 0.0 ? t : 0.0;
  const int m = (int)(low < top ? low : top);
  const double rest = t - (double)m, p = rest < 1.0 ? rest : 1.0, beyond = rho - spacing * (double)intervals;
  const Four<double> c = table[m];
  const double slope = ((3.0 * c.x * p + 2.0 * c.y) * p + c.z) / spacing;
  const double value = ((c.x * p + c.y) * p + c.z) * p + c.w;
  return {value + slope * (beyond > 0.0 ? beyond : 0.0), slope};
}

template <bool VIRIAL>
KERNEL(256, 4) eam(i64 n, const Four<double>* rows, const double* position, const int* shift, const short* species, Mat3 cell, const i64* offsets, const int* neighbors, double cutoff2, double rho_spacing, const Four<double>* embedding, int of_rho, double r_spacing, const Four<double>* functions, int kinds, int of_r, int room, i64* force, double* energy, MAYBE double* virial, MAYBE i64* centroid, int* status) {
  const int AXES = 3, COMPONENTS = VIRIAL ? 6 : 0, groups = blockDim.x >> 3;
  const Pairs pairs = {rows, position, shift, species, cell, offsets, neighbors, cutoff2};
  DYNAMIC(double, memory);
  FOR_GROUPS(g) {
    const Center c = center_at(pairs, (i64)blockIdx.x * groups + g, n);
    double *x = memory + 5 * room * g, *y = x + room, *z = y + room, *of_phi = z + room, *of_density = of_phi + room;
    int* other = (int*)(memory + 5 * room * groups) + room * g;
    int edges = 0;
    PerLane<int> within, j, large;
    PerLane<double> d0, d1, d2, phi, density, v[6];
    PerLane<i64> f[3];
    for (i64 s = c.first; any(s < c.last); s += 8) {
      FOR_LANES(l) {
        within(l) = 0;
        if (s + l < c.last) {
          double d[3];
          j(l) = __ldg(neighbors + s + l);
          vector_to(pairs, c, j(l), d);
          within(l) = !(square_of(d) >= cutoff2);
          d0(l) = d[0]; d1(l) = d[1]; d2(l) = d[2];
        }
      }
      const u32 flags = flags_of(within);
      FOR_LANES(l) {
        const int at = edges + ones(flags & ((1u << l) - 1));
        if (within(l) && at < room) { x[at] = d0(l); y[at] = d1(l); z[at] = d2(l); other[at] = j(l); }
      }
      edges += ones(flags);
    }
    const bool crowded = edges > room;
    if (crowded) edges = 0;

    const int kind = c.i < n ? species[c.i] : 0;
    FOR_LANES(l) {
      if (crowded && l == 0) lower(status, (int)c.i);
      phi(l) = density(l) = 0.0;
      const double per_spacing = 1.0 / r_spacing, top = (double)(of_r - 1);
      for (int k = l; k < edges; k += 8) {
        const double d[3] = {x[k], y[k], z[k]};
        const double r = sqrt(square_of(d)), t = r / r_spacing, low = t > 0.0 ? t : 0.0;  // of a NaN: 0
        const int interval = (int)(low < top ? low : top);
        const double rest = t - (double)interval, p = rest < 1.0 ? rest : 1.0, u = 1.0 / r;
        const int table = kinds > 1 ? kind * kinds + species[other[k]] : 0;
        const Four<double>* row = functions + 2 * ((i64)table * of_r + interval);
        const Four<double> a = row[0], b = row[1];
        density(l) = density(l) + (((a.x * p + a.y) * p + a.z) * p + a.w);
        of_density[k] = ((3.0 * a.x * p + 2.0 * a.y) * p + a.z) * per_spacing * u;
        const double value = (((b.x * p + b.y) * p + b.z) * p + b.w) * u;
        phi(l) = phi(l) + value;
        of_phi[k] = (((3.0 * b.x * p + 2.0 * b.y) * p + b.z) * per_spacing - value) * u * u;
      }
    }
    const Embedded own = embed(sum_of(density), rho_spacing, embedding + (i64)kind * of_rho, of_rho);
    const double of_center = own.energy + 0.5 * sum_of(phi);

    FOR_LANES(l) {
      large(l) = 0;
      for (int axis = 0; axis < 3; ++axis) f[axis](l) = 0;
      for (int k = l; k < edges; k += 8) {
        const double d[3] = {x[k], y[k], z[k]}, r2 = square_of(d), w = of_phi[k], by_density = own.slope * of_density[k];
        if (!(w * w * r2 < square_bound(edges))) large(l) = 1;
        if (!(by_density * by_density * r2 < EDGE_BOUND * EDGE_BOUND)) lower(status, (int)c.i);
        for (int axis = 0; axis < 3; ++axis) {
          const i64 fixed = to_fixed(by_density * d[axis]);
          f[axis](l) += to_fixed(w * d[axis]) + fixed;
          add(force + 3 * (i64)other[k] + axis, -fixed);
        }
      }
    }
    const u32 doubtful = flags_of(large);
    i64 total[AXES];
    for (int k = 0; k < AXES; ++k) total[k] = sum_of(f[k]);
    FOR_LANES(l) {
      if (l == 0 && c.i < n) energy[c.i] = of_center;
      if (l == 0 && doubtful) {
        double magnitude = 0.0;
        for (int k = 0; k < edges; ++k) {
          const double d[3] = {x[k], y[k], z[k]};
          magnitude = magnitude + size_of(of_phi[k]) * sqrt(square_of(d));
        }
        if (!(magnitude < CENTER_BOUND)) lower(status, (int)c.i);
      }
#pragma unroll
      for (int k = 0; k < 3; ++k) if (l == k && c.i < n) add(force + 3 * c.i + k, total[k]);
      for (int k = 0; k < 6; ++k) v[k](l) = 0.0;
      if (VIRIAL || centroid)
        for (int k = l; k < edges; k += 8) {
          const double d[3] = {x[k], y[k], z[k]}, w = 0.5 * of_phi[k] + own.slope * of_density[k];
          const double g0 = w * d[0], g1 = w * d[1], g2 = w * d[2];
          v[0](l) = fma(g0, d[0], v[0](l)); v[1](l) = fma(g1, d[1], v[1](l)); v[2](l) = fma(g2, d[2], v[2](l));
          v[3](l) = fma(g1, d[2], v[3](l)); v[4](l) = fma(g0, d[2], v[4](l)); v[5](l) = fma(g0, d[1], v[5](l));
          if (centroid && !add_centroid(other[k], d, w, centroid)) lower(status, (int)c.i);
        }
    }
    double stress[6];
    for (int k = 0; k < COMPONENTS; ++k) stress[k] = -sum_of(v[k]);
    FOR_LANES(l) {
#pragma unroll
      for (int k = 0; k < 6; ++k) if (VIRIAL && l == k && c.i < n) virial[6 * c.i + k] = stress[k];
    }
  }
}
