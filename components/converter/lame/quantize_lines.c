/*
 * Quantization with SIMD: four lines at a time.
 *
 * In place of, in takehiro.c: quantize_lines_xrpow_01 quantize_lines_xrpow quantize_xrpow
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

/* By the bound of what each of the four is rounded to. */
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
    v128_t const one = wasm_f32x4_splat(least[1]), two = wasm_f32x4_splat(least[2]);
    v128_t const three = wasm_f32x4_splat(least[3]), four = wasm_f32x4_splat(least[4]);

    for (; l >= 8; l -= 8, xp += 8, pi += 8) {
        v128_t const a = wasm_f32x4_mul(wasm_v128_load(xp), step);
        v128_t const b = wasm_f32x4_mul(wasm_v128_load(xp + 4), step);
        if (wasm_v128_any_true(wasm_v128_or(wasm_f32x4_ge(a, four), wasm_f32x4_ge(b, four)))) {
            wasm_v128_store(pi, quantize_four(a, least));
            wasm_v128_store(pi + 4, quantize_four(b, least));
        }
        else {
            /* Most are small: as many as they reach of the first bounds. A comparison that holds is -1. */
#define REACHED(x) wasm_i32x4_neg(wasm_i32x4_add(wasm_i32x4_add(wasm_f32x4_ge(x, one), wasm_f32x4_ge(x, two)), \
                                                 wasm_f32x4_ge(x, three)))
            wasm_v128_store(pi, REACHED(a));
            wasm_v128_store(pi + 4, REACHED(b));
#undef REACHED
        }
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

/* Where the lines of each band begin, and the step with which they are quantized. */
struct bands {
    int     begin[SFBMAX + 1];
    int     step[SFBMAX + 1];
};

static inline void
set_bands(struct bands *bands, gr_info const *const gi, int count)
{
    int const by = gi->scalefac_scale + 1;
    int     sfb, begin = 0;
    for (sfb = 0; sfb < count; sfb++) {
        bands->begin[sfb] = begin;
        begin += gi->width[sfb];
    }
    if (gi->preflag) {
        for (sfb = 0; sfb < count; sfb++)
            bands->step[sfb] = gi->global_gain - ((gi->scalefac[sfb] + pretab[sfb]) << by);
    }
    else {
        for (sfb = 0; sfb < count; sfb++)
            bands->step[sfb] = gi->global_gain - (gi->scalefac[sfb] << by);
    }
    if (gi->block_type == SHORT_TYPE) {
        for (sfb = 0; sfb < count; sfb++)
            bands->step[sfb] -= gi->subblock_gain[gi->window[sfb]] * 8;
    }
}

/*
 * Sets a bit for each band: whether its step is what it was, and whether it is no smaller. The array before has room for
 * one band less; what is read for that is of no use.
 */
static inline void
compare_bands(int const *now, int const *before, int count, uint64_t *same, uint64_t *no_smaller)
{
    int     sfb;
    *same = *no_smaller = 0;
    for (sfb = 0; sfb < count; sfb += 4) {
        v128_t const a = wasm_v128_load(&now[sfb]), b = wasm_v128_load(&before[sfb]);
        v128_t const known = wasm_i32x4_gt(b, wasm_i32x4_const_splat(0));
        *same |= (uint64_t) wasm_i32x4_bitmask(wasm_i32x4_eq(a, b)) << sfb;
        *no_smaller |= (uint64_t) wasm_i32x4_bitmask(wasm_v128_and(known, wasm_i32x4_ge(a, b))) << sfb;
    }
}

/*
 * Quantizes the lines that may have changed since `prev_noise` was noted: with the gain of then, those of bands whose
 * step has changed. Above where all were 0 or 1, they stay so if the step is no smaller. Bands that are treated alike are
 * quantized at one go; the last is that of the highest line that is not zero.
 */
static void
quantize_xrpow(const FLOAT * xp, int *pi, FLOAT istep, gr_info const *const cod_info,
               calc_noise_data const *prev_noise)
{
    int const count = cod_info->block_type == SHORT_TYPE ? 39 : 22;
    int const top = cod_info->max_nonzero_coeff, lines = top + 1;
    int const reuse = prev_noise && cod_info->global_gain == prev_noise->global_gain;
    int const count1 = prev_noise && (reuse || cod_info->block_type == NORM_TYPE) ? prev_noise->sfb_count1 : 0;
    struct bands bands;
    uint64_t same, ones, others;
    int     sfb, next, last;

    if (!reuse && count1 == 0) {
        memset(&pi[top], 0, sizeof(int) * (576 - top));
        quantize_lines_xrpow(lines, istep, xp, pi);
        return;
    }
    set_bands(&bands, cod_info, count);
    compare_bands(bands.step, prev_noise->step, count, &same, &ones);
    for (last = count - 1; last > 0 && bands.begin[last] >= lines;)
        last--;
    same &= reuse ? (1ull << count) - 1 : 0;
    if (~same & (1ull << count) - (1ull << last))
        memset(&pi[top], 0, sizeof(int) * (576 - top));

    ones &= ~same & (count1 > 0 ? (1ull << last) - 1 & ~0ull << count1 : 0);
    others = ((2ull << last) - 1) & ~same & ~ones;
    for (sfb = 0; sfb <= last; sfb = next) {
        uint64_t const bit = 1ull << sfb;
        uint64_t const alike = others & bit ? others : ones & bit ? ones : same;
        int const from = bands.begin[sfb];
        next = Min(last + 1, sfb + __builtin_ctzll(~(alike >> sfb)));
        if (alike == same)
            continue;
        {
            int const l = (next > last ? lines : bands.begin[next]) - from;
            if (alike == others)
                quantize_lines_xrpow(l, istep, xp + from, pi + from);
            else
                quantize_lines_xrpow_01(l, istep, xp + from, pi + from);
        }
    }
}
