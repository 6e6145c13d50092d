// Sub-steps of integrators: the operations of backends/cpu/steps.py in their order. A thread per atom.
// group: bits of the groups of an atom; null where none is held. held: bits of groups that no integrator accelerates.
#include "gpu.h"
#include "random.h"

KERNEL(256, 8) kick(i64 n, const i64* force, const short* species, Species factors, MAYBE const i64* group, i64 held, double* velocity) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n && !(group && group[i] & held)) {
      const double factor = factors.v[species[i]];
      for (int k = 0; k < 3; ++k) velocity[3 * i + k] = velocity[3 * i + k] + (double)force[3 * i + k] * factor;
    }
  }
}

KERNEL(256, 8) work(i64 n, const i64* force, const double* velocity, const i64* group, i64 held, double time, double* done) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n && group[i] & held)
      for (int k = 0; k < 3; ++k) done[i] = done[i] + (double)force[3 * i + k] * velocity[3 * i + k] * time;
  }
}

// within: bits of the groups whose atoms take part; 0: all that are not held
KERNEL(256, 8) scale_velocities(i64 n, double factor, MAYBE const i64* group, i64 held, i64 within, double* velocity) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n && (!group || (!(group[i] & held) && (within == 0 || group[i] & within))))
      for (int k = 0; k < 3; ++k) velocity[3 * i + k] = velocity[3 * i + k] * factor;
  }
}

// forces: (species, 3) fixed point
KERNEL(256, 8) add_forces(i64 n, const short* species, const i64* group, const i64* forces, i64 held, i64 within, i64* force) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n && group[i] & within && !(group[i] & held))
      for (int k = 0; k < 3; ++k) force[3 * i + k] += forces[3 * species[i] + k];
  }
}

// n: components
KERNEL(256, 8) drift(i64 n, const double* velocity, double time, double* position) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) position[i] = position[i] + velocity[i] * time;
  }
}

// gain: of each atom ½ (v_new² − v_old²)
KERNEL(256, 4) thermalize(i64 n, const i64* id, const short* species, Species keep, Species width, i64 seed, i64 stream, i64 step, i64 substep, MAYBE const i64* group, i64 held, i64 within, double* velocity, double* gain) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) {
      double gained = 0.0;
      if (!group || (!(group[i] & held) && (within == 0 || group[i] & within))) {
        double normal[3];
        normals_of(id[i], seed, stream, step, substep, normal);
        const double c = keep.v[species[i]], w = width.v[species[i]];
        for (int k = 0; k < 3; ++k) {
          const double before = velocity[3 * i + k], after = c * before + w * normal[k];
          velocity[3 * i + k] = after;
          gained = gained + 0.5 * (after * after - before * before);
        }
      }
      gain[i] = gained;
    }
  }
}

KERNEL(256, 8) strain(i64 n, Vec3 origin, Mat3 f, double* position) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) {
      double* p = position + 3 * i;
      const double x = p[0] - origin.v[0], y = p[1] - origin.v[1], z = p[2] - origin.v[2];
      for (int k = 0; k < 3; ++k) p[k] = origin.v[k] + (x * f.v[k] + y * f.v[3 + k] + z * f.v[6 + k]);
    }
  }
}

KERNEL(256, 8) kick_with_cell(i64 n, const i64* force, const short* species, Species factors, Mat3 d, Mat3 g, MAYBE const i64* group, i64 held, double* velocity) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n && !(group && group[i] & held)) {
      const double factor = factors.v[species[i]], x = velocity[3 * i], y = velocity[3 * i + 1], z = velocity[3 * i + 2];
      const double a = (double)force[3 * i] * factor, b = (double)force[3 * i + 1] * factor, c = (double)force[3 * i + 2] * factor;
      for (int k = 0; k < 3; ++k)
        velocity[3 * i + k] = (x * d.v[k] + y * d.v[3 + k] + z * d.v[6 + k]) + (a * g.v[k] + b * g.v[3 + k] + c * g.v[6 + k]);
    }
  }
}

KERNEL(256, 8) drift_with_cell(i64 n, const double* velocity, Vec3 origin, Mat3 f, Mat3 time, double* position) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) {
      double* p = position + 3 * i;
      const double x = p[0] - origin.v[0], y = p[1] - origin.v[1], z = p[2] - origin.v[2];
      const double a = velocity[3 * i], b = velocity[3 * i + 1], c = velocity[3 * i + 2];
      for (int k = 0; k < 3; ++k)
        p[k] = origin.v[k] + ((x * f.v[k] + y * f.v[3 + k] + z * f.v[6 + k]) + (a * time.v[k] + b * time.v[3 + k] + c * time.v[6 + k]));
    }
  }
}

// rows: (n, vectors, 3); used: (m,) ascending indices of those with a factor that is not 0
KERNEL(256, 8) combine(i64 n, int vectors, int m, const i64* used, const double* factors, int into, double* rows) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) {
      double x = 0.0, y = 0.0, z = 0.0;
      for (int k = 0; k < m; ++k) {
        const double* row = rows + 3 * (i * vectors + used[k]);
        x = x + factors[k] * row[0]; y = y + factors[k] * row[1]; z = z + factors[k] * row[2];
      }
      double* out = rows + 3 * (i * vectors + into);
      out[0] = x; out[1] = y; out[2] = z;
    }
  }
}
