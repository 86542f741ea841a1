/*
 * Four floats in a vector, as the files here need them.
 *
 * What LAME adds up one after another must be added so: floats added in another order are rounded otherwise.
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

#ifndef LANES_H
#define LANES_H

#include <wasm_simd128.h>

static inline v128_t
reversed(v128_t v)
{
    return wasm_i32x4_shuffle(v, v, 3, 2, 1, 0);
}

static inline float
greatest_of(v128_t v)
{
    v = wasm_f32x4_pmax(v, wasm_i64x2_shuffle(v, v, 1, 0));
    v = wasm_f32x4_pmax(v, wasm_i32x4_shuffle(v, v, 1, 0, 3, 2));
    return wasm_f32x4_extract_lane(v, 0);
}

/* Rows to columns. */
static inline void
transpose(v128_t * a, v128_t * b, v128_t * c, v128_t * d)
{
    v128_t const ab = wasm_i32x4_shuffle(*a, *b, 0, 4, 1, 5), ba = wasm_i32x4_shuffle(*a, *b, 2, 6, 3, 7);
    v128_t const cd = wasm_i32x4_shuffle(*c, *d, 0, 4, 1, 5), dc = wasm_i32x4_shuffle(*c, *d, 2, 6, 3, 7);
    *a = wasm_i64x2_shuffle(ab, cd, 0, 2);
    *b = wasm_i64x2_shuffle(ab, cd, 1, 3);
    *c = wasm_i64x2_shuffle(ba, dc, 0, 2);
    *d = wasm_i64x2_shuffle(ba, dc, 1, 3);
}

/* Floats by a double, each product rounded twice as C has it. */
static inline v128_t
times_double(v128_t v, double factor)
{
    v128_t const by = wasm_f64x2_splat(factor), high = wasm_i64x2_shuffle(v, v, 1, 0);
    v128_t const x = wasm_f32x4_demote_f64x2_zero(wasm_f64x2_mul(wasm_f64x2_promote_low_f32x4(v), by));
    v128_t const y = wasm_f32x4_demote_f64x2_zero(wasm_f64x2_mul(wasm_f64x2_promote_low_f32x4(high), by));
    return wasm_i64x2_shuffle(x, y, 0, 2);
}

/* The sum of four after the one before. */
static inline float
add_lanes(float sum, v128_t v)
{
    sum += wasm_f32x4_extract_lane(v, 0);
    sum += wasm_f32x4_extract_lane(v, 1);
    sum += wasm_f32x4_extract_lane(v, 2);
    sum += wasm_f32x4_extract_lane(v, 3);
    return sum;
}

#endif
