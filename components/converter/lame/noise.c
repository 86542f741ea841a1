/*
 * Quantization noise with SIMD: four lines at a time, added up one after another as LAME does.
 *
 * In place of, in quantize_pvt.c: calc_noise_core_c
 *
 * Derived from LAME 3.100 (libmp3lame/quantize_pvt.c):
 * Copyright (c) 1999-2002 Takehiro Tominaga, 2000-2012 Robert Hegemann, 2001 Naoki Shibata, 2002-2005 Gabriel Bouvigne
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

#include "lanes.h"

static inline v128_t
powers(const int *ix)
{
    v128_t  p = wasm_v128_load32_zero(&pow43[ix[0]]);
    p = wasm_v128_load32_lane(&pow43[ix[1]], p, 1);
    p = wasm_v128_load32_lane(&pow43[ix[2]], p, 2);
    return wasm_v128_load32_lane(&pow43[ix[3]], p, 3);
}

static inline FLOAT
add_squares(FLOAT noise, v128_t x)
{
    return add_lanes(noise, wasm_f32x4_mul(x, x));
}

/* Above the last line that is not zero; where all lines are 0 or 1; below. */
static  FLOAT
calc_noise_core_c(const gr_info * const cod_info, int *startline, int l, FLOAT step)
{
    FLOAT   noise = 0;
    int     j = *startline;
    int const end = *startline = j + 2 * l;
    int const fours = j + (2 * l & ~3);
    const int *const ix = cod_info->l3_enc;
    const FLOAT *const xr = cod_info->xr;
    v128_t const steps = wasm_f32x4_splat(step);

    if (j > cod_info->count1) {
        for (; j < fours; j += 4)
            noise = add_squares(noise, wasm_v128_load(&xr[j]));
        for (; j < end; j++)
            noise += xr[j] * xr[j];
    }
    else if (j > cod_info->big_values) {
        for (; j < fours; j += 4) {
            v128_t const ones = wasm_i32x4_ne(wasm_v128_load(&ix[j]), wasm_i32x4_const_splat(0));
            noise = add_squares(noise, wasm_f32x4_sub(wasm_f32x4_abs(wasm_v128_load(&xr[j])),
                                                      wasm_v128_and(steps, ones)));
        }
        for (; j < end; j++) {
            FLOAT const temp = fabs(xr[j]) - (ix[j] ? step : 0);
            noise += temp * temp;
        }
    }
    else {
        for (; j < fours; j += 4)
            noise = add_squares(noise, wasm_f32x4_sub(wasm_f32x4_abs(wasm_v128_load(&xr[j])),
                                                      wasm_f32x4_mul(powers(&ix[j]), steps)));
        for (; j < end; j++) {
            FLOAT const temp = fabs(xr[j]) - pow43[ix[j]] * step;
            noise += temp * temp;
        }
    }
    return noise;
}
