/*
 * Bits that Huffman tables need, counted with SIMD: sixteen pairs at a time.
 *
 * In place of, in takehiro.c: choose_table_nonMMX noquant_count_bits
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

/* Pairs as bytes, sixteen pairs in two vectors; those behind the end are zero. */
struct pairs {
    v128_t  bytes[2 * 18];
    int     blocks;
    int     behind;
};

static inline v128_t
eight(const int *ix)
{
    return wasm_i16x8_narrow_i32x4(wasm_v128_load(ix), wasm_v128_load(ix + 4));
}

static inline int
greatest(v128_t v)
{
    v = wasm_i16x8_max(v, wasm_i64x2_shuffle(v, v, 1, 0));
    v = wasm_i16x8_max(v, wasm_i32x4_shuffle(v, v, 1, 0, 3, 2));
    return Max(wasm_i16x8_extract_lane(v, 0), wasm_i16x8_extract_lane(v, 1));
}

/* Values above 255 become 255. Returns the greatest value. Reads up to 31 values behind the end, which must be there. */
static inline int
read_pairs(struct pairs *pairs, const int *ix, const int *end)
{
    v128_t  max = wasm_i16x8_const_splat(0);
    v128_t *bytes = pairs->bytes;
    int     left = end - ix;

    pairs->blocks = (left + 31) >> 5;
    pairs->behind = pairs->blocks * 16 - (left >> 1);
    for (; left >= 32; left -= 32, ix += 32, bytes += 2) {
        v128_t const a = eight(ix), b = eight(ix + 8), c = eight(ix + 16), d = eight(ix + 24);
        max = wasm_i16x8_max(wasm_i16x8_max(max, wasm_i16x8_max(a, b)), wasm_i16x8_max(c, d));
        bytes[0] = wasm_u8x16_narrow_i16x8(a, b);
        bytes[1] = wasm_u8x16_narrow_i16x8(c, d);
    }
    if (left) {
        v128_t const place = wasm_i16x8_const(0, 1, 2, 3, 4, 5, 6, 7);
#define WITHIN(i) wasm_v128_and(eight(ix + i), wasm_i16x8_lt(place, wasm_i16x8_splat(left - i)))
        v128_t const a = WITHIN(0), b = WITHIN(8), c = WITHIN(16), d = WITHIN(24);
#undef WITHIN
        max = wasm_i16x8_max(wasm_i16x8_max(max, wasm_i16x8_max(a, b)), wasm_i16x8_max(c, d));
        bytes[0] = wasm_u8x16_narrow_i16x8(a, b);
        bytes[1] = wasm_u8x16_narrow_i16x8(c, d);
    }
    return greatest(max);
}

/* Each pair's place in a table of `width` columns. */
static inline v128_t
places(v128_t first, v128_t second, int width)
{
    v128_t const low = wasm_i16x8_const_splat(255), by = wasm_i16x8_splat(width);
    first = wasm_i16x8_add(wasm_i16x8_mul(wasm_v128_and(first, low), by), wasm_u16x8_shr(first, 8));
    second = wasm_i16x8_add(wasm_i16x8_mul(wasm_v128_and(second, low), by), wasm_u16x8_shr(second, 8));
    return wasm_u8x16_narrow_i16x8(first, second);
}

/* The lengths in a table of up to 16, 48 or 64 entries: no table that is read has less, but for what follows it. */
static inline v128_t
lengths(v128_t place, const uint8_t * table, int vectors)
{
    v128_t  found = wasm_i8x16_swizzle(wasm_v128_load(table), place);
    if (vectors > 1) {
        v128_t const next = wasm_i8x16_sub(place, wasm_i8x16_const_splat(16));
        v128_t const last = wasm_i8x16_sub(place, wasm_i8x16_const_splat(32));
        found = wasm_v128_or(found, wasm_i8x16_swizzle(wasm_v128_load(table + 16), next));
        found = wasm_v128_or(found, wasm_i8x16_swizzle(wasm_v128_load(table + 32), last));
    }
    if (vectors > 3)
        found = wasm_v128_or(found, wasm_i8x16_swizzle(wasm_v128_load(table + 48),
                                                       wasm_i8x16_sub(place, wasm_i8x16_const_splat(48))));
    return found;
}

static inline unsigned int
sum_of_bytes(v128_t v)
{
    v = wasm_u32x4_extadd_pairwise_u16x8(wasm_u16x8_extadd_pairwise_u8x16(v));
    v = wasm_i32x4_add(v, wasm_i64x2_shuffle(v, v, 1, 0));
    return wasm_i32x4_extract_lane(v, 0) + wasm_i32x4_extract_lane(v, 1);
}

/*
 * The shortest of up to three consecutive tables. A sum of 18 blocks fits in bytes, since no code is longer than 13.
 */
static inline __attribute__((always_inline)) int
count_small(struct pairs const *pairs, int t1, int tables, int width, int vectors, unsigned int *s)
{
    v128_t  sums[3] = { wasm_i8x16_const_splat(0), wasm_i8x16_const_splat(0), wasm_i8x16_const_splat(0) };
    const uint8_t *const hlen1 = ht[t1].hlen;
    const uint8_t *const hlen2 = ht[t1 + 1].hlen;
    const uint8_t *const hlen3 = ht[t1 + 2].hlen;
    unsigned int sum1, sum2;
    int     i, t = t1;

    for (i = 0; i < pairs->blocks; i++) {
        v128_t const place = places(pairs->bytes[2 * i], pairs->bytes[2 * i + 1], width);
        sums[0] = wasm_i8x16_add(sums[0], lengths(place, hlen1, vectors));
        if (tables > 1)
            sums[1] = wasm_i8x16_add(sums[1], lengths(place, hlen2, vectors));
        if (tables > 2)
            sums[2] = wasm_i8x16_add(sums[2], lengths(place, hlen3, vectors));
    }
    sum1 = sum_of_bytes(sums[0]) - pairs->behind * hlen1[0];
    if (tables > 1) {
        sum2 = sum_of_bytes(sums[1]) - pairs->behind * hlen2[0];
        if (sum1 > sum2) {
            sum1 = sum2;
            t = t1 + 1;
        }
    }
    if (tables > 2) {
        sum2 = sum_of_bytes(sums[2]) - pairs->behind * hlen3[0];
        if (sum1 > sum2) {
            sum1 = sum2;
            t = t1 + 2;
        }
    }
    *s += sum1;
    return t;
}

#define EACH_PLACE(DO) \
    DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14) DO(15)

/* Tables 13 to 15, whose 256 lengths lie side by side in one, made at first use. */
static int
count_13_to_15(struct pairs const *pairs, unsigned int *s)
{
    static uint64_t lengths[256];
    uint64_t sum = 0;
    unsigned int sums[3];
    int     i, t = 13;

    if (!lengths[0])
        for (i = 0; i < 256; i++)
            lengths[i] = ht[13].hlen[i] | (uint64_t) ht[14].hlen[i] << 16 | (uint64_t) ht[15].hlen[i] << 32;
    for (i = 0; i < pairs->blocks; i++) {
        v128_t const place = places(pairs->bytes[2 * i], pairs->bytes[2 * i + 1], 16);
#define ADD(lane) sum += lengths[wasm_u8x16_extract_lane(place, lane)];
        EACH_PLACE(ADD)
#undef ADD
    }
    sum -= lengths[0] * pairs->behind;
    for (i = 0; i < 3; i++)
        sums[i] = sum >> 16 * i & 0xffffu;
    if (sums[0] > sums[1]) {
        sums[0] = sums[1];
        t = 14;
    }
    if (sums[0] > sums[2]) {
        sums[0] = sums[2];
        t = 15;
    }
    *s += sums[0];
    return t;
}

/* The better one of two tables with escapes. */
static int
count_escaped(struct pairs const *pairs, int t1, int t2, unsigned int *s)
{
    v128_t const most = wasm_i8x16_const_splat(15);
    v128_t  escapes = wasm_i8x16_const_splat(0);
    unsigned int sum = 0, sum2;
    int     i;

    for (i = 0; i < pairs->blocks; i++) {
        v128_t const first = wasm_u8x16_min(pairs->bytes[2 * i], most);
        v128_t const second = wasm_u8x16_min(pairs->bytes[2 * i + 1], most);
        v128_t const place = places(first, second, 16);
        escapes = wasm_i8x16_sub(escapes, wasm_i8x16_eq(first, most));
        escapes = wasm_i8x16_sub(escapes, wasm_i8x16_eq(second, most));
#define ADD(lane) sum += largetbl[wasm_u8x16_extract_lane(place, lane)];
        EACH_PLACE(ADD)
#undef ADD
    }
    sum -= largetbl[0] * pairs->behind;
    sum += sum_of_bytes(escapes) * (ht[t1].xlen * 65536u + ht[t2].xlen);
    sum2 = sum & 0xffffu;
    sum >>= 16u;
    if (sum > sum2) {
        sum = sum2;
        t1 = t2;
    }
    *s += sum;
    return t1;
}

/* Chooses the Huffman table that will encode ix[begin..end] with the fewest bits. */
static int
choose_table_nonMMX(const int *ix, const int *const end, int *const _s)
{
    unsigned int *s = (unsigned int *) _s;
    struct pairs pairs;
    unsigned int max = read_pairs(&pairs, ix, end);
    int     choice, choice2;

    switch (max) {
    case 0:
        return 0;
    case 1:
        return count_small(&pairs, 1, 1, 2, 1, s);
    case 2:
        return count_small(&pairs, 2, 2, 3, 1, s);
    case 3:
        return count_small(&pairs, 5, 2, 4, 1, s);
    case 4:
    case 5:
        return count_small(&pairs, 7, 3, 6, 3, s);
    case 6:
    case 7:
        return count_small(&pairs, 10, 3, 8, 4, s);
    case 8: case 9: case 10: case 11: case 12: case 13: case 14: case 15:
        return count_13_to_15(&pairs, s);
    }
    if (max > IXMAX_VAL) {
        *s = LARGE_BITS;
        return -1;
    }
    max -= 15u;
    for (choice2 = 24; choice2 < 32; choice2++) {
        if (ht[choice2].linmax >= max)
            break;
    }
    for (choice = choice2 - 8; choice < 24; choice++) {
        if (ht[choice].linmax >= max)
            break;
    }
    return count_escaped(&pairs, choice, choice2, s);
}

/* For each set of ones in a quadruple, the first value in bit 0: the bits in one table, and in the other above them. */
static inline uint32_t
bits_of_ones(int ones)
{
    static const uint8_t first[16] = { 0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15 };
    return t32l[first[ones]] | (uint32_t) t33l[first[ones]] << 16;
}

/* The same for two quadruples, made at first use. */
static uint32_t const *
bits_of_two(void)
{
    static uint32_t bits[256];
    int     i;

    if (!bits[0])
        for (i = 0; i < 256; i++)
            bits[i] = bits_of_ones(i & 15) + bits_of_ones(i >> 4);
    return bits;
}

static inline v128_t
sixteen(const int *ix)
{
    return wasm_u8x16_narrow_i16x8(eight(ix), eight(ix + 8));
}

/*
 * From the top of the spectrum: pairs of zeros, which take no bits, and quadruples of 0 and 1. Sets where they begin and
 * what the latter take.
 */
static int
count_top(gr_info * const gi)
{
    int const *const ix = gi->l3_enc;
    uint32_t const *const two = bits_of_two();
    uint32_t sum = 0;
    int     a1, a2, i = Min(576, ((gi->max_nonzero_coeff + 2) >> 1) << 1);

    while (i > 15 && !wasm_v128_any_true(wasm_v128_or(
               wasm_v128_or(wasm_v128_load(ix + i - 4), wasm_v128_load(ix + i - 8)),
               wasm_v128_or(wasm_v128_load(ix + i - 12), wasm_v128_load(ix + i - 16)))))
        i -= 16;
    if (i > 15)
        i -= __builtin_clz(wasm_i8x16_bitmask(wasm_i8x16_ne(sixteen(ix + i - 16), wasm_i8x16_const_splat(0)))) - 16 & ~1;
    else
        for (; i > 1; i -= 2)
            if (ix[i - 1] | ix[i - 2])
                break;
    gi->count1 = i;

    for (; i > 15; i -= 16) {
        v128_t const values = sixteen(ix + i - 16);
        unsigned int const more = wasm_i8x16_bitmask(wasm_u8x16_gt(values, wasm_i8x16_const_splat(1)));
        unsigned int const ones = wasm_i8x16_bitmask(wasm_i8x16_ne(values, wasm_i8x16_const_splat(0)));
        if (more) {
            /* As many as are above the last that is greater. */
            int const quadruples = (__builtin_clz(more) - 16) >> 2;
            if (quadruples & 2)
                sum += two[ones >> 8];
            if (quadruples & 1)
                sum += bits_of_ones(ones >> (quadruples & 2 ? 4 : 12) & 15);
            i -= 4 * quadruples;
            break;
        }
        sum += two[ones >> 8] + two[ones & 255];
    }
    if (i <= 15)
        for (; i > 3; i -= 4) {
            v128_t const four = wasm_v128_load(ix + i - 4);
            if (wasm_v128_any_true(wasm_u32x4_gt(four, wasm_i32x4_const_splat(1))))
                break;
            sum += bits_of_ones(wasm_i32x4_bitmask(wasm_i32x4_shl(four, 31)));
        }
    a1 = sum & 0xffff;
    a2 = sum >> 16;
    gi->count1table_select = a1 > a2;
    gi->count1bits = Min(a1, a2);
    gi->big_values = i;
    return gi->count1bits;
}

int
noquant_count_bits(lame_internal_flags const *const gfc,
                   gr_info * const gi, calc_noise_data * prev_noise)
{
    SessionConfig_t const *const cfg = &gfc->cfg;
    int     bits, i, a1, a2;
    int const *const ix = gi->l3_enc;

    if (prev_noise)
        prev_noise->sfb_count1 = 0;

    bits = count_top(gi);
    i = gi->big_values;
    if (i == 0)
        return bits;

    if (gi->block_type == SHORT_TYPE) {
        a1 = 3 * gfc->scalefac_band.s[3];
        if (a1 > gi->big_values)
            a1 = gi->big_values;
        a2 = gi->big_values;
    }
    else if (gi->block_type == NORM_TYPE) {
        a1 = gi->region0_count = gfc->sv_qnt.bv_scf[i - 2];
        a2 = gi->region1_count = gfc->sv_qnt.bv_scf[i - 1];

        a2 = gfc->scalefac_band.l[a1 + a2 + 2];
        a1 = gfc->scalefac_band.l[a1 + 1];
        if (a2 < i)
            gi->table_select[2] = gfc->choose_table(ix + a2, ix + i, &bits);
    }
    else {
        gi->region0_count = 7;
        gi->region1_count = SBMAX_l - 1 - 7 - 1;
        a1 = gfc->scalefac_band.l[7 + 1];
        a2 = i;
        if (a1 > a2) {
            a1 = a2;
        }
    }

    /* have to allow for the case when bigvalues < region0 < region1 (and region0, region1 are ignored) */
    a1 = Min(a1, i);
    a2 = Min(a2, i);

    if (0 < a1)
        gi->table_select[0] = gfc->choose_table(ix, ix + a1, &bits);
    if (a1 < a2)
        gi->table_select[1] = gfc->choose_table(ix + a1, ix + a2, &bits);
    if (cfg->use_best_huffman == 2) {
        gi->part2_3_length = bits;
        best_huffman_divide(gfc, gi);
        bits = gi->part2_3_length;
    }

    if (prev_noise) {
        if (gi->block_type == NORM_TYPE) {
            int     sfb = 0;
            while (gfc->scalefac_band.l[sfb] < gi->big_values) {
                sfb++;
            }
            prev_noise->sfb_count1 = sfb;
        }
    }

    return bits;
}
