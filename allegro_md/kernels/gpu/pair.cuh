// Packs atoms for the kernels of pairs: see pack in kernels/pair.py. A thread per atom.
#include "pair.h"

KERNEL(256, 8) pack(i64 n, const double* position, const int* shift, Four<double>* rows) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) {
      const i64 half = 1 << (CODE_BITS - 1), a = shift[3 * i] + half, b = shift[3 * i + 1] + half, c = shift[3 * i + 2] + half;
      const bool small = (a | b | c) >= 0 && (a | b | c) < 2 * half;
      const i64 code = small ? (((a << CODE_BITS) + b) << CODE_BITS) + c : -1 - i;
      rows[i] = {position[3 * i], position[3 * i + 1], position[3 * i + 2], real_of(code)};
    }
  }
}
