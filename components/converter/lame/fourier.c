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
    v128_t  f0, f1, f2, f3;
#define ADD wasm_f32x4_add
#define SUB wasm_f32x4_sub
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
#undef ADD
#undef SUB
    {
        v128_t  f[4] = { e[1], e[5], e[9], e[13] }, g[4] = { e[3], e[7], e[11], e[15] };
        int     k;
        butterfly(f, g, wasm_v128_load32_splat(&stage->c1[1]), wasm_v128_load32_splat(&stage->s1[1]),
                  wasm_v128_load32_splat(&stage->c2[1]), wasm_v128_load32_splat(&stage->s2[1]));
#pragma clang loop unroll(full)
        for (k = 0; k < 4; k++) {
            e[4 * k + 1] = f[k];
            e[4 * k + 3] = g[k];
        }
    }
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
