/*
 * Powers of the spectrum, and their amplification, with SIMD.
 *
 * In place of, in quantize.c: ms_convert init_xrpow_core_c loop_break amp_scalefac_bands
 *
 * Derived from LAME 3.100 (libmp3lame/quantize.c):
 * Copyright (c) 1999-2000 Mark Taylor, 1999-2003 Takehiro Tominaga, 2000-2011 Robert Hegemann, 2001-2005 Gabriel Bouvigne
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

#include "lanes.h"

/* convert from L/R <-> Mid/Side */
static void
ms_convert(III_side_info_t * l3_side, int gr)
{
    FLOAT  *const left = l3_side->tt[gr][0].xr, *const right = l3_side->tt[gr][1].xr;
    v128_t const scale = wasm_f32x4_splat((FLOAT) (SQRT2 * 0.5));
    int     i;
    for (i = 0; i < 576; i += 4) {
        v128_t const l = wasm_v128_load(left + i), r = wasm_v128_load(right + i);
        wasm_v128_store(left + i, wasm_f32x4_mul(wasm_f32x4_add(l, r), scale));
        wasm_v128_store(right + i, wasm_f32x4_mul(wasm_f32x4_sub(l, r), scale));
    }
}

/* x^(3/4) in double precision. */
static inline v128_t
power(v128_t x)
{
    v128_t const d = wasm_f64x2_promote_low_f32x4(x);
    return wasm_f32x4_demote_f64x2_zero(wasm_f64x2_sqrt(wasm_f64x2_mul(d, wasm_f64x2_sqrt(d))));
}

static void
init_xrpow_core_c(gr_info * const cod_info, FLOAT xrpow[576], int upper, FLOAT * sum)
{
    v128_t  max = wasm_f32x4_const_splat(0);
    FLOAT   total = 0;
    FLOAT   x;
    int     i;
    for (i = 0; i + 3 <= upper; i += 4) {
        v128_t const four = wasm_f32x4_abs(wasm_v128_load(&cod_info->xr[i]));
        v128_t const powers = wasm_i64x2_shuffle(power(four), power(wasm_i64x2_shuffle(four, four, 1, 0)), 0, 2);
        total = add_lanes(total, four);
        wasm_v128_store(&xrpow[i], powers);
        max = wasm_f32x4_pmax(max, powers);
    }
    x = greatest_of(max);
    for (; i <= upper; i++) {
        FLOAT const tmp = fabs(cod_info->xr[i]);
        total += tmp;
        xrpow[i] = sqrt(tmp * sqrt(tmp));
        x = Max(x, xrpow[i]);
    }
    *sum = total;
    cod_info->xrpow_max = Max(cod_info->xrpow_max, x);
}

/* The powers of a band, times amp; returns the greatest of each four and of the ones before. */
static inline v128_t
amplify(FLOAT * xrpow, int width, v128_t amp, v128_t max)
{
    int     i;
    for (i = 0; i + 4 <= width; i += 4) {
        v128_t const four = wasm_f32x4_mul(wasm_v128_load(&xrpow[i]), amp);
        wasm_v128_store(&xrpow[i], four);
        max = wasm_f32x4_pmax(max, four);
    }
    for (; i < width; i++) {
        xrpow[i] *= wasm_f32x4_extract_lane(amp, 0);
        max = wasm_f32x4_pmax(max, wasm_v128_load32_zero(&xrpow[i]));
    }
    return max;
}

/* Which of four bands there are. */
static inline v128_t
within(int sfb, int sfbmax)
{
    return wasm_i32x4_lt(wasm_i32x4_const(0, 1, 2, 3), wasm_i32x4_splat(sfbmax - sfb));
}

/* Returns zero if there is a scalefac which has not been amplified, otherwise one. */
inline static int
loop_break(const gr_info * const cod_info)
{
    int const sfbmax = cod_info->sfbmax;
    v128_t  zeros = wasm_i32x4_const_splat(0);
    int     sfb;

    if (cod_info->block_type == SHORT_TYPE) {
        for (sfb = 0; sfb < sfbmax; sfb++)
            if (cod_info->scalefac[sfb]
                + cod_info->subblock_gain[cod_info->window[sfb]] == 0)
                return 0;
        return 1;
    }
    for (sfb = 0; sfb < sfbmax; sfb += 4) {
        v128_t const four = wasm_v128_load(&cod_info->scalefac[sfb]);
        zeros = wasm_v128_or(zeros, wasm_v128_and(within(sfb, sfbmax), wasm_i32x4_eq(four, wasm_i32x4_const_splat(0))));
    }
    return !wasm_v128_any_true(zeros);
}

/* Amplify the scalefactor bands that violate the masking threshold. See ISO 11172-3 Section C.1.5.4.3.5 */
static void
amp_scalefac_bands(lame_internal_flags * gfc,
                   gr_info * const cod_info, FLOAT const *distort, FLOAT xrpow[576], int bRefine)
{
    SessionConfig_t const *const cfg = &gfc->cfg;
    int const sfbmax = cod_info->sfbmax;
    int const *begin = gfc->scalefac_band.l;
    int     begin_short[SFBMAX];
    int     sfb;
    FLOAT   trigger, greatest;
    int     noise_shaping_amp;
    v128_t  max = wasm_f32x4_const_splat(0), ifqstep34;
    uint64_t amplified = 0;

    if (cod_info->scalefac_scale == 0) {
        ifqstep34 = wasm_f32x4_const_splat(1.29683955465100964055); /* 2**(.75*.5) */
    }
    else {
        ifqstep34 = wasm_f32x4_const_splat(1.68179283050742922612); /* 2**(.75*1) */
    }

    /* compute maximum value of distort[]  */
    for (sfb = 0; sfb < sfbmax; sfb += 4)
        max = wasm_f32x4_pmax(max, wasm_v128_and(within(sfb, sfbmax), wasm_v128_load(&distort[sfb])));
    trigger = greatest_of(max);

    noise_shaping_amp = cfg->noise_shaping_amp;
    if (noise_shaping_amp == 3) {
        if (bRefine == 1)
            noise_shaping_amp = 2;
        else
            noise_shaping_amp = 1;
    }
    switch (noise_shaping_amp) {
    case 2:
        /* amplify exactly 1 band */
        break;

    case 1:
        /* amplify bands within 50% of max (on db scale) */
        if (trigger > 1.0)
            trigger = pow(trigger, .5);
        else
            trigger *= .95;
        break;

    case 0:
    default:
        /* ISO algorithm.  amplify all bands with distort>1 */
        if (trigger > 1.0)
            trigger = 1.0;
        else
            trigger *= .95;
        break;
    }

    for (sfb = 0; sfb < sfbmax; sfb += 4) {
        v128_t const less = wasm_f32x4_lt(wasm_v128_load(&distort[sfb]), wasm_f32x4_splat(trigger));
        amplified |= (uint64_t) wasm_i32x4_bitmask(wasm_v128_andnot(within(sfb, sfbmax), less)) << sfb;
    }
    if (cod_info->block_type == SHORT_TYPE) {
        int     j = 0;
        for (sfb = 0; sfb < sfbmax; sfb++) {
            begin_short[sfb] = j;
            j += cod_info->width[sfb];
        }
        begin = begin_short;
    }

    max = wasm_f32x4_const_splat(0);
    for (; amplified; amplified &= amplified - 1) {
        sfb = __builtin_ctzll(amplified);
        if (gfc->sv_qnt.substep_shaping & 2) {
            gfc->sv_qnt.pseudohalf[sfb] = !gfc->sv_qnt.pseudohalf[sfb];
            if (!gfc->sv_qnt.pseudohalf[sfb] && cfg->noise_shaping_amp == 2)
                break;
        }
        cod_info->scalefac[sfb]++;
        max = amplify(&xrpow[begin[sfb]], cod_info->width[sfb], ifqstep34, max);

        if (cfg->noise_shaping_amp == 2)
            break;
    }
    greatest = greatest_of(max);
    cod_info->xrpow_max = Max(cod_info->xrpow_max, greatest);
}
