/*
 * Masking thresholds with SIMD: four partitions at a time.
 *
 * In place of, in psymodel.c: init_s3_values vbrpsy_compute_masking_l vbrpsy_compute_masking_s
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

#include <wasm_simd128.h>

#ifndef USE_FAST_LOG
#error "the steps below are those of fast_log2"
#endif

static FLOAT s3_func(FLOAT bark);

/*
 * The spreading function lies in memory as `spread` reads it: for each four partitions (maskees), all maskers that
 * reach one of them, and for each masker the four factors, 0 where it does not reach. Adding a masking of 0 changes
 * nothing, so the four go through the same maskers.
 */
static void
reach_of_four(int (*s3ind)[2], int npart, int b, int *from, int *to)
{
    int     i;
    *from = s3ind[b][0];
    *to = s3ind[b][1];
    for (i = b + 1; i < b + 4 && i < npart; i++) {
        *from = Min(*from, s3ind[i][0]);
        *to = Max(*to, s3ind[i][1]);
    }
}

static int
init_s3_values(FLOAT ** p, int (*s3ind)[2], int npart,
               FLOAT const *bval, FLOAT const *bval_width, FLOAT const *norm)
{
    FLOAT   s3[CBANDS + 4][CBANDS];
    int     b, i, j, from, to;
    int     count = 0;
    FLOAT  *out;

    memset(&s3[0][0], 0, sizeof(s3));
    for (i = 0; i < npart; i++) {
        for (j = 0; j < npart; j++) {
            FLOAT   v = s3_func(bval[i] - bval[j]) * bval_width[j];
            s3[i][j] = v * norm[i];
        }
    }
    for (i = 0; i < npart; i++) {
        for (j = 0; j < npart; j++) {
            if (s3[i][j] > 0.0f)
                break;
        }
        s3ind[i][0] = j;

        for (j = npart - 1; j > 0; j--) {
            if (s3[i][j] > 0.0f)
                break;
        }
        s3ind[i][1] = j;
    }
    for (b = 0; b < npart; b += 4) {
        reach_of_four(s3ind, npart, b, &from, &to);
        count += (to - from + 1) * 4;
    }
    out = *p = lame_calloc(FLOAT, count);
    if (!out)
        return -1;
    for (b = 0; b < npart; b += 4) {
        reach_of_four(s3ind, npart, b, &from, &to);
        for (j = from; j <= to; j++)
            for (i = b; i < b + 4; i++)
                *out++ = i < npart && s3ind[i][0] <= j && j <= s3ind[i][1] ? s3[i][j] : 0.0f;
    }
    return 0;
}

/* Maskings added where masker and maskee are far apart: the sum if they are much alike, or else the larger one. */
static inline v128_t
add_far(v128_t m1, v128_t m2)
{
    v128_t const larger = wasm_f32x4_pmax(m1, m2);
    v128_t const ratio = wasm_f32x4_div(larger, wasm_f32x4_pmin(m1, m2));
    return wasm_v128_bitselect(wasm_f32x4_add(m1, m2), larger, wasm_f32x4_lt(ratio, wasm_f32x4_splat(ma_max_i2)));
}

/*
 * Maskings added where they are near: the sum, and more if they are much alike. In LAME the factor's index in a table
 * is (int)(16 * log10(ratio)), by `fast_log2`; the ratios below are the least ones that `fast_log2` gives each index.
 */
static inline v128_t
add_near(v128_t m1, v128_t m2)
{
    static const struct {
        float   ratio, factor;
    } steps[] = {
        {0x1.279fd2p+0f, 1.35879 * 1.35879}, {0x1.5561aep+0f, 1.38454 * 1.38454}, {0x1.8a38a6p+0f, 1.39497 * 1.39497},
        {0x1.c73d58p+0f, 1.40548 * 1.40548}, {0x1.06d9fp+1f, 1.3537 * 1.3537}, {0x1.2f893p+1f, 1.30382 * 1.30382},
        {0x1.5e848ap+1f, 1.22321 * 1.22321}, {0x1.94c58ap+1f, 1.14758 * 1.14758}
    };
    v128_t const sum = wasm_f32x4_add(m1, m2);
    v128_t const larger = wasm_f32x4_pmax(m1, m2), smaller = wasm_f32x4_pmin(m1, m2);
    v128_t const ratio = wasm_f32x4_div(larger, smaller);
    v128_t  factor = wasm_f32x4_splat(1.33352 * 1.33352);
#define STEP(i) factor = wasm_v128_bitselect(wasm_f32x4_splat(steps[i].factor), factor, \
                                             wasm_f32x4_ge(ratio, wasm_f32x4_splat(steps[i].ratio)))
    STEP(0); STEP(1); STEP(2); STEP(3); STEP(4); STEP(5); STEP(6); STEP(7);
#undef STEP
    factor = wasm_v128_bitselect(sum, wasm_f32x4_mul(sum, factor),
                                 wasm_f32x4_ge(ratio, wasm_f32x4_splat(ma_max_i1)));
    return wasm_v128_bitselect(factor, larger, wasm_f32x4_gt(smaller, wasm_f32x4_const_splat(0)));
}

/* The masking of four partitions while it is added up. */
struct maskees {
    FLOAT const *s3;
    int     b, masker;
    /* Which maskers are far, then near, then far again. */
    int     near, far, end;
    v128_t  delta, sum;
};

/* What a masker adds to each of the four. */
static inline v128_t
masking_of(struct maskees *m, FLOAT const *eb, FLOAT const *weight)
{
    v128_t const x = wasm_f32x4_mul(wasm_f32x4_mul(wasm_v128_load(m->s3), wasm_v128_load32_splat(&eb[m->masker])),
                                    wasm_v128_load32_splat(&weight[m->masker]));
    m->s3 += 4;
    m->masker++;
    return x;
}

static inline void
take_far(struct maskees *m, FLOAT const *eb, FLOAT const *weight)
{
    m->sum = add_far(m->sum, masking_of(m, eb, weight));
}

static inline void
take_near(struct maskees *m, FLOAT const *eb, FLOAT const *weight)
{
    v128_t const distance = wasm_i32x4_sub(wasm_i32x4_splat(m->masker - m->b), wasm_i32x4_const(0, 1, 2, 3));
    v128_t const x = masking_of(m, eb, weight);
    m->sum = wasm_v128_bitselect(add_far(m->sum, x), add_near(m->sum, x),
                                 wasm_i32x4_gt(wasm_i32x4_abs(distance), m->delta));
}

/*
 * The energies eb convolved with the spreading function, to masking; and to average the mean masking of those who reach
 * the partition. Each addition waits for a division in the one before, so two groups of four partitions take turns.
 */
static void
spread(PsyConst_CB2SB_t const *gd, FLOAT const *eb, unsigned char const *mask_idx, FLOAT * masking, FLOAT * average)
{
    int const npart = gd->npart;
    FLOAT const *s3 = gd->s3;
    FLOAT   weight[CBANDS];
    int     before[CBANDS + 1];
    int     b, i, kk;

    before[0] = 0;
    for (kk = 0; kk < npart; kk++) {
        weight[kk] = tab[mask_idx[kk]];
        before[kk + 1] = before[kk] + mask_idx[kk];
    }
    for (b = 0; b < npart; b += 8) {
        struct maskees groups[2];
        int     k;
        for (k = 0; k < 2; k++) {
            struct maskees *const m = &groups[k];
            int     deltas[4] = { 0, 0, 0, 0 };
            int     from = 0, to = -1;

            m->b = b + 4 * k;
            if (m->b < npart)
                reach_of_four((int (*)[2]) gd->s3ind, npart, m->b, &from, &to);
            for (i = m->b; i < m->b + 4 && i < npart; i++) {
                int const count = gd->s3ind[i][1] - gd->s3ind[i][0] + 1;
                int const dd = before[gd->s3ind[i][1] + 1] - before[gd->s3ind[i][0]];
                average[i] = tab[(1 + 2 * dd) / (2 * count)] * 0.5f;
                deltas[i - m->b] = mask_add_delta(mask_idx[i]);
            }
            m->s3 = s3;
            m->masker = from;
            m->near = Min(to + 1, Max(from, m->b - 2));
            m->far = Min(to + 1, m->b + 6);
            m->end = to + 1;
            m->delta = wasm_v128_load(deltas);
            m->sum = wasm_f32x4_const_splat(0);
            s3 += 4 * (to + 1 - from);
        }
#define TAKE(take, to) { \
            while (groups[0].masker < groups[0].to && groups[1].masker < groups[1].to) { \
                take(&groups[0], eb, weight); \
                take(&groups[1], eb, weight); \
            } \
            for (k = 0; k < 2; k++) \
                while (groups[k].masker < groups[k].to) \
                    take(&groups[k], eb, weight); \
        }
        TAKE(take_far, near)
        TAKE(take_near, far)
        TAKE(take_far, end)
#undef TAKE
        wasm_v128_store(&masking[b], groups[0].sum);
        wasm_v128_store(&masking[b + 4], groups[1].sum);
    }
}

/*
 * The threshold of a partition is no higher than its masking, than what its loudest line allows (otherwise tonal sounds
 * are distorted), and than its energy.
 */
static inline FLOAT
limited(PsyConst_CB2SB_t const *gd, int b, FLOAT thr, FLOAT max, FLOAT average, FLOAT eb, FLOAT lower)
{
    FLOAT const masking_lower = gd->masking_lower[b] * lower;
    FLOAT   x = max;
    x *= gd->minval[b];
    x *= average;
    thr = thr > x ? x : thr;
    thr = masking_lower > 1 ? thr * masking_lower : thr;
    thr = thr > eb ? eb : thr;
    return masking_lower < 1 ? thr * masking_lower : thr;
}

static void
vbrpsy_compute_masking_l(lame_internal_flags * gfc, const FLOAT fftenergy[HBLKSIZE],
                         FLOAT eb_l[CBANDS], FLOAT thr[CBANDS], int chn)
{
    PsyStateVar_t *const psv = &gfc->sv_psy;
    PsyConst_CB2SB_t const *const gdl = &gfc->cd_psy->l;
    FLOAT const lower = gfc->sv_qnt.masking_lower;
    int const old = psv->blocktype_old[chn & 0x01];
    FLOAT   max[CBANDS], avg[CBANDS], average[CBANDS], masking[CBANDS];
    unsigned char mask_idx_l[CBANDS + 2];
    int     b;

    calc_energy(gdl, fftenergy, eb_l, max, avg);
    calc_mask_index_l(gfc, max, avg, mask_idx_l);
    spread(gdl, eb_l, mask_idx_l, masking, average);

    for (b = 0; b < gdl->npart; b++) {
        FLOAT const ecb = masking[b] * average[b];
        FLOAT const limit_1 = rpelev * psv->nb_l1[chn][b];
        FLOAT const limit_2 = rpelev2 * psv->nb_l2[chn][b];
        FLOAT   t;

        if (old == SHORT_TYPE) {
            if (limit_1 > 0)
                t = Min(ecb, limit_1);
            else
                t = Min(ecb, eb_l[b] * NS_PREECHO_ATT2);
        }
        else {
            FLOAT const first = limit_1 <= 0 ? ecb : limit_1;
            FLOAT const second = limit_2 <= 0 ? ecb : limit_2;
            FLOAT const limit = old == NORM_TYPE ? Min(first, second) : first;
            t = Min(ecb, limit);
        }
        psv->nb_l2[chn][b] = psv->nb_l1[chn][b];
        psv->nb_l1[chn][b] = ecb;
        thr[b] = limited(gdl, b, t, max[b], average[b], eb_l[b], lower);
    }
    for (; b < CBANDS; ++b) {
        eb_l[b] = 0;
        thr[b] = 0;
    }
}

static void
vbrpsy_compute_masking_s(lame_internal_flags * gfc, const FLOAT(*fftenergy_s)[HBLKSIZE_s],
                         FLOAT * eb, FLOAT * thr, int chn, int sblock)
{
    PsyStateVar_t *const psv = &gfc->sv_psy;
    PsyConst_CB2SB_t const *const gds = &gfc->cd_psy->s;
    FLOAT const lower = gfc->sv_qnt.masking_lower;
    FLOAT   max[CBANDS], avg[CBANDS], average[CBANDS], masking[CBANDS];
    unsigned char mask_idx_s[CBANDS];
    int     b;

    memset(max, 0, sizeof(max));
    memset(avg, 0, sizeof(avg));
    calc_energy(gds, fftenergy_s[sblock], eb, max, avg);
    vbrpsy_calc_mask_index_s(gfc, max, avg, mask_idx_s);
    spread(gds, eb, mask_idx_s, masking, average);

    for (b = 0; b < gds->npart; b++) {
        FLOAT const ecb = masking[b] * average[b];
        psv->nb_s2[chn][b] = psv->nb_s1[chn][b];
        psv->nb_s1[chn][b] = ecb;
        thr[b] = limited(gds, b, ecb, max[b], average[b], eb[b], lower);
    }
    for (; b < CBANDS; ++b) {
        eb[b] = 0;
        thr[b] = 0;
    }
}
