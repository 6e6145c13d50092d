// Products of the rows of a block with a small matrix: see kernels/cpu_matrix.py. An element is a sum in ascending order
// of the terms, each rounded once. A block of 256 threads makes ROWS x COLUMNS of them, four by four per thread.
#include "activation.h"
#include "wide.h"

// product = x · matrix; with an activation of cpu_activation.CODES: z = f + c · product, value(z) to out and its slope.
// edges: of the block; x: rows of `stride`, of which the first n count; matrix: (n, width); row: (edges, columns), holds
// c in column `cut` and f from `start` on, −1: there is none; out, slope: (edges, width).
template <class real, int CODE, int COLUMNS>
KERNEL(256, 2) multiply(const i64* edges, const real* x, int stride, int n, const real* matrix, int width, MAYBE const real* row, int columns, int cut, int start, real* out, MAYBE real* slope) {
  const int ROWS = 4096 / COLUMNS, CHUNK = Wide<real>::LANES, SIZE = Piece<real>::SIZE, TERMS = n;
  const int pitch = ROWS + 4, wide = COLUMNS + 4, across = (width + COLUMNS - 1) / COLUMNS;
  const i64 rows = edges[0], first = (i64)(blockIdx.x / across) * ROWS;
  const int column = (int)(blockIdx.x % across) * COLUMNS;
  DYNAMIC(real, memory);
  real *left = memory, *right = memory + CHUNK * pitch;  // (CHUNK, ROWS) of x, (CHUNK, COLUMNS) of the matrix
  PerThread<real, 16> total;
  FOR_THREADS(t) {
#pragma unroll
    for (int k = 0; k < 16; ++k) total(t, k) = real(0);
  }
  for (int at = 0; at < TERMS; at += CHUNK) {
    FOR_THREADS(t) {
#pragma unroll
      for (int k = t; k < ROWS * 4; k += 256) {
        const int r = k / 4, term = k % 4 * SIZE;
        Piece<real> p = {};
        if (first + r < rows) p = piece(x + (first + r) * stride + at + term);
#pragma unroll
        for (int c = 0; c < SIZE; ++c) left[(term + c) * pitch + r] = p.v[c];
      }
      for (int k = t; k < CHUNK * COLUMNS / SIZE; k += 256) {
        const int term = k / (COLUMNS / SIZE), c = k % (COLUMNS / SIZE) * SIZE;
        if (at + term < n && column + c < width) put(right + term * wide + c, piece(matrix + (at + term) * width + column + c));
      }
    }
    FOR_THREADS(t) {
      const real *a = left + 4 * (t / (COLUMNS / 4)), *b = right + 4 * (t % (COLUMNS / 4));
      const int terms = n - at < CHUNK ? n - at : CHUNK;
#pragma unroll 8
      for (int k = 0; k < terms; ++k) {
        const Four<real> p = *(const Four<real>*)(a + k * pitch), q = *(const Four<real>*)(b + k * wide);
        const real u[4] = {p.x, p.y, p.z, p.w}, v[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
          for (int c = 0; c < 4; ++c) total(t, 4 * r + c) = fma(u[r], v[c], total(t, 4 * r + c));
      }
    }
  }
  FOR_THREADS(t) {
    const int c0 = column + 4 * (t % (COLUMNS / 4));
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const i64 e = first + 4 * (t / (COLUMNS / 4)) + r;
      if (e < rows && c0 < width) {
        real value[4], along[4];
#pragma unroll
        for (int c = 0; c < 4; ++c) value[c] = total(t, 4 * r + c);
        if (CODE != NONE) {
          if (cut >= 0) {
            const real factor = row[e * columns + cut];
#pragma unroll
            for (int c = 0; c < 4; ++c) value[c] = value[c] * factor;
          }
          if (start >= 0) {
            const Four<real> f = *(const Four<real>*)(row + e * columns + start + c0);
            value[0] = value[0] + f.x; value[1] = value[1] + f.y; value[2] = value[2] + f.z; value[3] = value[3] + f.w;
          }
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            const Activated<real> y = activated<real, CODE>(value[c]);
            value[c] = y.value;
            along[c] = y.slope;
          }
        }
        *(Four<real>*)(out + e * width + c0) = {value[0], value[1], value[2], value[3]};
        if (CODE != NONE) *(Four<real>*)(slope + e * width + c0) = {along[0], along[1], along[2], along[3]};
      }
    }
  }
}
