/*
 * Quantization with SIMD: four lines at a time.
 *
 * In place of, in takehiro.c: quantize_lines_xrpow_01 quantize_lines_xrpow
 *
 * Derived from LAME 3.100 (libmp3lame/takehiro.c):
 * Copyright (c) 1999-2005 Takehiro Tominaga, 2002-2005 Gabriel Bouvigne
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

#include <wasm_simd128.h>

#ifndef TAKEHIRO_IEEE754_HACK
#error "the roundings below are those of the trick with IEEE 754"
#endif

#define MAGIC_FLOAT (65536*(128))
#define MAGIC_INT 0x4b000000

static void
quantize_lines_xrpow_01(unsigned int l, FLOAT istep, const FLOAT * xr, int *ix)
{
    const FLOAT compareval0 = (1.0f - 0.4054f) / istep;
    v128_t const least = wasm_f32x4_splat(compareval0);
    unsigned int i;

    for (i = 0; i + 4 <= l; i += 4) {
        v128_t const less = wasm_f32x4_gt(least, wasm_v128_load(xr + i));
        wasm_v128_store(ix + i, wasm_i32x4_add(less, wasm_i32x4_const_splat(1)));
    }
    for (; i < l; i += 2) {
        ix[i] = compareval0 > xr[i] ? 0 : 1;
        ix[i + 1] = compareval0 > xr[i + 1] ? 0 : 1;
    }
}

/* How LAME quantizes: rounded to the nearest, or else one less. */
static int
quantized(FLOAT x)
{
    union {
        float   f;
        int     i;
    } fi;
    double  d = x;
    d += MAGIC_FLOAT;
    fi.f = d;
    fi.f = d + adj43asm[fi.i - MAGIC_INT];
    return fi.i - MAGIC_INT;
}

/* For each integer, the least that is quantized to it of all that is rounded to it; made at first use. */
static FLOAT const *
least_of(void)
{
    static FLOAT least[PRECALC_SIZE];
    int     i;

    if (!least[1]) {
        for (i = PRECALC_SIZE - 1; i >= 1; i--) {
            FLOAT   x = i - 0.5f - adj43asm[i];
            while (quantized(x) >= i)
                x = nextafterf(x, 0);
            while (quantized(x) < i)
                x = nextafterf(x, i);
            least[i] = x;
        }
    }
    return least;
}

static inline v128_t
quantize_four(v128_t x, FLOAT const *least)
{
    v128_t const rounded =
        wasm_i32x4_sub(wasm_f32x4_add(x, wasm_f32x4_const_splat(MAGIC_FLOAT)), wasm_i32x4_const_splat(MAGIC_INT));
    v128_t  bound = wasm_v128_load32_zero(&least[wasm_i32x4_extract_lane(rounded, 0)]);
    bound = wasm_v128_load32_lane(&least[wasm_i32x4_extract_lane(rounded, 1)], bound, 1);
    bound = wasm_v128_load32_lane(&least[wasm_i32x4_extract_lane(rounded, 2)], bound, 2);
    bound = wasm_v128_load32_lane(&least[wasm_i32x4_extract_lane(rounded, 3)], bound, 3);
    return wasm_i32x4_add(rounded, wasm_f32x4_lt(x, bound));
}

static void
quantize_lines_xrpow(unsigned int l, FLOAT istep, const FLOAT * xp, int *pi)
{
    FLOAT const *const least = least_of();
    v128_t const step = wasm_f32x4_splat(istep);

    for (; l >= 8; l -= 8, xp += 8, pi += 8) {
        wasm_v128_store(pi, quantize_four(wasm_f32x4_mul(wasm_v128_load(xp), step), least));
        wasm_v128_store(pi + 4, quantize_four(wasm_f32x4_mul(wasm_v128_load(xp + 4), step), least));
    }
    if (l & 4) {
        wasm_v128_store(pi, quantize_four(wasm_f32x4_mul(wasm_v128_load(xp), step), least));
        xp += 4;
        pi += 4;
    }
    if (l & 2) {
        v128_t const two = wasm_v128_load64_zero(xp);
        wasm_v128_store64_lane(pi, quantize_four(wasm_f32x4_mul(two, step), least), 0);
    }
}
