/*
 * Bits that scale factors need, with SIMD.
 *
 * In place of, in takehiro.c: mpeg1_scale_bitcount
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

/* By the greatest of both parts: how scale factors are stored in the fewest bits, or else 16; made at first use. */
struct storages {
    uint8_t made;
    uint8_t compress[17][9];
};

static struct storages const *
storages_of(int const *tab)
{
    static struct storages shorts, mixed, longs;
    struct storages *const storages = tab == scale_short ? &shorts : tab == scale_mixed ? &mixed : &longs;
    int     s1, s2, k;

    if (!storages->made) {
#pragma clang loop unroll(disable)
        for (s1 = 0; s1 < 17; s1++)
#pragma clang loop unroll(disable)
            for (s2 = 0; s2 < 9; s2++) {
                int     bits = LARGE_BITS;
                storages->compress[s1][s2] = 16;
#pragma clang loop unroll(disable)
                for (k = 0; k < 16; k++)
                    if (s1 < slen1_n[k] && s2 < slen2_n[k] && bits > tab[k]) {
                        bits = tab[k];
                        storages->compress[s1][s2] = k;
                    }
            }
        storages->made = 1;
    }
    return storages;
}

static inline int
greatest_int(v128_t v)
{
    v = wasm_i32x4_max(v, wasm_i64x2_shuffle(v, v, 1, 0));
    v = wasm_i32x4_max(v, wasm_i32x4_shuffle(v, v, 1, 0, 3, 2));
    return wasm_i32x4_extract_lane(v, 0);
}

/* Also calculates the number of bits necessary to code the scalefactors. */
static int
mpeg1_scale_bitcount(const lame_internal_flags * gfc, gr_info * const cod_info)
{
    int    *const scalefac = cod_info->scalefac;
    v128_t const divide = wasm_i32x4_splat(cod_info->sfbdivide), end = wasm_i32x4_splat(cod_info->sfbmax);
    v128_t  low = wasm_i32x4_const_splat(0), high = low, place = wasm_i32x4_const(0, 1, 2, 3);
    const int *tab = scale_long;
    int     sfb, compress;

    (void) gfc;
    if (cod_info->block_type == SHORT_TYPE)
        tab = cod_info->mixed_block_flag ? scale_mixed : scale_short;
    else if (!cod_info->preflag) {
        /* Of the ten bands that would be boosted; the last four overlap with those before. */
        v128_t const a = wasm_v128_load(scalefac + 11), b = wasm_v128_load(scalefac + 15), c = wasm_v128_load(scalefac + 17);
        if (wasm_i32x4_all_true(wasm_v128_and(
                wasm_i32x4_ge(a, wasm_v128_load(pretab + 11)),
                wasm_v128_and(wasm_i32x4_ge(b, wasm_v128_load(pretab + 15)), wasm_i32x4_ge(c, wasm_v128_load(pretab + 17)))))) {
            cod_info->preflag = 1;
            for (sfb = 11; sfb < SBPSY_l; sfb++)
                scalefac[sfb] -= pretab[sfb];
        }
    }

    for (sfb = 0; sfb < cod_info->sfbmax; sfb += 4) {
        v128_t const four = wasm_v128_load(scalefac + sfb), is_low = wasm_i32x4_lt(place, divide);
        low = wasm_i32x4_max(low, wasm_v128_and(four, is_low));
        high = wasm_i32x4_max(high, wasm_v128_and(wasm_v128_andnot(four, is_low), wasm_i32x4_lt(place, end)));
        place = wasm_i32x4_add(place, wasm_i32x4_const_splat(4));
    }
    compress = storages_of(tab)->compress[Min(greatest_int(low), 16)][Min(greatest_int(high), 8)];
    cod_info->part2_length = LARGE_BITS;
    if (compress < 16) {
        cod_info->part2_length = tab[compress];
        cod_info->scalefac_compress = compress;
    }
    return cod_info->part2_length == LARGE_BITS;
}
