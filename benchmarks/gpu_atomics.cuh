// Adds to numbers in memory, for the measurement of benchmarks/gpu_check.py: each thread to three numbers that lie side
// by side, as an edge adds to the force on a neighbor.
#include "gpu.h"

// rows: (n,) where each thread adds; sums: (rows, 3)
KERNEL(256, 8) add_at(i64 n, const int* rows, i64* sums) {
  FOR_THREADS(t) {
    const i64 k = THREAD(t);
    if (k < n) {
      const i64 row = rows[k];
      for (int c = 0; c < 3; ++c) add(sums + 3 * row + c, k + c);
    }
  }
}

// The same numbers stored, nothing added: what the addresses alone cost.
KERNEL(256, 8) store_at(i64 n, const int* rows, i64* sums) {
  FOR_THREADS(t) {
    const i64 k = THREAD(t);
    if (k < n) {
      const i64 row = rows[k];
      for (int c = 0; c < 3; ++c) sums[3 * row + c] = k + c;
    }
  }
}
