// Terms of exact sums: see exact.py. A term goes into two whole numbers, of 2^32 units and of units.
#pragma once
#include "gpu.h"

// Adds a term, in units of 2^32, to the two words of component k of a thread; false where it is out of range or not finite.
template <int N> DEVICE bool add_term(PerThread<i64, N>& words, int t, int k, double value, double high_scale) {
  const double scaled = value * high_scale;
  if (!((scaled < 0.0 ? -scaled : scaled) < 68719476736.0)) return false;
  i64 high = (i64)scaled;
  high -= (double)high > scaled;  // floor
  words(t, 2 * k) += high;
  words(t, 2 * k + 1) += nearest((scaled - (double)high) * 4294967296.0);
  return true;
}
