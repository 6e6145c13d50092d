// Exact sums over atoms: terms as in backends/cpu/sums.py. words: of each component the sums of its two words, added to;
// bad: the first atom with a term that is out of range, else as it was. A term is left out where it is out of range.
// group, held, within: as in steps.cuh; atoms that are held, or in none of the groups within, are left out.
#include "exact.h"

#define TAKES_PART(i) (!group || (!(group[i] & held) && (within == 0 || group[i] & within)))

KERNEL(256, 4) kinetic_energy(i64 n, const double* velocity, const short* species, Species masses, MAYBE const i64* group, i64 held, i64 within, double high_scale, i64* words, i64* bad) {
  PerThread<i64, 2> mine;
  FOR_THREADS(t) {
    mine(t, 0) = mine(t, 1) = 0;
    const i64 i = THREAD(t);
    if (i < n && TAKES_PART(i)) {
      const double x = velocity[3 * i], y = velocity[3 * i + 1], z = velocity[3 * i + 2];
      if (!add_term(mine, t, 0, 0.5 * masses.v[species[i]] * (x * x + y * y + z * z), high_scale)) lower(bad, i);
    }
  }
  add_all(mine, words);
}

KERNEL(256, 4) kinetic_tensor(i64 n, const double* velocity, const short* species, Species masses, MAYBE const i64* group, i64 held, i64 within, double high_scale, i64* words, i64* bad) {
  PerThread<i64, 12> mine;
  FOR_THREADS(t) {
    for (int k = 0; k < 12; ++k) mine(t, k) = 0;
    const i64 i = THREAD(t);
    if (i < n && TAKES_PART(i)) {
      const double x = velocity[3 * i], y = velocity[3 * i + 1], z = velocity[3 * i + 2], m = masses.v[species[i]];
      const double px = m * x, py = m * y, pz = m * z;
      const double terms[6] = {px * x, py * y, pz * z, py * z, px * z, px * y};
      for (int k = 0; k < 6; ++k) if (!add_term(mine, t, k, terms[k], high_scale)) lower(bad, i);
    }
  }
  add_all(mine, words);
}

KERNEL(256, 4) momentum(i64 n, const double* velocity, const short* species, Species masses, double high_scale, i64* words, i64* bad) {
  PerThread<i64, 6> mine;
  FOR_THREADS(t) {
    for (int k = 0; k < 6; ++k) mine(t, k) = 0;
    const i64 i = THREAD(t);
    if (i < n)
      for (int k = 0; k < 3; ++k)
        if (!add_term(mine, t, k, masses.v[species[i]] * velocity[3 * i + k], high_scale)) lower(bad, i);
  }
  add_all(mine, words);
}

KERNEL(256, 4) total_mass(i64 n, const short* species, Species masses, double high_scale, i64* words, i64* bad) {
  PerThread<i64, 2> mine;
  FOR_THREADS(t) {
    mine(t, 0) = mine(t, 1) = 0;
    const i64 i = THREAD(t);
    if (i < n && !add_term(mine, t, 0, masses.v[species[i]], high_scale)) lower(bad, i);
  }
  add_all(mine, words);
}

// values: (n, columns); the sum of column `column`
KERNEL(256, 4) column_sum(i64 n, const double* values, i64 columns, i64 column, double high_scale, i64* words, i64* bad) {
  PerThread<i64, 2> mine;
  FOR_THREADS(t) {
    mine(t, 0) = mine(t, 1) = 0;
    const i64 i = THREAD(t);
    if (i < n && !add_term(mine, t, 0, values[i * columns + column], high_scale)) lower(bad, i);
  }
  add_all(mine, words);
}

// masses[species] · gain, of what a thermostat has added
KERNEL(256, 4) heat(i64 n, const double* gain, const short* species, Species masses, double high_scale, i64* words, i64* bad) {
  PerThread<i64, 2> mine;
  FOR_THREADS(t) {
    mine(t, 0) = mine(t, 1) = 0;
    const i64 i = THREAD(t);
    if (i < n && !add_term(mine, t, 0, masses.v[species[i]] * gain[i], high_scale)) lower(bad, i);
  }
  add_all(mine, words);
}

// rows: (n, vectors, 3); the scalar product of vectors a and b
KERNEL(256, 4) product_sum(i64 n, const double* rows, i64 vectors, i64 a, i64 b, double high_scale, i64* words, i64* bad) {
  PerThread<i64, 2> mine;
  FOR_THREADS(t) {
    mine(t, 0) = mine(t, 1) = 0;
    const i64 i = THREAD(t);
    if (i < n) {
      const double *p = rows + 3 * (i * vectors + a), *q = rows + 3 * (i * vectors + b);
      if (!add_term(mine, t, 0, p[0] * q[0] + p[1] * q[1] + p[2] * q[2], high_scale)) lower(bad, i);
    }
  }
  add_all(mine, words);
}
