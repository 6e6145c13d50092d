// Ownership of atoms, and which of them become ghosts: the operations of backends/cpu/domain.py in their order. A thread
// per atom. origin, inverse: of the cell. periodic: bit k is set where axis k is.
#include "gpu.h"

// first: lowered to the first atom with a coordinate that is NaN or not below `farthest` in size
KERNEL(256, 8) first_beyond(i64 n, const double* position, double farthest, i64* first) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) {
      bool below = true;
      for (int k = 0; k < 3; ++k) below = below && position[3 * i + k] < farthest && position[3 * i + k] > -farthest;
      if (!below) lower(first, i);
    }
  }
}

// Fractional coordinate along an axis, of an unwrapped place.
DEVICE double fraction_of(const double* place, const Vec3& origin, const Mat3& inverse, int axis) {
  double fraction = 0.0;
  for (int k = 0; k < 3; ++k) fraction = fraction + (place[k] - origin.v[k]) * inverse.v[3 * k + axis];
  return fraction;
}

// largest: (6,) of −f, then of f, of the fractional coordinates f, as `ordered` with the sign bit turned; raised
KERNEL(256, 4) extremes(i64 n, const double* position, Vec3 origin, Mat3 inverse, u64* largest) {
  PerThread<u64, 6> mine;
  FOR_THREADS(t) {
    for (int k = 0; k < 6; ++k) mine(t, k) = 0;
    const i64 i = THREAD(t);
    if (i < n)
      for (int axis = 0; axis < 3; ++axis) {
        const double fraction = fraction_of(position + 3 * i, origin, inverse, axis);
        mine(t, axis) = (u64)ordered(-fraction) ^ (1ull << 63);
        mine(t, axis + 3) = (u64)ordered(fraction) ^ (1ull << 63);
      }
  }
  raise_all(mine, largest);
}

// The half-open interval between n ascending planes that a coordinate is in; outside of all: the nearest.
DEVICE int interval_of(const double* planes, int n, double place) {
  int first = 0, end = n;  // the first plane beyond the place is between these
  while (first < end) {
    const int middle = (first + end) / 2;
    if (planes[middle] > place) end = middle; else first = middle + 1;
  }
  first = first - 1 < n - 2 ? first - 1 : n - 2;
  return first > 0 ? first : 0;
}

// x: (nx,) planes; y: (nx - 1, ny) planes. offsets: of the neighbor list; null: neighbors do not count.
// costs: (columns, bins), added to
KERNEL(256, 4) add_costs(i64 n, const double* position, Vec3 origin, Mat3 inverse, int periodic, int nx, const double* x, int ny, const double* y, int axis, double start, double width, int bins, MAYBE const i64* offsets, double constant, double scale, i64* costs) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) {
      double place[3];
      for (int k = 0; k < 3; ++k) {
        const double fraction = fraction_of(position + 3 * i, origin, inverse, k);
        place[k] = periodic >> k & 1 ? fraction - floor(fraction) : fraction;
      }
      const int a = interval_of(x, nx, place[0]);
      const i64 column = (i64)a * (ny - 1) + interval_of(y + (i64)a * ny, ny, place[1]);
      const double along = axis == 0 ? place[0] : axis == 1 ? place[1] : place[2], last = (double)bins - 1.0;
      double bin = (along - start) / width;
      bin = bin > 0.0 ? bin : 0.0;
      bin = bin < last ? bin : last;
      const double one = constant + (double)(offsets ? offsets[i + 1] - offsets[i] : 0);
      add(costs + column * bins + (i64)bin, (i64)(one * scale + 0.5));
    }
  }
}

// x: (nx,) planes; y: (nx - 1, ny); z: (nx - 1, ny - 1, nz). owner: ranks, and shift: translations into the box, written
KERNEL(256, 4) assign_owners(i64 n, const double* position, Vec3 origin, Mat3 inverse, int periodic, int nx, const double* x, int ny, const double* y, int nz, const double* z, int* owner, int* shift) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) {
      double place[3];
      for (int k = 0; k < 3; ++k) {
        const double fraction = fraction_of(position + 3 * i, origin, inverse, k);
        const double wraps = periodic >> k & 1 ? -floor(fraction) : 0.0;
        shift[3 * i + k] = (int)wraps;
        place[k] = fraction + wraps;  // may round to 1.0, which belongs to the last brick
      }
      const int a = interval_of(x, nx, place[0]);
      const int b = interval_of(y + (i64)a * ny, ny, place[1]);
      const i64 column = (i64)a * (ny - 1) + b;
      const int c = interval_of(z + column * nz, nz, place[2]);
      owner[i] = (int)(column * (nz - 1) + c);
    }
  }
}

// Wrapped fractional coordinates of an atom.
DEVICE void wrapped_of(const double* position, const int* shift, const Vec3& origin, const Mat3& inverse, i64 i, double* place) {
  const double x = position[3 * i] - origin.v[0], y = position[3 * i + 1] - origin.v[1], z = position[3 * i + 2] - origin.v[2];
  for (int k = 0; k < 3; ++k)
    place[k] = x * inverse.v[k] + y * inverse.v[3 + k] + z * inverse.v[6 + k] + (double)shift[3 * i + k];
}

// Whether a place is in a half-open box.
DEVICE bool is_inside(const double* place, const double* from, const double* to) {
  bool inside = true;
  for (int k = 0; k < 3; ++k) inside = inside && place[k] >= from[k] && place[k] < to[k];
  return inside;
}

// outside: 1 for atoms that are not in a box from `from` to `to`, else 0, written
KERNEL(256, 4) flag_outside(i64 n, const double* position, const int* shift, Vec3 origin, Mat3 inverse, Vec3 from, Vec3 to, unsigned char* outside) {
  FOR_THREADS(t) {
    const i64 i = THREAD(t);
    if (i < n) {
      double place[3];
      wrapped_of(position, shift, origin, inverse, i, place);
      outside[i] = !is_inside(place, from.v, to.v);
    }
  }
}

// atoms: (n,) indices. boxes: (m, 2, 3) lower and upper bounds. inside: (m, n) 1 where an atom is in a box, else 0, written
KERNEL(256, 4) flag_inside(i64 n, const i64* atoms, const double* position, const int* shift, Vec3 origin, Mat3 inverse, int m, const double* boxes, unsigned char* inside) {
  FOR_THREADS(t) {
    const i64 k = THREAD(t);
    if (k < n) {
      double place[3];
      wrapped_of(position, shift, origin, inverse, atoms[k], place);
      for (int b = 0; b < m; ++b) inside[b * n + k] = is_inside(place, boxes + 6 * b, boxes + 6 * b + 3);
    }
  }
}

// values: (…, width); n rows of it are copied to out, which may be other rows of values
template <class T>
KERNEL(256, 8) gather(i64 n, i64 width, const T* values, const int* rows, T* out) {
  FOR_THREADS(t) {
    const i64 k = THREAD(t);
    if (k < n)
      for (i64 c = 0; c < width; ++c) out[k * width + c] = values[rows[k] * width + c];
  }
}

// addends: (n, width), may be other rows of values; a row of values may be added to several times
KERNEL(256, 8) scatter_add(i64 n, i64 width, i64* values, const int* rows, const i64* addends) {
  FOR_THREADS(t) {
    const i64 k = THREAD(t);
    if (k < n)
      for (i64 c = 0; c < width; ++c) add(values + rows[k] * width + c, addends[k * width + c]);
  }
}
