/* Vectors of floats and products of factors, for this processor.

   Compiled with BFLOAT16, factors (weights and their multiplicands) are bfloat16. Sums are float32. */

#pragma once

#include <omp.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define HEIGHT 12 /* rows of sums in registers, two vectors per row */
#elif defined(__AVX__)
#define LANES 8
#define HEIGHT 6
#else
#define LANES 4
#define HEIGHT 12
#endif
#define WIDTH (2 * LANES)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#define SMALLER(a, b) ((a) < (b) ? (a) : (b))

typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t integers __attribute__((vector_size(4 * LANES)));

#ifdef BFLOAT16
#if !defined(__AVX512BF16__)
#error "this processor has no products of bfloat16"
#endif
#include <immintrin.h>
#define DEPTH 2 /* factors that one instruction multiplies and adds */
typedef uint16_t factor;
typedef __m512bh factors;
INLINE factors load_factors(const factor *b) { return (factors)_mm512_loadu_si512(b); }
INLINE vector add_product(vector sum, const factor *a, factors b) {
    int32_t pair;
    memcpy(&pair, a, 4);
    return (vector)_mm512_dpbf16_ps((__m512)sum, (factors)_mm512_set1_epi32(pair), b);
}
INLINE void store_factors(factor *a, vector x) {
    _mm256_storeu_si256((__m256i *)a, (__m256i)_mm512_cvtneps_pbh((__m512)x));
}
#else
#define DEPTH 1
typedef float factor;
typedef vector factors;
INLINE factors load_factors(const factor *b) { return *(const vector *)b; }
INLINE vector add_product(vector sum, const factor *a, factors b) { return sum + *a * b; }
INLINE void store_factors(factor *a, vector x) { *(vector *)a = x; }
#endif

INLINE vector load(const float *x) { return *(const vector *)x; }
INLINE void store(float *x, vector value) { *(vector *)x = value; }

INLINE vector load_some(const float *x, long count) {
    if (count >= LANES) return load(x);
    vector value = {};
    memcpy(&value, x, 4 * count);
    return value;
}

INLINE void store_some(float *x, vector value, long count) {
    if (count >= LANES)
        store(x, value);
    else
        memcpy(x, &value, 4 * count);
}
