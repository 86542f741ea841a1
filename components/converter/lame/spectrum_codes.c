/*
 * The codes of the spectrum, several of which are written at once.
 *
 * In place of, in bitstream.c: huffman_coder_count1 Huffmancode
 *
 * Derived from LAME 3.100 (libmp3lame/bitstream.c):
 * Copyright (c) 1999-2000 Mark Taylor, 1999-2005 Takehiro Tominaga, 2000-2002 Robert Hegemann, Gabriel Bouvigne
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

#include "lanes.h"

/* Bits that are not yet written; up to 56. */
struct codes {
    uint64_t bits;
    int     length;
};

static inline void
add_code(struct codes *codes, uint64_t bits, int length)
{
    codes->bits = codes->bits << length | bits;
    codes->length += length;
}

/* Returns how many. */
static inline int
put_codes(lame_internal_flags * gfc, struct codes *codes)
{
    int const length = codes->length;
    if (!put_at_once(gfc, codes->bits, length)) {
        int     left = length;
        while (left > 0) {
            int const j = Min(left, 16);
            left -= j;
            putbits2(gfc, codes->bits >> left & ((1 << j) - 1), j);
        }
    }
    codes->bits = 0;
    codes->length = 0;
    return length;
}

/* The code of four lines that are 0 or 1 each, with the signs of those that are 1. */
static inline void
add_quadruple(struct codes *codes, struct huffcodetab const *h, int const *ix, FLOAT const *xr)
{
    v128_t const some = wasm_i32x4_ne(wasm_v128_load(ix), wasm_i32x4_const_splat(0));
    v128_t const negative = wasm_f32x4_lt(wasm_v128_load(xr), wasm_f32x4_const_splat(0));
    unsigned int const p = wasm_i32x4_bitmask(reversed(some));
    unsigned int const minus = wasm_i32x4_bitmask(reversed(wasm_v128_and(some, negative)));
    unsigned int signs = minus >> 3;
    signs = signs << (p >> 2 & 1) | (minus >> 2 & 1);
    signs = signs << (p >> 1 & 1) | (minus >> 1 & 1);
    signs = signs << (p & 1) | (minus & 1);
    add_code(codes, signs + h->table[p], h->hlen[p]);
}

static int
huffman_coder_count1(lame_internal_flags * gfc, gr_info const *gi)
{
    struct huffcodetab const *const h = &ht[gi->count1table_select + 32];
    int const *ix = &gi->l3_enc[gi->big_values], *const end = ix + ((gi->count1 - gi->big_values) & ~3);
    FLOAT const *xr = &gi->xr[gi->big_values];
    struct codes codes = { 0, 0 };
    int     bits = 0;

    /* None is longer than 10 bits. */
#pragma clang loop unroll(disable)
    for (; ix + 16 <= end; ix += 16, xr += 16) {
        add_quadruple(&codes, h, ix, xr);
        add_quadruple(&codes, h, ix + 4, xr + 4);
        add_quadruple(&codes, h, ix + 8, xr + 8);
        add_quadruple(&codes, h, ix + 12, xr + 12);
        bits += put_codes(gfc, &codes);
    }
    for (; ix < end; ix += 4, xr += 4)
        add_quadruple(&codes, h, ix, xr);
    return bits + put_codes(gfc, &codes);
}

/* The code of two lines; escapes tells whether the table has 15 for all from there on, and the rest in further bits. */
static inline void
add_pair(struct codes *codes, struct huffcodetab const *h, int escapes, int const *ix, FLOAT const *xr)
{
    unsigned int const linbits = h->xlen;
    unsigned int x1 = ix[0], x2 = ix[1], ext, extra, index;
    unsigned int const some1 = x1 != 0, some2 = x2 != 0;

    ext = some1 & (xr[0] < 0.0f);
    extra = some1 + some2;
    if (escapes) {
        if (x1 >= 15u) {
            ext |= (uint16_t) (x1 - 15u) << 1u;
            extra += linbits;
            x1 = 15u;
        }
        if (x2 >= 15u) {
            ext = ext << linbits | (uint16_t) (x2 - 15u);
            extra += linbits;
            x2 = 15u;
        }
    }
    ext = ext << some2 | (some2 & (xr[1] < 0.0f));
    index = x1 * (escapes ? 16 : linbits) + x2;
    add_code(codes, (uint64_t) h->table[index] << extra | ext, h->hlen[index] - some1 - some2 + extra);
}

/* As many of them are written at once as surely fit. */
static inline int
put_pairs(lame_internal_flags * gfc, struct huffcodetab const *h, int escapes, int together, int const *ix,
          FLOAT const *xr, int lines)
{
    struct codes codes = { 0, 0 };
    int     i, bits = 0;
#pragma clang loop unroll(disable)
    for (; lines >= 2 * together; lines -= 2 * together, ix += 2 * together, xr += 2 * together) {
#pragma clang loop unroll(full)
        for (i = 0; i < 2 * together; i += 2)
            add_pair(&codes, h, escapes, ix + i, xr + i);
        bits += put_codes(gfc, &codes);
    }
    for (; lines > 0; lines -= 2, ix += 2, xr += 2)
        add_pair(&codes, h, escapes, ix, xr);
    return bits + put_codes(gfc, &codes);
}

static int
Huffmancode(lame_internal_flags * const gfc, const unsigned int tableindex, int start, int end, gr_info const *gi)
{
    struct huffcodetab const *const h = &ht[tableindex];
    int const *const ix = &gi->l3_enc[start];
    FLOAT const *const xr = &gi->xr[start];

    if (!tableindex)
        return 0;
    /* The longest codes have 13, 21 and, with further bits, 45 bits. */
    if (tableindex <= 12u)
        return put_pairs(gfc, h, 0, 4, ix, xr, end - start);
    if (tableindex <= 15u)
        return put_pairs(gfc, h, 0, 2, ix, xr, end - start);
    return put_pairs(gfc, h, 1, 1, ix, xr, end - start);
}
