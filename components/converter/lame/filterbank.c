/*
 * The filter bank with SIMD: four slots of 32 samples at a time.
 *
 * In place of, in newmdct.c: window_subband
 *
 * Derived from LAME 3.100 (libmp3lame/newmdct.c): Copyright (c) 1999-2000 Takehiro Tominaga
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

#include "lanes.h"

/* A subband's samples of four slots. */
typedef float four __attribute__((vector_size(16)));

/* The window, of which row 4 * i + j is column j of the rows 4 * i to 4 * i + 3 of `enwindow`; made at first use. */
static four const *
window(void)
{
    static FLOAT columns[4 * 18][4];
    int     i, j;
    if (columns[0][0] == 0)
        for (i = 0; i < 15; i++)
            for (j = 0; j < 18; j++)
                columns[i / 4 * 18 + j][i % 4] = enwindow[18 * i + j];
    return (four const *) columns;
}

static inline four
ahead(const sample_t * x)
{
    return (four) wasm_v128_load(x);
}

static inline four
back(const sample_t * x)
{
    return (four) reversed(wasm_v128_load(x - 3));
}

static inline void
transpose_four(four * a, four * b, four * c, four * d)
{
    transpose((v128_t *) a, (v128_t *) b, (v128_t *) c, (v128_t *) d);
}

/* a * factor - b, in double precision as C has it where the factor is a double. */
static inline four
in_double(four a, double factor, four b)
{
    v128_t const by = wasm_f64x2_splat(factor);
    v128_t const high_a = wasm_i64x2_shuffle((v128_t) a, (v128_t) a, 1, 0);
    v128_t const high_b = wasm_i64x2_shuffle((v128_t) b, (v128_t) b, 1, 0);
#define PRODUCT(a, b) wasm_f32x4_demote_f64x2_zero( \
        wasm_f64x2_sub(wasm_f64x2_mul(wasm_f64x2_promote_low_f32x4(a), by), wasm_f64x2_promote_low_f32x4(b)))
    return (four) wasm_i64x2_shuffle(PRODUCT((v128_t) a, (v128_t) b), PRODUCT(high_a, high_b), 0, 2);
#undef PRODUCT
}

#define TIMES(a, factor) ((four) times_double((v128_t) (a), factor))

/* Of one slot, the sums and differences that four rows of the window give. */
static inline void
window_rows(const sample_t * x1, const sample_t * x2, four const *wp, four * even, four * odd)
{
    four    s, t;
    s = ahead(x2 - 224) * wp[0];
    t = back(x1 + 224) * wp[0];
/* Sums so far are put away, or else Wasmtime's compiler would load all samples before it adds up any. */
#define PUT *even = s; *odd = t; __asm__ volatile("" : : "r"(even) : "memory"); s = *even; t = *odd
#define ROW(j, at) s += ahead(x2 + (at)) * wp[j]; t += back(x1 - (at)) * wp[j]
    ROW(1, -160); ROW(2, -96); ROW(3, -32); PUT; ROW(4, 32); ROW(5, 96); ROW(6, 160); ROW(7, 224); PUT;
#undef ROW
#define ROW(j, at) s += back(x1 + (at)) * wp[j]; t -= ahead(x2 - (at)) * wp[j]
    ROW(8, -256); ROW(9, -192); ROW(10, -128); ROW(11, -64); PUT; ROW(12, 0); ROW(13, 64); ROW(14, 128); ROW(15, 192);
#undef ROW
#undef PUT
    s *= wp[16];
    *even = t + s;
    *odd = wp[17] * (t - s);
}

/* Of one slot, what the middle of the window gives. */
static inline void
window_middle(const sample_t * x1, FLOAT * sum, FLOAT * difference)
{
    FLOAT const *const wp = enwindow + 10 + 15 * 18;
    FLOAT   s, t;
    t = x1[-16] * wp[-10];
    s = x1[-32] * wp[-2];
    t += (x1[-48] - x1[16]) * wp[-9];
    s += x1[-96] * wp[-1];
    t += (x1[-80] + x1[48]) * wp[-8];
    s += x1[-160] * wp[0];
    t += (x1[-112] - x1[80]) * wp[-7];
    s += x1[-224] * wp[1];
    t += (x1[-144] + x1[112]) * wp[-6];
    s -= x1[32] * wp[2];
    t += (x1[-176] - x1[144]) * wp[-5];
    s -= x1[96] * wp[3];
    t += (x1[-208] + x1[176]) * wp[-4];
    s -= x1[160] * wp[4];
    t += (x1[-240] - x1[208]) * wp[-3];
    s -= x1[224];
    *difference = s - t;
    *sum = s + t;
}

/* Four slots, to the 32 subbands of each, in the order of their frequencies. */
static __attribute__((noinline)) void
window_four(const sample_t * x1, FLOAT * out)
{
    FLOAT const *const wp = enwindow + 10 + 15 * 18;
    four const *const columns = window();
    four    a[32];
    int     i, k;

    for (i = 0; i < 4; i++) {
        for (k = 0; k < 4; k++) {
            const sample_t *const x = x1 + 32 * k;
            window_rows(x - 4 * i, x + 238 - 14 - 286 + 4 * i, columns + 18 * i, &a[8 * i + 2 * k], &a[8 * i + 2 * k + 1]);
        }
        transpose_four(&a[8 * i], &a[8 * i + 2], &a[8 * i + 4], &a[8 * i + 6]);
        transpose_four(&a[8 * i + 1], &a[8 * i + 3], &a[8 * i + 5], &a[8 * i + 7]);
    }
    {
        FLOAT   sums[4], differences[4];
        four    s, t, u, v;
        for (k = 0; k < 4; k++)
            window_middle(x1 + 32 * k - 15, &sums[k], &differences[k]);
        u = (four) wasm_v128_load(differences);
        v = (four) wasm_v128_load(sums);
        t = a[14]; s = a[15] - t;
        a[31] = v + t;  /* A0 */
        a[30] = u + s;  /* A1 */
        a[15] = u - s;  /* A2 */
        a[14] = v - t;  /* A3 */
    }
    {
        four    xr;
        xr = a[28] - a[0]; a[0] += a[28]; a[28] = xr * wp[-2 * 18 + 7]; xr = a[29] - a[1]; a[1] += a[29];
        a[29] = xr * wp[-2 * 18 + 7]; xr = a[26] - a[2]; a[2] += a[26]; a[26] = xr * wp[-4 * 18 + 7];
        xr = a[27] - a[3]; a[3] += a[27]; a[27] = xr * wp[-4 * 18 + 7]; xr = a[24] - a[4]; a[4] += a[24];
        a[24] = xr * wp[-6 * 18 + 7]; xr = a[25] - a[5]; a[5] += a[25]; a[25] = xr * wp[-6 * 18 + 7];
        xr = a[22] - a[6]; a[6] += a[22]; a[22] = TIMES(xr, SQRT2); xr = a[23] - a[7]; a[7] += a[23];
        a[23] = in_double(xr, SQRT2, a[7]); a[7] -= a[6]; a[22] -= a[7]; a[23] -= a[22]; xr = a[6];
        a[6] = a[31] - xr; a[31] = a[31] + xr; xr = a[7]; a[7] = a[30] - xr; a[30] = a[30] + xr; xr = a[22];
        a[22] = a[15] - xr; a[15] = a[15] + xr; xr = a[23]; a[23] = a[14] - xr; a[14] = a[14] + xr;
        xr = a[20] - a[8]; a[8] += a[20]; a[20] = xr * wp[-10 * 18 + 7]; xr = a[21] - a[9]; a[9] += a[21];
        a[21] = xr * wp[-10 * 18 + 7]; xr = a[18] - a[10]; a[10] += a[18]; a[18] = xr * wp[-12 * 18 + 7];
        xr = a[19] - a[11]; a[11] += a[19]; a[19] = xr * wp[-12 * 18 + 7]; xr = a[16] - a[12]; a[12] += a[16];
        a[16] = xr * wp[-14 * 18 + 7]; xr = a[17] - a[13]; a[13] += a[17]; a[17] = xr * wp[-14 * 18 + 7];
        xr = -a[20] + a[24]; a[20] += a[24]; a[24] = xr * wp[-12 * 18 + 7]; xr = -a[21] + a[25];
        a[21] += a[25]; a[25] = xr * wp[-12 * 18 + 7]; xr = a[4] - a[8]; a[4] += a[8];
        a[8] = xr * wp[-12 * 18 + 7]; xr = a[5] - a[9]; a[5] += a[9]; a[9] = xr * wp[-12 * 18 + 7];
        xr = a[0] - a[12]; a[0] += a[12]; a[12] = xr * wp[-4 * 18 + 7]; xr = a[1] - a[13]; a[1] += a[13];
        a[13] = xr * wp[-4 * 18 + 7]; xr = a[16] - a[28]; a[16] += a[28]; a[28] = xr * wp[-4 * 18 + 7];
        xr = -a[17] + a[29]; a[17] += a[29]; a[29] = xr * wp[-4 * 18 + 7]; xr = TIMES(a[2] - a[10], SQRT2);
        a[2] += a[10]; a[10] = xr; xr = TIMES(a[3] - a[11], SQRT2); a[3] += a[11]; a[11] = xr;
        xr = TIMES(-a[18] + a[26], SQRT2); a[18] += a[26]; a[26] = xr - a[18];
        xr = TIMES(-a[19] + a[27], SQRT2); a[19] += a[27]; a[27] = xr - a[19]; xr = a[2]; a[19] -= a[3];
        a[3] -= xr; a[2] = a[31] - xr; a[31] += xr; xr = a[3]; a[11] -= a[19]; a[18] -= xr; a[3] = a[30] - xr;
        a[30] += xr; xr = a[18]; a[27] -= a[11]; a[19] -= xr; a[18] = a[15] - xr; a[15] += xr; xr = a[19];
        a[10] -= xr; a[19] = a[14] - xr; a[14] += xr; xr = a[10]; a[11] -= xr; a[10] = a[23] - xr;
        a[23] += xr; xr = a[11]; a[26] -= xr; a[11] = a[22] - xr; a[22] += xr; xr = a[26]; a[27] -= xr;
        a[26] = a[7] - xr; a[7] += xr; xr = a[27]; a[27] = a[6] - xr; a[6] += xr;
        xr = TIMES(a[0] - a[4], SQRT2); a[0] += a[4]; a[4] = xr; xr = TIMES(a[1] - a[5], SQRT2); a[1] += a[5];
        a[5] = xr; xr = TIMES(a[16] - a[20], SQRT2); a[16] += a[20]; a[20] = xr;
        xr = TIMES(a[17] - a[21], SQRT2); a[17] += a[21]; a[21] = xr; xr = TIMES(a[8] - a[12], -SQRT2);
        a[8] += a[12]; a[12] = xr - a[8]; xr = TIMES(a[9] - a[13], -SQRT2); a[9] += a[13]; a[13] = xr - a[9];
        xr = TIMES(a[25] - a[29], -SQRT2); a[25] += a[29]; a[29] = xr - a[25];
        xr = TIMES(a[24] + a[28], -SQRT2); a[24] -= a[28]; a[28] = xr - a[24]; xr = a[24] - a[16]; a[24] = xr;
        xr = a[20] - xr; a[20] = xr; xr = a[28] - xr; a[28] = xr; xr = a[25] - a[17]; a[25] = xr;
        xr = a[21] - xr; a[21] = xr; xr = a[29] - xr; a[29] = xr; xr = a[17] - a[1]; a[17] = xr;
        xr = a[9] - xr; a[9] = xr; xr = a[25] - xr; a[25] = xr; xr = a[5] - xr; a[5] = xr; xr = a[21] - xr;
        a[21] = xr; xr = a[13] - xr; a[13] = xr; xr = a[29] - xr; a[29] = xr; xr = a[1] - a[0]; a[1] = xr;
        xr = a[16] - xr; a[16] = xr; xr = a[17] - xr; a[17] = xr; xr = a[8] - xr; a[8] = xr; xr = a[9] - xr;
        a[9] = xr; xr = a[24] - xr; a[24] = xr; xr = a[25] - xr; a[25] = xr; xr = a[4] - xr; a[4] = xr;
        xr = a[5] - xr; a[5] = xr; xr = a[20] - xr; a[20] = xr; xr = a[21] - xr; a[21] = xr; xr = a[12] - xr;
        a[12] = xr; xr = a[13] - xr; a[13] = xr; xr = a[28] - xr; a[28] = xr; xr = a[29] - xr; a[29] = xr;
        xr = a[0]; a[0] += a[31]; a[31] -= xr; xr = a[1]; a[1] += a[30]; a[30] -= xr; xr = a[16];
        a[16] += a[15]; a[15] -= xr; xr = a[17]; a[17] += a[14]; a[14] -= xr; xr = a[8]; a[8] += a[23];
        a[23] -= xr; xr = a[9]; a[9] += a[22]; a[22] -= xr; xr = a[24]; a[24] += a[7]; a[7] -= xr; xr = a[25];
        a[25] += a[6]; a[6] -= xr; xr = a[4]; a[4] += a[27]; a[27] -= xr; xr = a[5]; a[5] += a[26];
        a[26] -= xr; xr = a[20]; a[20] += a[11]; a[11] -= xr; xr = a[21]; a[21] += a[10]; a[10] -= xr;
        xr = a[12]; a[12] += a[19]; a[19] -= xr; xr = a[13]; a[13] += a[18]; a[18] -= xr; xr = a[28];
        a[28] += a[3]; a[3] -= xr; xr = a[29]; a[29] += a[2]; a[2] -= xr;
    }
    /* Compensate for inversion in the analysis filter */
    for (i = 1; i < 32; i += 2)
        a[i] = (four) wasm_v128_xor((v128_t) a[i], wasm_i32x4_const(0, 0x80000000, 0, 0x80000000));
#pragma clang loop unroll(full)
    for (i = 0; i < 32; i += 4) {
        four    s[4] = { a[order[i]], a[order[i + 1]], a[order[i + 2]], a[order[i + 3]] };
        transpose_four(&s[0], &s[1], &s[2], &s[3]);
        for (k = 0; k < 4; k++)
            wasm_v128_store(out + 32 * k + i, (v128_t) s[k]);
    }
}
