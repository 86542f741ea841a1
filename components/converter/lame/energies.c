/*
 * Energies of the spectrum with SIMD: left, right, mid and side side by side, so that each sum is that of LAME.
 *
 * In place of, in psymodel.c: calc_energy vbrpsy_compute_fft_l vbrpsy_compute_fft_s
 *
 * Derived from LAME 3.100 (libmp3lame/psymodel.c):
 * Copyright (c) 1999-2000 Mark Taylor, 2001-2002 Naoki Shibata, 2000-2003 Takehiro Tominaga,
 * 2000-2011 Robert Hegemann, 2000-2005 Gabriel Bouvigne, 2000-2005 Alexander Leidinger
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

#include "lanes.h"

/* Partitions of the spectrum, with a lane for each channel; fewer than four channels leave the others 0. */
struct partitions {
    v128_t  eb[CBANDS], max[CBANDS], avg[CBANDS];
};

/* The energies of the lines j to j + 3, from the transforms of the left and the right channel, which have n points. */
static inline void
energies_of_four(FLOAT const *l, FLOAT const *r, int n, int n_chn, int j, v128_t e[4])
{
    v128_t const l_re = wasm_v128_load(&l[j]), l_im = reversed(wasm_v128_load(&l[n - 3 - j]));
    v128_t const r_re = wasm_v128_load(&r[j]), r_im = reversed(wasm_v128_load(&r[n - 3 - j]));
    v128_t const sqrt2_half = wasm_f32x4_splat(SQRT2 * 0.5f);
    v128_t const none = wasm_f32x4_const_splat(0);
#define SQUARE(x) wasm_f32x4_mul(x, x)
#define ENERGY(re, im) wasm_f32x4_mul(wasm_f32x4_add(SQUARE(re), SQUARE(im)), wasm_f32x4_const_splat(0.5f))
#define TIMES_HALF(op, l, r) wasm_f32x4_mul(op(l, r), sqrt2_half)
    e[0] = ENERGY(l_re, l_im);
    e[1] = n_chn > 1 ? ENERGY(r_re, r_im) : none;
    e[2] = e[3] = none;
    if (n_chn > 2) {
        /* FFT data for mid and side channel is derived from L & R */
        v128_t const m_re = TIMES_HALF(wasm_f32x4_add, l_re, r_re), m_im = TIMES_HALF(wasm_f32x4_add, l_im, r_im);
        v128_t const s_re = TIMES_HALF(wasm_f32x4_sub, l_re, r_re), s_im = TIMES_HALF(wasm_f32x4_sub, l_im, r_im);
        e[2] = ENERGY(m_re, m_im);
        e[3] = ENERGY(s_re, s_im);
    }
#undef SQUARE
#undef ENERGY
#undef TIMES_HALF
    transpose(&e[0], &e[1], &e[2], &e[3]);
}

/* The energy of the first line. */
static inline v128_t
first_energy(FLOAT l, FLOAT r, int n_chn)
{
    FLOAT const sqrt2_half = SQRT2 * 0.5f;
    FLOAT const m = (l + r) * sqrt2_half, s = (l - r) * sqrt2_half;
    return n_chn > 2 ? wasm_f32x4_make(l * l, r * r, m * m, s * s)
        : wasm_f32x4_make(l * l, n_chn > 1 ? r * r : 0.0f, 0.0f, 0.0f);
}

/* All lines of a long transform, their sum from the 12th on, and the sum of all but the last by their loudness. */
static inline __attribute__((always_inline)) void
energies_l(FLOAT const (*w)[BLKSIZE], int n_chn, FLOAT const *eql_w, v128_t *lines, v128_t *total, v128_t *loudness)
{
    v128_t  sum = wasm_f32x4_const_splat(0), weighted;
    int     j;
    lines[0] = first_energy(w[0][0], w[1][0], n_chn);
    weighted = wasm_f32x4_mul(lines[0], wasm_v128_load32_splat(&eql_w[0]));
#define LINE(k) { \
        lines[j + k] = e[k]; \
        if (j + k >= 11) \
            sum = wasm_f32x4_add(sum, e[k]); \
        if (j + k < BLKSIZE / 2) \
            weighted = wasm_f32x4_add(weighted, wasm_f32x4_mul(e[k], wasm_v128_load32_splat(&eql_w[j + k]))); \
    }
#define LINES { \
        v128_t  e[4]; \
        energies_of_four(w[0], w[1], BLKSIZE, n_chn, j, e); \
        LINE(0) LINE(1) LINE(2) LINE(3) \
    }
#pragma clang loop unroll(full)
    for (j = 1; j < 13; j += 4)
        LINES
#pragma clang loop unroll_count(4)
    for (; j < BLKSIZE / 2 - 3; j += 4)
        LINES
    LINES
#undef LINE
#undef LINES
    *total = sum;
    *loudness = weighted;
}

static __attribute__((noinline)) void
energies_l_of_1(FLOAT const (*w)[BLKSIZE], FLOAT const *eql_w, v128_t *lines, v128_t sums[2])
{
    energies_l(w, 1, eql_w, lines, &sums[0], &sums[1]);
}

static __attribute__((noinline)) void
energies_l_of_2(FLOAT const (*w)[BLKSIZE], FLOAT const *eql_w, v128_t *lines, v128_t sums[2])
{
    energies_l(w, 2, eql_w, lines, &sums[0], &sums[1]);
}

static __attribute__((noinline)) void
energies_l_of_4(FLOAT const (*w)[BLKSIZE], FLOAT const *eql_w, v128_t *lines, v128_t sums[2])
{
    energies_l(w, 4, eql_w, lines, &sums[0], &sums[1]);
}

/* Of each partition, the sum, the maximum and the mean. */
static __attribute__((noinline)) void
partition_energies(PsyConst_CB2SB_t const *gd, v128_t const *lines, struct partitions *p)
{
    int     b;
#define TAKE(k) { \
        sum = wasm_f32x4_add(sum, lines[k]); \
        most = wasm_f32x4_pmax(most, lines[k]); \
    }
    for (b = 0; b < gd->npart; b++) {
        v128_t  sum = wasm_f32x4_const_splat(0), most = sum;
        int     n = gd->numlines[b];
#pragma clang loop unroll(disable)
        for (; n >= 8; n -= 8, lines += 8) {
            TAKE(0) TAKE(1) TAKE(2) TAKE(3) TAKE(4) TAKE(5) TAKE(6) TAKE(7)
        }
        if (n & 4) {
            TAKE(0) TAKE(1) TAKE(2) TAKE(3)
            lines += 4;
        }
        if (n & 2) {
            TAKE(0) TAKE(1)
            lines += 2;
        }
        if (n & 1) {
            TAKE(0)
            lines++;
        }
        p->eb[b] = sum;
        p->max[b] = most;
        p->avg[b] = wasm_f32x4_mul(sum, wasm_v128_load32_splat(&gd->rnumlines[b]));
    }
#undef TAKE
    for (; b < CBANDS; b++)
        p->eb[b] = p->max[b] = p->avg[b] = wasm_f32x4_const_splat(0);
}

/* The partitions of a long transform; on the way the energies of all lines, and the approximation of the loudness. */
static void
transform_l(lame_internal_flags * gfc, const sample_t * const buffer[2], int n_chn, int gr_out,
            struct partitions *p)
{
    PsyStateVar_t *psv = &gfc->sv_psy;
    plotting_data *plt = gfc->cfg.analysis ? gfc->pinfo : 0;
    FLOAT const *const eql_w = gfc->ATH->eql_w;
    FLOAT   w[2][BLKSIZE];
    v128_t  lines[HBLKSIZE], sums[2];
    int     chn, j;

    for (chn = 0; chn < n_chn && chn < 2; chn++)
        fft_long(gfc, w[chn], chn, buffer);
    if (n_chn > 2)
        energies_l_of_4((const FLOAT (*)[BLKSIZE]) w, eql_w, lines, sums);
    else if (n_chn > 1)
        energies_l_of_2((const FLOAT (*)[BLKSIZE]) w, eql_w, lines, sums);
    else
        energies_l_of_1((const FLOAT (*)[BLKSIZE]) w, eql_w, lines, sums);
    partition_energies(&gfc->cd_psy->l, lines, p);

    for (chn = 0; chn < n_chn; chn++) {
        psv->tot_ener[chn] = ((FLOAT const *) &sums[0])[chn];
        if (chn < 2) {  /*no loudness for mid/side ch */
            gfc->ov_psy.loudness_sq[gr_out][chn] = psv->loudness_sq_save[chn];
            psv->loudness_sq_save[chn] = ((FLOAT const *) &sums[1])[chn] * VO_SCALE;
        }
        for (j = 0; plt && j < HBLKSIZE; j++) {
            plt->energy[gr_out][chn][j] = plt->energy_save[chn][j];
            plt->energy_save[chn][j] = ((FLOAT const *) &lines[j])[chn];
        }
    }
}

/* The partitions of one of the short transforms. */
static void
transform_s(lame_internal_flags const *gfc, FLOAT const w[2][3][BLKSIZE_s], int sblock, int n_chn,
            struct partitions *p)
{
    FLOAT const *const l = w[0][sblock], *const r = w[n_chn > 1][sblock];
    v128_t  lines[HBLKSIZE_s];
    int     j;

    lines[0] = first_energy(l[0], r[0], n_chn);
    for (j = 1; j < HBLKSIZE_s; j += 4)
        energies_of_four(l, r, BLKSIZE_s, n_chn, j, &lines[j]);
    partition_energies(&gfc->cd_psy->s, lines, p);
}
