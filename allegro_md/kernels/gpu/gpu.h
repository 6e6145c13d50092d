// One source for two machines: on a GPU the threads of a block run a kernel, on a CPU loops do, so that tests without a
// GPU run the very code. A kernel is a sequence of phases with a barrier after each:
//
//   FOR_THREADS(t) { … }              what each thread of the block does
//   FOR_GROUPS(g) { … }               eight threads each; inside it
//     FOR_LANES(l) { … }              what each thread of the group does
//     any(x), flags_of(x), sum_of(x)  between phases of a group: what crosses its lanes
//     moved(x, from)                  likewise: to each lane the number of another one
//   add_all(x, to), raise_all(x, to)  between phases of a block: sums and maxima over its threads, into memory
//   PerLane<T> x; x(l)                kept by a lane from phase to phase
//   PerThread<T, N> x; x(t, k)        kept by a thread from phase to phase
//   DYNAMIC(T, p)                     the dynamic shared memory of the block
//
// Phases, and what crosses lanes or threads, must be met by all threads of a block: never under a condition, nor in a
// loop whose bounds differ between threads (the tests read the source for this). Nothing else crosses threads but
// shared memory and atomic operations on integers.
//
// Compiled with -fmad=false and -ffp-contract=off: every fused operation is an explicit fma. No function of a
// mathematical library but sqrt and floor, no approximation, no atomic operation on reals. So both machines give the
// same bits.
#pragma once
typedef unsigned long long u64;
typedef unsigned int u32;
typedef long long i64;

#ifdef __CUDACC__

// Threads of a block at most; blocks on a multiprocessor at least, which bounds the registers.
#define KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define DEVICE __device__ __forceinline__
#define DYNAMIC(T, p) extern __shared__ __align__(16) unsigned char dynamic_[]; T* p = (T*)dynamic_
#define FOR_THREADS(t) for (int t = threadIdx.x, t##_once = 1; t##_once; t##_once = 0, __syncthreads())
#define FOR_GROUPS(g) for (int g = threadIdx.x >> 3, g##_once = 1; g##_once; g##_once = 0)
#define FOR_LANES(l) for (int l = threadIdx.x & 7, l##_once = 1; l##_once; l##_once = 0, __syncwarp())
#define WARP 0xffffffffu  // the four groups of a warp stay together: loops run while `any` of them has something to do

template <class T> struct PerLane { T v; DEVICE T& operator()(int) { return v; } };
template <class T, int N> struct PerThread { T v[N]; DEVICE T& operator()(int, int k) { return v[k]; } };

template <class T> DEVICE T sum_of(PerLane<T>& x) {
  T s = x.v;
#pragma unroll
  for (int half = 4; half; half >>= 1) s = s + __shfl_xor_sync(WARP, s, half);
  return s;
}
template <class T> DEVICE PerLane<T> moved(PerLane<T>& x, PerLane<int>& from) { return {__shfl_sync(WARP, x.v, from.v, 8)}; }
DEVICE u32 flags_of(PerLane<int>& x) { return (__ballot_sync(WARP, x.v) >> (threadIdx.x & 24)) & 0xffu; }
DEVICE bool any(bool x) { return __any_sync(WARP, x); }
template <int N> DEVICE void add_all(PerThread<i64, N>& x, i64* to) {
#pragma unroll
  for (int k = 0; k < N; ++k) {
    u64 s = (u64)x.v[k];
#pragma unroll
    for (int half = 16; half; half >>= 1) s += __shfl_xor_sync(WARP, s, half);
    if ((threadIdx.x & 31) == 0 && s) atomicAdd((u64*)to + k, s);
  }
}
template <int N> DEVICE void raise_all(PerThread<u64, N>& x, u64* to) {
#pragma unroll
  for (int k = 0; k < N; ++k) {
    u64 s = x.v[k];
#pragma unroll
    for (int half = 16; half; half >>= 1) { const u64 other = __shfl_xor_sync(WARP, s, half); s = s > other ? s : other; }
    if ((threadIdx.x & 31) == 0) atomicMax(to + k, s);
  }
}
DEVICE int ones(u32 x) { return __popc(x); }
DEVICE i64 nearest(double x) { return __double2ll_rn(x); }  // half to even
DEVICE double rounded(double x) { return rint(x); }
DEVICE i64 bits_of(double x) { return __double_as_longlong(x); }
DEVICE double real_of(i64 x) { return __longlong_as_double(x); }
DEVICE int bits_of(float x) { return __float_as_int(x); }
DEVICE float real_of(int x) { return __int_as_float(x); }
DEVICE void add(i64* p, i64 v) { atomicAdd((u64*)p, (u64)v); }
DEVICE i64 take(i64* p) { return (i64)atomicAdd((u64*)p, 1ull); }  // adds one, returns what was there
DEVICE i64 added(i64* p, i64 v) { return (i64)(atomicAdd((u64*)p, (u64)v) + (u64)v); }  // adds, returns what is there then
DEVICE void lower(i64* p, i64 v) { atomicMin(p, v); }
DEVICE void lower(int* p, int v) { atomicMin(p, v); }
DEVICE void raise(u64* p, u64 v) { atomicMax(p, v); }

#else

#include <math.h>
#include <string.h>
#define KERNEL(threads, blocks) static void
#define DEVICE static inline
#define DYNAMIC(T, p) T* p = (T*)host::dynamic
namespace host {
struct Index { u32 x; };
static Index blockIdx, blockDim, gridDim;
static unsigned char* dynamic;
static bool backwards;  // tests run both ways: what differs is a race
static inline int turn(int k, int n) { return backwards ? n - 1 - k : k; }
template <unsigned... I> struct Places {};
template <unsigned N, unsigned... I> struct Make : Make<N - 1, N - 1, I...> {};
template <unsigned... I> struct Make<0, I...> { typedef Places<I...> Type; };
template <class... A, unsigned... I> void call(void (*kernel)(A...), void** p, Places<I...>) { kernel(*(A*)p[I]...); }
template <class... A>
void launch(void (*kernel)(A...), u32 blocks, u32 threads, unsigned char* memory, u32 shared, void** p, int reverse) {
  gridDim = {blocks}; blockDim = {threads}; backwards = reverse; dynamic = memory;
  for (u32 b = 0; b < blocks; ++b) {
    memset(memory, 0xff, shared);  // NaN
    blockIdx = {(u32)turn((int)b, (int)blocks)};
    call(kernel, p, typename Make<sizeof...(A)>::Type());
  }
}
}  // namespace host
using host::blockIdx; using host::blockDim; using host::gridDim;
#define FOR_THREADS(t) for (int t##_k = 0, t; t##_k < (int)blockDim.x && (t = host::turn(t##_k, blockDim.x), true); ++t##_k)
#define FOR_GROUPS(g) for (int g##_k = 0, g; g##_k < (int)blockDim.x / 8 && (g = host::turn(g##_k, blockDim.x / 8), true); ++g##_k)
#define FOR_LANES(l) for (int l##_k = 0, l; l##_k < 8 && (l = host::turn(l##_k, 8), true); ++l##_k)

template <class T> struct PerLane { T v[8]; T& operator()(int l) { return v[l]; } };
template <class T, int N> struct PerThread { T v[1024][N]; T& operator()(int t, int k) { return v[t][k]; } };
template <class T> DEVICE T sum_of(PerLane<T>& x) { return ((x.v[0] + x.v[4]) + (x.v[2] + x.v[6])) + ((x.v[1] + x.v[5]) + (x.v[3] + x.v[7])); }
template <class T> DEVICE PerLane<T> moved(PerLane<T>& x, PerLane<int>& from) { PerLane<T> y; for (int l = 0; l < 8; ++l) y.v[l] = x.v[from.v[l]]; return y; }
DEVICE u32 flags_of(PerLane<int>& x) { u32 m = 0; for (int l = 0; l < 8; ++l) m |= u32(x.v[l] != 0) << l; return m; }
DEVICE bool any(bool x) { return x; }
template <int N> DEVICE void add_all(PerThread<i64, N>& x, i64* to) {
  for (u32 t = 0; t < blockDim.x; ++t) for (int k = 0; k < N; ++k) to[k] = (i64)((u64)to[k] + (u64)x.v[t][k]);
}
template <int N> DEVICE void raise_all(PerThread<u64, N>& x, u64* to) {
  for (u32 t = 0; t < blockDim.x; ++t) for (int k = 0; k < N; ++k) if (x.v[t][k] > to[k]) to[k] = x.v[t][k];
}
DEVICE int ones(u32 x) { return __builtin_popcount(x); }
DEVICE i64 nearest(double x) { return llrint(x); }
DEVICE double rounded(double x) { return rint(x); }
DEVICE i64 bits_of(double x) { i64 r; memcpy(&r, &x, 8); return r; }
DEVICE double real_of(i64 x) { double r; memcpy(&r, &x, 8); return r; }
DEVICE int bits_of(float x) { int r; memcpy(&r, &x, 4); return r; }
DEVICE float real_of(int x) { float r; memcpy(&r, &x, 4); return r; }
template <class T> DEVICE T __ldg(const T* p) { return *p; }
DEVICE void add(i64* p, i64 v) { *p = (i64)((u64)*p + (u64)v); }
DEVICE i64 take(i64* p) { return (*p)++; }
DEVICE i64 added(i64* p, i64 v) { return *p = (i64)((u64)*p + (u64)v); }
DEVICE void lower(i64* p, i64 v) { if (v < *p) *p = v; }
DEVICE void lower(int* p, int v) { if (v < *p) *p = v; }
DEVICE void raise(u64* p, u64 v) { if (v > *p) *p = v; }

#endif

template <class real> struct alignas(sizeof(real) * 2) Two { real x, y; };
template <class real> struct alignas(16) Four { real x, y, z, w; };

// Small arrays that are arguments of kernels by value, so that they cost no transfer.
struct Vec3 { double v[3]; };
struct Mat3 { double v[9]; };          // rows one after the other
struct Species { double v[128]; };     // a number of each species

#define MAYBE                          // before a pointer that may be null
#define THREAD(t) ((i64)blockIdx.x * blockDim.x + t)

#define INFINITE_BITS 0x7ff0000000000000ull

// Bits of a number that is not negative: the larger it is, the larger they are. Those of infinity also where it is NaN.
DEVICE u64 size_bits(double x) { return x < real_of((i64)INFINITE_BITS) ? (u64)bits_of(x) : INFINITE_BITS; }

// A real as a whole number of the same order; the larger the real, the larger the number.
DEVICE i64 ordered(double x) { const i64 bits = bits_of(x); return bits < 0 ? bits ^ 0x7fffffffffffffffll : bits; }
