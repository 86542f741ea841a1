/*
 * The division of the spectrum into regions that takes the fewest bits, from sums that are known for each band.
 *
 * In place of, in takehiro.c: recalc_divide_init recalc_divide_sub best_huffman_divide
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

/* Loops that are left as they are: the compiler is told to unroll all others. */
#define AS_IT_IS _Pragma("clang loop unroll(disable)")

/* The tables that are compared, as they are counted side by side: those with escapes differ only in their escapes. */
#define TABLES 16
static const uint8_t counted[TABLES] = { 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24 };
static const uint8_t reaches[TABLES] = { 1, 2, 2, 3, 3, 5, 5, 5, 7, 7, 7, 15, 15, 15, 15, 15 };

/* By the greatest value: the first of the tables to choose from (the place in `counted`), and how many others. */
static const uint8_t first_table[17] = { 0, 0, 1, 3, 5, 5, 8, 8, 11, 11, 11, 11, 11, 11, 11, 11, 14 };
static const uint8_t more_tables[17] = { 0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1 };

/* What is known of the lines below a place. */
struct below {
    uint16_t bits[TABLES];
    int     escapes;
};

/* Of each band the greatest value, of each of their beginnings what is below; and so of the end of the big values. */
struct sums {
    struct below below[SBMAX_l + 1];
    int     greatest[SBMAX_l + 1];
    int     bands;              /* that end below the end */
    struct below end;
    int     greatest_at_end;    /* since the last of those bands */
};

/* For each pair, values above 15 being 15, what it takes in each table; made at first use. */
static const uint16_t *
bits_of_pairs(void)
{
    static uint16_t bits[256][TABLES];
    int     x, y, t;

    if (!bits[0][0]) {
        AS_IT_IS for (x = 0; x < 16; x++)
            AS_IT_IS for (y = 0; y < 16; y++)
                AS_IT_IS for (t = 0; t < TABLES; t++)
                    if (t >= 14)
                        bits[16 * x + y][t] = largetbl[16 * x + y] >> (t == 14 ? 16 : 0) & 0xffff;
                    else if (x <= reaches[t] && y <= reaches[t])
                        bits[16 * x + y][t] = ht[counted[t]].hlen[x * (reaches[t] + 1) + y];
    }
    return bits[0];
}

/* Adds the pairs from one place to another, and returns their greatest value. */
static inline int
add_pairs(struct below *below, const int *ix, const int *end, const uint16_t * bits)
{
    v128_t  low = wasm_v128_load(below->bits), high = wasm_v128_load(below->bits + 8);
    int     greatest = 0, escapes = 0;

    for (; ix < end; ix += 2) {
        int const x = ix[0], y = ix[1];
        const uint16_t *const pair = bits + TABLES * (16 * Min(x, 15) + Min(y, 15));
        low = wasm_i16x8_add(low, wasm_v128_load(pair));
        high = wasm_i16x8_add(high, wasm_v128_load(pair + 8));
        escapes += (x >= 15) + (y >= 15);
        greatest = Max(greatest, Max(x, y));
    }
    wasm_v128_store(below->bits, low);
    wasm_v128_store(below->bits + 8, high);
    below->escapes += escapes;
    return greatest;
}

static void
sum_up(struct sums *sums, const int *l, const int *ix, int big_values)
{
    const uint16_t *const bits = bits_of_pairs();
    int     band;

    memset(&sums->below[0], 0, sizeof(sums->below[0]));
    AS_IT_IS for (band = 0; band < SBMAX_l && l[band + 1] < big_values; band++) {
        sums->below[band + 1] = sums->below[band];
        sums->greatest[band] = add_pairs(&sums->below[band + 1], ix + l[band], ix + l[band + 1], bits);
    }
    sums->bands = band;
    sums->end = sums->below[band];
    sums->greatest_at_end = add_pairs(&sums->end, ix + l[band], ix + big_values, bits);
}

/* The table in which what is between takes the fewest bits, which are added. */
static inline int
shortest(struct below const *from, struct below const *to, int greatest, int *bits)
{
    int const reach = Min(greatest, 16);
    int const t = first_table[reach];
    int const first = (uint16_t) (to->bits[t] - from->bits[t]);
    int     best = first, table = counted[t], other;

    if (greatest == 0)
        return 0;
    if (greatest > 15) {
        int const escapes = to->escapes - from->escapes;
        int     choice, choice2;
        AS_IT_IS for (choice2 = 24; choice2 < 32; choice2++)
            if (ht[choice2].linmax >= (unsigned int) greatest - 15)
                break;
        AS_IT_IS for (choice = choice2 - 8; choice < 24; choice++)
            if (ht[choice].linmax >= (unsigned int) greatest - 15)
                break;
        best += escapes * ht[choice].xlen;
        other = (uint16_t) (to->bits[15] - from->bits[15]) + escapes * ht[choice2].xlen;
        *bits += Min(best, other);
        return best > other ? choice2 : choice;
    }
    if (more_tables[reach] > 0) {
        other = (uint16_t) (to->bits[t + 1] - from->bits[t + 1]);
        table = best > other ? counted[t + 1] : table;
        best = Min(best, other);
    }
    if (more_tables[reach] > 1) {
        other = (uint16_t) (to->bits[t + 2] - from->bits[t + 2]);
        table = best > other ? counted[t + 2] : table;
        best = Min(best, other);
    }
    *bits += best;
    return table;
}

/* By how many bands the first two regions have, less two: the bits and how they are divided. */
struct division {
    int     bits;
    int     region0_count;
    int     table0, table1;
};

static void
divide_two(struct sums const *sums, struct division divisions[7 + 15 + 1])
{
    int     r0, r1, greatest0 = 0;

    AS_IT_IS for (r0 = 0; r0 <= 7 + 15; r0++)
        divisions[r0].bits = LARGE_BITS;
    AS_IT_IS for (r0 = 0; r0 < 16 && r0 < sums->bands; r0++) {
        int     bits0 = 0, table0, greatest1 = 0;
        greatest0 = Max(greatest0, sums->greatest[r0]);
        table0 = shortest(&sums->below[0], &sums->below[r0 + 1], greatest0, &bits0);
        AS_IT_IS for (r1 = 0; r1 < 8 && r0 + r1 + 1 < sums->bands; r1++) {
            struct division *const best = &divisions[r0 + r1];
            int     bits = bits0, table1;
            greatest1 = Max(greatest1, sums->greatest[r0 + r1 + 1]);
            table1 = shortest(&sums->below[r0 + 1], &sums->below[r0 + r1 + 2], greatest1, &bits);
            if (best->bits > bits) {
                best->bits = bits;
                best->region0_count = r0;
                best->table0 = table0;
                best->table1 = table1;
            }
        }
    }
}

/* Takes the third region's beginning with which all takes the fewest bits, if that is less than before. */
static int
divide_three(gr_info * const gi, int count1bits, struct sums const *sums, struct division const *divisions)
{
    int     greatest[SBMAX_l + 1];
    int     r2, taken = 0;

    greatest[sums->bands] = sums->greatest_at_end;
    AS_IT_IS for (r2 = sums->bands - 1; r2 >= 0; r2--)
        greatest[r2] = Max(greatest[r2 + 1], sums->greatest[r2]);
    AS_IT_IS for (r2 = 2; r2 <= sums->bands; r2++) {
        struct division const *const two = &divisions[r2 - 2];
        int     bits = two->bits + count1bits, table;
        if (gi->part2_3_length <= bits)
            break;
        table = shortest(&sums->below[r2], &sums->end, greatest[r2], &bits);
        if (gi->part2_3_length <= bits)
            continue;
        gi->part2_3_length = bits;
        gi->region0_count = two->region0_count;
        gi->region1_count = r2 - 2 - two->region0_count;
        gi->table_select[0] = two->table0;
        gi->table_select[1] = two->table1;
        gi->table_select[2] = table;
        taken = 1;
    }
    return taken;
}

void
best_huffman_divide(const lame_internal_flags * const gfc, gr_info * const gi)
{
    SessionConfig_t const *const cfg = &gfc->cfg;
    int const *const ix = gi->l3_enc;
    struct sums sums;
    struct division divisions[7 + 15 + 1];
    int     i, a1, a2, count1bits, table_select[2];

    /* SHORT BLOCK stuff fails for MPEG2 */
    if (gi->block_type == SHORT_TYPE && cfg->mode_gr == 1)
        return;

    if (gi->block_type == NORM_TYPE) {
        sum_up(&sums, gfc->scalefac_band.l, ix, gi->big_values);
        divide_two(&sums, divisions);
        (void) divide_three(gi, gi->count1bits, &sums, divisions);
    }

    i = gi->big_values;
    if (i == 0 || (unsigned int) (ix[i - 2] | ix[i - 1]) > 1)
        return;

    i = gi->count1 + 2;
    if (i > 576)
        return;

    /* Determines the number of bits to encode the quadruples, one pair more. */
    a1 = a2 = 0;
    for (; i > gi->big_values; i -= 4) {
        int const p = ((ix[i - 4] * 2 + ix[i - 3]) * 2 + ix[i - 2]) * 2 + ix[i - 1];
        a1 += t32l[p];
        a2 += t33l[p];
    }
    count1bits = Min(a1, a2);

    if (gi->block_type == NORM_TYPE) {
        /* The first two regions stay as they are known. */
        while (sums.bands > 0 && gfc->scalefac_band.l[sums.bands] >= i)
            sums.bands--;
        sums.end = sums.below[sums.bands];
        sums.greatest_at_end = add_pairs(&sums.end, ix + gfc->scalefac_band.l[sums.bands], ix + i, bits_of_pairs());
        if (!divide_three(gi, count1bits, &sums, divisions))
            return;
    }
    else {
        /* Count the number of bits necessary to code the bigvalues region. */
        int     bits = count1bits;
        int const end0 = Min(gfc->scalefac_band.l[7 + 1], i);
        memcpy(table_select, gi->table_select, sizeof(table_select));
        if (end0 > 0)
            table_select[0] = gfc->choose_table(ix, ix + end0, &bits);
        if (i > end0)
            table_select[1] = gfc->choose_table(ix + end0, ix + i, &bits);
        if (gi->part2_3_length <= bits)
            return;
        gi->part2_3_length = bits;
        memcpy(gi->table_select, table_select, sizeof(table_select));
    }
    gi->count1 += 2;
    gi->big_values = i;
    gi->count1table_select = a1 > a2;
    gi->count1bits = count1bits;
}
