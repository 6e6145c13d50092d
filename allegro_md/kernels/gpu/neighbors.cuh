// Neighbor lists, and how far atoms have moved: see backends/cpu/{grid,cell_list,lists}.py. Indices of atoms and of cells
// are int, of list entries i64: 10^8 atoms have 2·10^9 neighbors.
#include "gpu.h"
#include "geometry.h"

#define STRIP 8    // columns of cells side by side: grid.STRIP
#define FAR 2305843009213693952.0  // cells; as far away are atoms whose position is not finite
#define MIDDLE (1ll << 62)

// Index along an axis of the cell at x; a, b, c: the column of grid.Grid.columns.
DEVICE i64 count_at(const double* x, double a, double b, double c) {
  const double u = x[0] * a + x[1] * b + x[2] * c, near = rounded(u), floor = near > u ? near - 1.0 : near;
  return (i64)(floor < FAR ? (floor > -FAR ? floor : -FAR) : FAR);
}

// Number of the first cell of a column; the cells above it follow.
DEVICE int column_start(int a, int b, const int* bins) {
  const int inside = a & (STRIP - 1), first = a - inside, side = bins[0] - first < STRIP ? bins[0] - first : STRIP;
  return (first * bins[1] + b * side + inside) * bins[2];
}

// bounds: raised to 2^62 less the least index of a cell along each axis, and 2^62 more than the largest
KERNEL(256, 4) bounds_of(i64 n, const double* position, const int* shift, Mat3 matrix, Mat3 columns, u64* bounds) {
  PerThread<u64, 6> mine;
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    double x[3] = {0.0, 0.0, 0.0};
    if (i < n) place_of(position, shift, matrix, i, x);
    for (int k = 0; k < 3; ++k) {
      const i64 count = count_at(x, columns.v[k], columns.v[3 + k], columns.v[6 + k]);
      mine(t, k) = i < n ? (u64)(MIDDLE - count) : 0;
      mine(t, 3 + k) = i < n ? (u64)(MIDDLE + count) : 0;
    }
  }
  raise_all(mine, bounds);
}

// column: of grid.Grid.columns, for one axis
KERNEL(256, 8) counts_along(i64 n, const double* position, const int* shift, Mat3 matrix, Vec3 column, i64* counts) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) {
      double x[3];
      place_of(position, shift, matrix, i, x);
      counts[i] = count_at(x, column.v[0], column.v[1], column.v[2]);
    }
  }
}

// low, bins: whole numbers. counts: (3, m) ascending; null where no stretches are cut out
KERNEL(256, 8) cells_of(i64 n, const double* position, const int* shift, Mat3 matrix, Mat3 columns, Vec3 low, Vec3 bins, i64 m, MAYBE const i64* counts, MAYBE const int* merged, int* cell) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) {
      double x[3];
      place_of(position, shift, matrix, i, x);
      int at[3];
      for (int k = 0; k < 3; ++k) {
        const i64 count = count_at(x, columns.v[k], columns.v[3 + k], columns.v[6 + k]);
        at[k] = (int)(count - (i64)low.v[k]);
        if (counts) {
          i64 first = k * m, last = k * m + m - 1;  // of the places where it may be: it is there
          while (first < last) {
            const i64 half = (first + last) / 2;
            if (counts[half] < count) first = half + 1; else last = half;
          }
          at[k] = merged[first];
        }
      }
      const int n_bins[3] = {(int)bins.v[0], (int)bins.v[1], (int)bins.v[2]};
      cell[i] = column_start(at[0], at[1], n_bins) + at[2];
    }
  }
}

// places: (n, 4) wrapped positions in the order of cells, and the index of the atom, as bits: 32 bytes are one sector
KERNEL(256, 8) arrange(i64 n, const i64* order, const double* position, const int* shift, Mat3 matrix, Four<double>* places) {
  FOR_THREADS(t) {
    const i64 m = THREAD(t);
    if (m < n) {
      double x[3];
      place_of(position, shift, matrix, order[m], x);
      places[m] = {x[0], x[1], x[2], real_of(order[m])};
    }
  }
}

// FILL 0: writes the number of neighbors of each center i to offsets[i + 1]; 1: writes the neighbors from offsets[i] on.
// cell: (n,) of each place. starts: the first place of each cell, and n.
// A thread per place, not per center: whatever the order of atoms in memory, a warp looks at a few cells of one column,
// so that its loads coincide, and what it reads of the columns around is in the caches.
template <int FILL>
KERNEL(256, 4) pairs(i64 n, i64 n_centers, double limit, Vec3 bins, const Four<double>* __restrict__ places, const int* __restrict__ cell, const int* __restrict__ starts, i64* offsets, MAYBE int* neighbors) {
  FOR_THREADS(t) {
    const i64 m = THREAD(t);
    if (m < n) {
      const Four<double> x = places[m];
      const i64 i = bits_of(x.w);
      if (i < n_centers) {
        const int n_bins[3] = {(int)bins.v[0], (int)bins.v[1], (int)bins.v[2]};
        const int column = cell[m] / n_bins[2], c = cell[m] % n_bins[2];
        const i64 strip = (i64)STRIP * n_bins[1];  // columns
        const int first = column < strip ? 0 : column / (int)strip * STRIP, inside = column - first * n_bins[1];
        const int side = n_bins[0] - first < STRIP ? n_bins[0] - first : STRIP, a = first + inside % side, b = inside / side;
        const int bottom = c > 0 ? c - 1 : 0, top = c + 2 < n_bins[2] ? c + 2 : n_bins[2];
        i64 end = FILL ? offsets[i] : 0;
        for (int p = a > 0 ? a - 1 : 0; p < a + 2 && p < n_bins[0]; ++p)
          for (int q = b > 0 ? b - 1 : 0; q < b + 2 && q < n_bins[1]; ++q) {
            const int* around = starts + column_start(p, q, n_bins);
            const int last = around[top];
            for (int k = around[bottom]; k < last; ++k) {
              const Four<double> y = places[k];
              const double across = y.x - x.x, along = y.y - x.y, up = y.z - x.z;
              if (across * across + along * along + up * up < limit && k != (int)m) {
                if (FILL) neighbors[end] = (int)bits_of(y.w);
                ++end;
              }
            }
          }
        if (!FILL) offsets[i + 1] = end;
      }
    }
  }
}

DEVICE bool shifted_less(const int* shift, i64 j, i64 k) {
  for (int axis = 0; axis < 3; ++axis)
    if (shift[3 * j + axis] != shift[3 * k + axis]) return shift[3 * j + axis] < shift[3 * k + axis];
  return false;
}

// Sorts the lists of up to `room` atoms by (id, shift), which are unique. Shared memory: 12 · room bytes for each eight
// threads. Eight lanes read a list together, and find an atom's place by counting smaller ones there.
KERNEL(256, 6) sort_lists(i64 n_centers, int room, const i64* id, const int* shift, const i64* offsets, int* neighbors) {
  DYNAMIC(i64, memory);
  FOR_GROUPS(g) {
    const int groups = (int)blockDim.x / 8;
    i64* ids = memory + g * room;
    int* atoms = (int*)(memory + groups * room) + g * room;
    const i64 i = (i64)blockIdx.x * groups + g, first = i < n_centers ? offsets[i] : 0, length = i < n_centers ? offsets[i + 1] - first : 0;
    const int held = length <= room ? (int)length : 0;
    FOR_LANES(l) {
      for (int e = l; e < held; e += 8) {
        atoms[e] = neighbors[first + e];
        ids[e] = id[atoms[e]];
      }
    }
    FOR_LANES(l) {
      for (int e = l; e < held; e += 8) {
        const i64 mine = ids[e];
        int smaller = 0, same = 0;
        for (int f = 0; f < held; ++f) {
          smaller += ids[f] < mine;
          same += ids[f] == mine;
        }
        for (int f = 0; same > 1 && f < held; ++f)  // images of one atom
          smaller += ids[f] == mine && shifted_less(shift, atoms[f], atoms[e]);
        neighbors[first + smaller] = atoms[e];
      }
    }
  }
}

DEVICE bool before(const i64* id, const int* shift, int j, int k) {
  return id[j] < id[k] || (id[j] == id[k] && shifted_less(shift, j, k));
}

// Moves the atom at the root of a heap of n down to where all below it come before it.
DEVICE void sift(const i64* id, const int* shift, int* heap, i64 root, i64 n) {
  const int j = heap[root];
  for (i64 child = 2 * root + 1; child < n; child = 2 * root + 1) {
    if (child + 1 < n && before(id, shift, heap[child], heap[child + 1])) ++child;
    if (!before(id, shift, j, heap[child])) break;
    heap[root] = heap[child];
    root = child;
  }
  heap[root] = j;
}

// Sorts the lists of more than `room` atoms, each where it is, by one thread.
KERNEL(256, 4) sort_long_lists(i64 n_centers, int room, const i64* id, const int* shift, const i64* offsets, int* neighbors) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n_centers && offsets[i + 1] - offsets[i] > room) {
      int* list = neighbors + offsets[i];
      const i64 n = offsets[i + 1] - offsets[i];
      for (i64 root = n / 2 - 1; root >= 0; --root) sift(id, shift, list, root, n);
      for (i64 last = n - 1; last > 0; --last) {
        const int j = list[last];
        list[last] = list[0];
        list[0] = j;
        sift(id, shift, list, 0, last);
      }
    }
  }
}

// largest: bits of the largest absolute coordinate, raised
KERNEL(256, 8) farthest(i64 n, const double* position, const int* shift, Mat3 matrix, u64* largest) {
  PerThread<u64, 1> mine;
  FOR_THREADS(t) {
    mine(t, 0) = 0;
    const i64 i = THREAD(t);
    if (i < n) {
      double x[3];
      place_of(position, shift, matrix, i, x);
      for (int k = 0; k < 3; ++k) {
        const u64 size = size_bits(x[k] < 0.0 ? -x[k] : x[k]);
        if (size > mine(t, 0)) mine(t, 0) = size;
      }
    }
  }
  raise_all(mine, largest);
}

template <class real>
KERNEL(256, 8) wrapped(i64 n, const double* position, const int* shift, Mat3 matrix, real* places) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) {
      double x[3];
      place_of(position, shift, matrix, i, x);
      for (int k = 0; k < 3; ++k) places[3 * i + k] = (real)x[k];
    }
  }
}

// reference: wrapped positions then. f: deformation since then. largest: bits of the largest square of a displacement, raised
template <class real>
KERNEL(256, 8) displacement(i64 n, const double* position, const int* shift, Mat3 matrix, const real* reference, Mat3 f, u64* largest) {
  PerThread<u64, 1> mine;
  FOR_THREADS(t) {
    mine(t, 0) = 0;
    const i64 i = THREAD(t);
    if (i < n) {
      double x[3], d[3];
      place_of(position, shift, matrix, i, x);
      const double a = reference[3 * i], b = reference[3 * i + 1], c = reference[3 * i + 2];
      for (int k = 0; k < 3; ++k) d[k] = x[k] - (a * f.v[k] + b * f.v[3 + k] + c * f.v[6 + k]);
      mine(t, 0) = size_bits(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
    }
  }
  raise_all(mine, largest);
}
