/*
 * The windowed samples of long blocks and the first two stages of their transform with SIMD: four blocks at a time.
 *
 * In place of, in fft.c: fft_long
 *
 * Derived from LAME 3.100 (libmp3lame/fft.c): Copyright 1988, 1993 Ron Mayer, 1999-2000 Takehiro Tominaga
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

#include "lanes.h"

/* The first stage of four blocks of 16 lines; e[i] has line i of each. */
static inline void
first_stage(v128_t e[16], struct factors const *stage)
{
    v128_t const c1 = wasm_v128_load32_splat(&stage->c1[1]), s1 = wasm_v128_load32_splat(&stage->s1[1]);
    v128_t const c2 = wasm_v128_load32_splat(&stage->c2[1]), s2 = wasm_v128_load32_splat(&stage->s2[1]);
    v128_t  f0, f1, f2, f3, g0, g1, g2, g3, a, b;
#define ADD wasm_f32x4_add
#define SUB wasm_f32x4_sub
#define MUL wasm_f32x4_mul
    f1 = SUB(e[0], e[4]);
    f0 = ADD(e[0], e[4]);
    f3 = SUB(e[8], e[12]);
    f2 = ADD(e[8], e[12]);
    e[8] = SUB(f0, f2);
    e[0] = ADD(f0, f2);
    e[12] = SUB(f1, f3);
    e[4] = ADD(f1, f3);
    f1 = SUB(e[2], e[6]);
    f0 = ADD(e[2], e[6]);
    f3 = times_double(e[14], SQRT2);
    f2 = times_double(e[10], SQRT2);
    e[10] = SUB(f0, f2);
    e[2] = ADD(f0, f2);
    e[14] = SUB(f1, f3);
    e[6] = ADD(f1, f3);
    b = SUB(MUL(s2, e[5]), MUL(c2, e[7]));
    a = ADD(MUL(c2, e[5]), MUL(s2, e[7]));
    f1 = SUB(e[1], a);
    f0 = ADD(e[1], a);
    g1 = SUB(e[3], b);
    g0 = ADD(e[3], b);
    b = SUB(MUL(s2, e[13]), MUL(c2, e[15]));
    a = ADD(MUL(c2, e[13]), MUL(s2, e[15]));
    f3 = SUB(e[9], a);
    f2 = ADD(e[9], a);
    g3 = SUB(e[11], b);
    g2 = ADD(e[11], b);
    b = SUB(MUL(s1, f2), MUL(c1, g3));
    a = ADD(MUL(c1, f2), MUL(s1, g3));
    e[9] = SUB(f0, a);
    e[1] = ADD(f0, a);
    e[15] = SUB(g1, b);
    e[7] = ADD(g1, b);
    b = SUB(MUL(c1, g2), MUL(s1, f3));
    a = ADD(MUL(s1, g2), MUL(c1, f3));
    e[11] = SUB(g0, a);
    e[3] = ADD(g0, a);
    e[13] = SUB(f1, b);
    e[5] = ADD(f1, b);
#undef ADD
#undef SUB
#undef MUL
}

/* Four blocks of 16 lines with the first stage done, from samples that are neighbours. */
static inline void
four_blocks(FLOAT * x, sample_t const *samples, FLOAT const *window, int p, struct factors const *stage)
{
    v128_t  e[16];
    int     q;
#define ML(i) wasm_f32x4_mul(wasm_v128_load(&window[i]), wasm_v128_load(&samples[i]))
#pragma clang loop unroll(full)
    for (q = 0; q < 4; q++) {
        int const i = p + 0x80 * (q & 1) + 0x40 * (q >> 1);
        v128_t  f0, f1, f2, f3, w;
        f0 = ML(i);
        w = ML(i + 0x200);
        f1 = wasm_f32x4_sub(f0, w);
        f0 = wasm_f32x4_add(f0, w);
        f2 = ML(i + 0x100);
        w = ML(i + 0x300);
        f3 = wasm_f32x4_sub(f2, w);
        f2 = wasm_f32x4_add(f2, w);
        e[4 * q] = wasm_f32x4_add(f0, f2);
        e[4 * q + 2] = wasm_f32x4_sub(f0, f2);
        e[4 * q + 1] = wasm_f32x4_add(f1, f3);
        e[4 * q + 3] = wasm_f32x4_sub(f1, f3);
    }
#undef ML
    first_stage(e, stage);
#pragma clang loop unroll(full)
    for (q = 0; q < 16; q += 4) {
        transpose(&e[q], &e[q + 1], &e[q + 2], &e[q + 3]);
        wasm_v128_store(&x[4 * rv_tbl[p] + q], e[q]);
        wasm_v128_store(&x[4 * rv_tbl[p + 1] + q], e[q + 1]);
        wasm_v128_store(&x[4 * rv_tbl[p + 2] + q], e[q + 2]);
        wasm_v128_store(&x[4 * rv_tbl[p + 3] + q], e[q + 3]);
    }
}

void
fft_long(lame_internal_flags const *const gfc,
         FLOAT x[BLKSIZE], int chn, const sample_t *const buffer[2])
{
    struct factors const *const stage = factors();
    int     p;
#pragma clang loop unroll(disable)
    for (p = 0; p < BLKSIZE / 16; p += 4)
        four_blocks(x, buffer[chn], gfc->cd_psy->window, p, stage);
    later_stages(x, BLKSIZE);
}
