// The nuclear repulsion of a trained model: see kernels/cpu_repulsion.py. A thread per edge.
#include "formulas.h"

// edges: of the block; first: its first center; center: of each edge, within the block; repulsion: (3, kinds, kinds)
// ½ e² Z Z' (eV·Å), inverse screening length (1/Å) and cutoff (Å). energy: (edges), stored; gradient: (edges, 3), added to.
KERNEL(256, 2) add_repulsion(const i64* edges, i64 first, const int* center, const int* neighbor, const short* species, int kinds, const double* repulsion, const double* vector, double* energy, double* gradient) {
  FOR_THREADS(t) {
    const i64 e = THREAD(t);
    if (e < edges[0]) {
      const double x = vector[3 * e], y = vector[3 * e + 1], z = vector[3 * e + 2], r = sqrt(x * x + y * y + z * z);
      const double* pair = repulsion + species[first + center[e]] * kinds + species[neighbor[e]];
      const double cutoff = pair[2 * kinds * kinds];
      double energy_slope[2] = {0.0, 0.0};
      if (!(r >= cutoff)) pair_repulsion(r, pair[0], pair[kinds * kinds], cutoff, energy_slope);
      energy[e] = energy_slope[0];
      for (int k = 0; k < 3; ++k) gradient[3 * e + k] = gradient[3 * e + k] + energy_slope[1] * vector[3 * e + k];
    }
  }
}
