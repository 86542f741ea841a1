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

static inline v128_t
rounded(v128_t x)
{
    return wasm_i32x4_sub(wasm_f32x4_add(x, wasm_f32x4_const_splat(MAGIC_FLOAT)), wasm_i32x4_const_splat(MAGIC_INT));
}

/* By the bound of what each of the four is rounded to. */
static inline v128_t
quantize_four(v128_t x, FLOAT const *least)
{
    v128_t const r = rounded(x);
    v128_t  bound = wasm_v128_load32_zero(&least[wasm_i32x4_extract_lane(r, 0)]);
    bound = wasm_v128_load32_lane(&least[wasm_i32x4_extract_lane(r, 1)], bound, 1);
    bound = wasm_v128_load32_lane(&least[wasm_i32x4_extract_lane(r, 2)], bound, 2);
    bound = wasm_v128_load32_lane(&least[wasm_i32x4_extract_lane(r, 3)], bound, 3);
    return wasm_i32x4_add(r, wasm_f32x4_lt(x, bound));
}

/* The least of what is quantized to each integer up to 15: the bytes of each in four vectors, made at first use. */
static inline void
least_by_bytes(FLOAT const *least, v128_t bytes[4])
{
    static uint8_t made[4][16];
    int     i;

    if (!made[3][1])
        for (i = 0; i < 64; i++)
            made[i & 3][i >> 2] = ((uint8_t const *) least)[i];
    for (i = 0; i < 4; i++)
        bytes[i] = wasm_v128_load(made[i]);
}

#define LOW8(x, y) wasm_i8x16_shuffle(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH8(x, y) wasm_i8x16_shuffle(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define LOW16(x, y) wasm_i16x8_shuffle(x, y, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH16(x, y) wasm_i16x8_shuffle(x, y, 4, 12, 5, 13, 6, 14, 7, 15)

static inline void
quantize_sixteen(const FLOAT * xp, v128_t step, int *pi, FLOAT const *least, v128_t const bytes[4])
{
    v128_t const a = wasm_f32x4_mul(wasm_v128_load(xp), step);
    v128_t const b = wasm_f32x4_mul(wasm_v128_load(xp + 4), step);
    v128_t const c = wasm_f32x4_mul(wasm_v128_load(xp + 8), step);
    v128_t const d = wasm_f32x4_mul(wasm_v128_load(xp + 12), step);
    v128_t const max = wasm_f32x4_pmax(wasm_f32x4_pmax(a, b), wasm_f32x4_pmax(c, d));
    if (wasm_v128_any_true(wasm_f32x4_ge(max, wasm_f32x4_const_splat(15.5f)))) {
        wasm_v128_store(pi, quantize_four(a, least));
        wasm_v128_store(pi + 4, quantize_four(b, least));
        wasm_v128_store(pi + 8, quantize_four(c, least));
        wasm_v128_store(pi + 12, quantize_four(d, least));
    }
    else {
        /* As above, but all bounds at once, byte by byte, from a vector for each. */
        v128_t const ra = rounded(a), rb = rounded(b), rc = rounded(c), rd = rounded(d);
        v128_t const all = wasm_u8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(ra, rb), wasm_i16x8_narrow_i32x4(rc, rd));
        v128_t const b0 = wasm_i8x16_swizzle(bytes[0], all), b1 = wasm_i8x16_swizzle(bytes[1], all);
        v128_t const b2 = wasm_i8x16_swizzle(bytes[2], all), b3 = wasm_i8x16_swizzle(bytes[3], all);
        v128_t const low01 = LOW8(b0, b1), low23 = LOW8(b2, b3);
        v128_t const high01 = HIGH8(b0, b1), high23 = HIGH8(b2, b3);
        wasm_v128_store(pi, wasm_i32x4_add(ra, wasm_f32x4_lt(a, LOW16(low01, low23))));
        wasm_v128_store(pi + 4, wasm_i32x4_add(rb, wasm_f32x4_lt(b, HIGH16(low01, low23))));
        wasm_v128_store(pi + 8, wasm_i32x4_add(rc, wasm_f32x4_lt(c, LOW16(high01, high23))));
        wasm_v128_store(pi + 12, wasm_i32x4_add(rd, wasm_f32x4_lt(d, HIGH16(high01, high23))));
    }
}

static void
quantize_lines_xrpow(unsigned int l, FLOAT istep, const FLOAT * xp, int *pi)
{
    FLOAT const *const least = least_of();
    v128_t const step = wasm_f32x4_splat(istep);

    if (l >= 16) {
        unsigned int const last = l - 16;
        v128_t  bytes[4];
        unsigned int i;
        least_by_bytes(least, bytes);
        for (i = 0; i < last; i += 16)
            quantize_sixteen(xp + i, step, pi + i, least, bytes);
        /* Some of these may be quantized again. */
        quantize_sixteen(xp + last, step, pi + last, least, bytes);
        return;
    }
    for (; l >= 4; l -= 4, xp += 4, pi += 4)
        wasm_v128_store(pi, quantize_four(wasm_f32x4_mul(wasm_v128_load(xp), step), least));
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
