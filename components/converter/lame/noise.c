/*
 * Quantization noise with SIMD: four lines at a time, added up one after another as LAME does, and four bands at a time.
 *
 * In place of, in quantize_pvt.c: calc_noise_core_c calc_noise
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

static inline FLOAT
add_two(FLOAT noise, v128_t x)
{
    v128_t const squares = wasm_f32x4_mul(x, x);
    noise += wasm_f32x4_extract_lane(squares, 0);
    return noise + wasm_f32x4_extract_lane(squares, 1);
}

/* There are always as many as are in whole pairs. Above the last line that is not zero; where all lines are 0 or 1; below. */
static inline FLOAT
noise_of_lines(const gr_info * const cod_info, int j, int end, FLOAT step)
{
    FLOAT   noise = 0;
    int const fours = end - (end - j & 3);
    const int *const ix = cod_info->l3_enc;
    const FLOAT *const xr = cod_info->xr;
    v128_t const steps = wasm_f32x4_splat(step);

    if (j > cod_info->count1) {
#pragma clang loop unroll_count(2)
        for (; j < fours; j += 4)
            noise = add_squares(noise, wasm_v128_load(&xr[j]));
        if (j < end)
            noise = add_two(noise, wasm_v128_load64_zero(&xr[j]));
    }
    else if (j > cod_info->big_values) {
#pragma clang loop unroll_count(2)
        for (; j < fours; j += 4) {
            v128_t const ones = wasm_i32x4_ne(wasm_v128_load(&ix[j]), wasm_i32x4_const_splat(0));
            noise = add_squares(noise, wasm_f32x4_sub(wasm_f32x4_abs(wasm_v128_load(&xr[j])),
                                                      wasm_v128_and(steps, ones)));
        }
        if (j < end) {
            v128_t const ones = wasm_i32x4_ne(wasm_v128_load64_zero(&ix[j]), wasm_i32x4_const_splat(0));
            noise = add_two(noise, wasm_f32x4_sub(wasm_f32x4_abs(wasm_v128_load64_zero(&xr[j])),
                                                  wasm_v128_and(steps, ones)));
        }
    }
    else {
#pragma clang loop unroll_count(2)
        for (; j < fours; j += 4)
            noise = add_squares(noise, wasm_f32x4_sub(wasm_f32x4_abs(wasm_v128_load(&xr[j])),
                                                      wasm_f32x4_mul(powers(&ix[j]), steps)));
        if (j < end) {
            v128_t const two = wasm_v128_load32_lane(&pow43[ix[j + 1]], wasm_v128_load32_zero(&pow43[ix[j]]), 1);
            noise = add_two(noise, wasm_f32x4_sub(wasm_f32x4_abs(wasm_v128_load64_zero(&xr[j])),
                                                  wasm_f32x4_mul(two, steps)));
        }
    }
    return noise;
}

/* The steps with which the bands are quantized, and whatever is found behind them. */
static inline __attribute__((always_inline)) void
set_steps(gr_info const *const cod_info, int *steps, int bands, int count)
{
    static const int boost[SFBMAX + 1] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 3, 2 };     /* pretab */
    int const by = cod_info->scalefac_scale + 1;
    v128_t const gain = wasm_i32x4_splat(cod_info->global_gain);
    int     sfb;

#pragma clang loop unroll(full)
    for (sfb = 0; sfb < count; sfb += 4) {
        v128_t  factor = wasm_v128_load(&cod_info->scalefac[sfb]);
        if (cod_info->preflag)
            factor = wasm_i32x4_add(factor, wasm_v128_load(&boost[sfb]));
        wasm_v128_store(&steps[sfb], wasm_i32x4_sub(gain, wasm_i32x4_shl(factor, by)));
    }
    if (cod_info->block_type == SHORT_TYPE)
        for (sfb = 0; sfb < bands; sfb++)
            steps[sfb] -= cod_info->subblock_gain[cod_info->window[sfb]] * 8;
}

/* As fast_log2, with a table that is made at first use by asking it for what stands in its own. */
static inline FLOAT
log2_of(FLOAT x)
{
    static FLOAT logs[512 + 1];
    union {
        FLOAT   f;
        int     i;
    } fi;
    FLOAT   part;
    int     i;

    if (logs[512] == 0) {
        for (i = 0; i < 512; i++)
            logs[i] = fast_log2(1 + i / 512.0f);
        logs[512] = 1;
    }
    fi.f = x;
    part = (fi.i & 0x3fff) * (1.0f / 0x4000);
    i = fi.i >> 14 & 0x1ff;
    return (fi.i >> 23 & 0xff) - 0x7f + (logs[i] * (1.0f - part) + logs[i + 1] * part);
}

/* Adds up what is known of each band. */
static inline __attribute__((always_inline)) void
sum_noise(const FLOAT * noise_log, int bands, int most, calc_noise_result * const res)
{
    v128_t const zero = wasm_i32x4_const_splat(0);
    v128_t  ssd = zero, over = zero, max = wasm_f32x4_const_splat(-20.0f);
    FLOAT   over_noise = 0, tot_noise = 0;
    int     sfb;

#pragma clang loop unroll(full)
    for (sfb = 0; sfb < most; sfb += 4) {
        v128_t const place = wasm_i32x4_const(0, 1, 2, 3);
        v128_t const within = wasm_i32x4_lt(place, wasm_i32x4_splat(bands - sfb));
        /* Where there is no band, nothing is added: neither zero is less than the other. */
        v128_t const noise = wasm_v128_and(within, wasm_v128_load(&noise_log[sfb]));
        v128_t const is_over = wasm_f32x4_gt(noise, zero);
        v128_t const scaled = wasm_f32x4_mul(noise, wasm_f32x4_const_splat(10));
        v128_t const whole = wasm_f32x4_trunc(scaled);
        /* Rounded as in double precision, in which 0.5 more is never rounded itself. */
        v128_t const up = wasm_f32x4_ge(wasm_f32x4_sub(scaled, whole), wasm_f32x4_const_splat(.5f));
        v128_t  n = wasm_i32x4_sub(wasm_i32x4_trunc_sat_f32x4(whole), up);
        n = wasm_v128_and(wasm_i32x4_max(n, wasm_i32x4_const_splat(1)), is_over);
        ssd = wasm_i32x4_add(ssd, wasm_i32x4_mul(n, n));
        over = wasm_i32x4_sub(over, is_over);
        max = wasm_f32x4_pmax(max, wasm_v128_bitselect(noise, max, within));
        tot_noise = add_lanes(tot_noise, noise);
        over_noise = add_lanes(over_noise, wasm_v128_and(noise, is_over));
    }
    ssd = wasm_i32x4_add(ssd, wasm_i64x2_shuffle(ssd, ssd, 1, 0));
    over = wasm_i32x4_add(over, wasm_i64x2_shuffle(over, over, 1, 0));
    res->over_SSD = wasm_i32x4_extract_lane(ssd, 0) + wasm_i32x4_extract_lane(ssd, 1);
    res->over_count = wasm_i32x4_extract_lane(over, 0) + wasm_i32x4_extract_lane(over, 1);
    res->tot_noise = tot_noise;
    res->over_noise = over_noise;
    res->max_noise = greatest_of(max);
}

static inline __attribute__((always_inline)) int
noise_of_bands(gr_info const *const cod_info, int most,
           FLOAT const *l3_xmin,
           FLOAT * distort, calc_noise_result * const res, calc_noise_data * prev_noise)
{
    int const bands = cod_info->psymax;
    calc_noise_data none;
    calc_noise_data *const known = prev_noise ? prev_noise : &none;
    /* With room for as many as are in a whole number of vectors. */
    int     steps[SFBMAX + 1], begin[SFBMAX + 1];
    FLOAT   noise_log[SFBMAX + 1];
    uint64_t changed = 0;
    int     sfb, j = 0;

    set_steps(cod_info, steps, bands, most);
#pragma clang loop unroll(full)
    for (sfb = 0; sfb < Min(most, SFBMAX); sfb++) {
        begin[sfb] = j;
        j += cod_info->width[sfb];
    }
    if (prev_noise)
#pragma clang loop unroll(full)
        for (sfb = 0; sfb < most; sfb += 4)
            changed |= (uint64_t) wasm_i32x4_bitmask(wasm_i32x4_ne(wasm_v128_load(&steps[sfb]),
                                                                   wasm_v128_load(&known->step[sfb]))) << sfb;
    else
        changed = ~0ull;
    changed &= (1ull << bands) - 1;
    known->global_gain = cod_info->global_gain;

    for (; changed; changed &= changed - 1) {
        int const band = __builtin_ctzll(changed), from = begin[band];
        int const end = Min(from + cod_info->width[band], cod_info->max_nonzero_coeff + 1);
        FLOAT const noise = from < end ? noise_of_lines(cod_info, from, end, POW20(steps[band])) : 0;
        FLOAT const r_l3_xmin = 1.f / l3_xmin[band];
        FLOAT const distort_ = r_l3_xmin * noise;
        known->step[band] = steps[band];
        known->noise[band] = noise;
        known->noise_log[band] = log2_of(Max(distort_, 1E-20f)) * (LOG2 / LOG10);
    }
    for (sfb = 0; sfb + 4 <= bands; sfb += 4)
        wasm_v128_store(&distort[sfb], wasm_f32x4_mul(wasm_f32x4_div(wasm_f32x4_const_splat(1),
                                                                     wasm_v128_load(&l3_xmin[sfb])),
                                                      wasm_v128_load(&known->noise[sfb])));
    for (; sfb < bands; sfb++) {
        FLOAT const r_l3_xmin = 1.f / l3_xmin[sfb];
        distort[sfb] = r_l3_xmin * known->noise[sfb];
    }
    memcpy(noise_log, known->noise_log, sizeof(known->noise_log));
    sum_noise(noise_log, bands, most, res);
    return res->over_count;
}

int
calc_noise(gr_info const *const cod_info,
           FLOAT const *l3_xmin,
           FLOAT * distort, calc_noise_result * const res, calc_noise_data * prev_noise)
{
    /* Long blocks have no more than fit in six vectors: there the loops are known to be so long. */
    if (cod_info->psymax <= 24)
        return noise_of_bands(cod_info, 24, l3_xmin, distort, res, prev_noise);
    return noise_of_bands(cod_info, SFBMAX + 1, l3_xmin, distort, res, prev_noise);
}
