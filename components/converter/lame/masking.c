/*
 * Masking thresholds with SIMD: left, right, mid and side side by side.
 *
 * In place of, in psymodel.c: init_s3_values calc_mask_index_l vbrpsy_calc_mask_index_s vbrpsy_compute_masking_l vbrpsy_compute_masking_s
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
 * Some are not near after all.
 */
static inline v128_t
add_near(v128_t m1, v128_t m2, v128_t near)
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
    v128_t const far = wasm_v128_bitselect(sum, larger, wasm_f32x4_lt(ratio, wasm_f32x4_splat(ma_max_i2)));
    v128_t  factor = wasm_f32x4_splat(1.33352 * 1.33352);
#define STEP(i) factor = wasm_v128_bitselect(wasm_f32x4_splat(steps[i].factor), factor, \
                                             wasm_f32x4_ge(ratio, wasm_f32x4_splat(steps[i].ratio)))
    STEP(0); STEP(1); STEP(2); STEP(3); STEP(4); STEP(5); STEP(6); STEP(7);
#undef STEP
    factor = wasm_v128_bitselect(sum, wasm_f32x4_mul(sum, factor),
                                 wasm_f32x4_ge(ratio, wasm_f32x4_splat(ma_max_i1)));
    factor = wasm_v128_bitselect(factor, larger, wasm_f32x4_gt(smaller, wasm_f32x4_const_splat(0)));
    return wasm_v128_bitselect(factor, far, near);
}

/* How tonal the partitions are, and what follows from it. */
struct tonality {
    v128_t  index[CBANDS], weight[CBANDS];
    /* By what the masking of those who reach the partition is multiplied. */
    v128_t  average[CBANDS];
};

/* The table `tab`. */
static inline v128_t
tab_of(v128_t index)
{
    v128_t  x = wasm_f32x4_splat(tab[0]);
#define STEP(i) x = wasm_v128_bitselect(wasm_f32x4_splat(tab[i]), x, \
                                        wasm_i32x4_gt(index, wasm_i32x4_const_splat((i) - 1)))
    STEP(1); STEP(2); STEP(7); STEP(8);
#undef STEP
    return x;
}

static __attribute__((noinline)) void
measure_tonality(PsyConst_CB2SB_t const *gd, struct partitions const *p, struct tonality *t)
{
    v128_t const none = wasm_f32x4_const_splat(0);
    v128_t const last_tab_entry = wasm_i32x4_splat(dimension_of(tab) - 1);
    int const npart = gd->npart;
    v128_t  before[CBANDS + 1];
    int     b;

    before[0] = none;
    for (b = 0; b < npart; b++) {
        int const first = b == 0, last = b == npart - 1;
        int const lines = (first ? 0 : gd->numlines[b - 1]) + gd->numlines[b] + (last ? 0 : gd->numlines[b + 1]) - 1;
        v128_t const times = wasm_f32x4_splat(first || last ? 2.0f : 3.0f);
        v128_t  a = p->avg[b], m = p->max[b], x;
        if (!first) {
            a = wasm_f32x4_add(p->avg[b - 1], a);
            m = wasm_f32x4_pmax(p->max[b - 1], m);
        }
        if (!last) {
            a = wasm_f32x4_add(a, p->avg[b + 1]);
            m = wasm_f32x4_pmax(m, p->max[b + 1]);
        }
        x = wasm_f32x4_mul(wasm_f32x4_const_splat(20), wasm_f32x4_sub(wasm_f32x4_mul(m, times), a));
        x = wasm_f32x4_div(x, wasm_f32x4_mul(a, wasm_f32x4_splat(lines)));
        x = wasm_i32x4_min(wasm_i32x4_trunc_sat_f32x4(x), last_tab_entry);
        x = wasm_v128_and(x, wasm_f32x4_gt(a, none));
        t->index[b] = x;
        t->weight[b] = tab_of(x);
        before[b + 1] = wasm_i32x4_add(before[b], x);
    }
    for (b = 0; b < npart; b++) {
        int const from = gd->s3ind[b][0], to = gd->s3ind[b][1] + 1;
        v128_t const dd = wasm_i32x4_sub(before[to], before[from]);
        v128_t const twice = wasm_i32x4_add(wasm_i32x4_add(dd, dd), wasm_i32x4_const_splat(1));
        /* Divided by twice their number. No quotient of an odd and a small even number is near the next integer. */
        v128_t const mean = wasm_i32x4_trunc_sat_f32x4(
                wasm_f32x4_mul(wasm_f32x4_convert_i32x4(twice), wasm_f32x4_splat(0.5f / (to - from))));
        t->average[b] = wasm_f32x4_mul(tab_of(mean), wasm_f32x4_const_splat(0.5f));
    }
}

/*
 * The energies convolved with the spreading function, to masking. Each addition waits for a division in the one before,
 * so four partitions take turns.
 */
static __attribute__((noinline)) void
spread(PsyConst_CB2SB_t const *gd, v128_t const *eb, struct tonality const *t, v128_t * masking)
{
    int const npart = gd->npart;
    FLOAT const *s3 = gd->s3;
    int     b;

    for (b = 0; b < npart; b += 4) {
        v128_t  m[4], near[4][3];
        int     i, from, to, masker;

        reach_of_four((int (*)[2]) gd->s3ind, npart, b, &from, &to);
#pragma clang loop unroll(full)
        for (i = 0; i < 4; i++) {
            /* How far is near: mask_add_delta(index). */
            near[i][0] = wasm_i32x4_lt(t->index[b + i], wasm_i32x4_const_splat(8));
            near[i][1] = wasm_i32x4_lt(t->index[b + i], wasm_i32x4_const_splat(6));
            near[i][2] = wasm_i32x4_lt(t->index[b + i], wasm_i32x4_const_splat(3));
            m[i] = wasm_f32x4_const_splat(0);
        }
#define MASKING(i) wasm_f32x4_mul(wasm_f32x4_mul(wasm_v128_load32_splat(&s3[i]), eb[masker]), t->weight[masker])
#define FAR { \
            m[0] = add_far(m[0], MASKING(0)); \
            m[1] = add_far(m[1], MASKING(1)); \
            m[2] = add_far(m[2], MASKING(2)); \
            m[3] = add_far(m[3], MASKING(3)); \
            s3 += 4; \
        }
        for (masker = from; masker <= to && masker < b - 2; masker++)
            FAR
#define NEAR(i, distance) m[i] = (distance) > 2 ? add_far(m[i], MASKING(i)) \
            : add_near(m[i], MASKING(i), near[i][(distance) > 2 ? 0 : (distance)])
#define NEAR_FOUR(d0, d1, d2, d3) { \
            NEAR(0, d0); NEAR(1, d1); NEAR(2, d2); NEAR(3, d3); \
            s3 += 4; \
        }
#define AT(offset, d0, d1, d2, d3) \
        masker = b + (offset); \
        if (from <= masker && masker <= to) \
            NEAR_FOUR(d0, d1, d2, d3)
        AT(-2, 2, 3, 4, 5)
        AT(-1, 1, 2, 3, 4)
        AT(0, 0, 1, 2, 3)
        AT(1, 1, 0, 1, 2)
        AT(2, 2, 1, 0, 1)
        AT(3, 3, 2, 1, 0)
        AT(4, 4, 3, 2, 1)
        AT(5, 5, 4, 3, 2)
#undef AT
#undef NEAR_FOUR
#undef NEAR
        for (masker = Max(from, b + 6); masker <= to; masker++)
            FAR
#undef FAR
#undef MASKING
#pragma clang loop unroll(full)
        for (i = 0; i < 4; i++)
            masking[b + i] = m[i];
    }
}

/*
 * The threshold of a partition is no higher than its masking, than what its loudest line allows (otherwise tonal sounds
 * are distorted), and than its energy.
 */
static inline v128_t
limited(PsyConst_CB2SB_t const *gd, int b, v128_t thr, struct partitions const *p, struct tonality const *t, FLOAT lower)
{
    FLOAT const masking_lower = gd->masking_lower[b] * lower;
    v128_t const x = wasm_f32x4_mul(wasm_f32x4_mul(p->max[b], wasm_v128_load32_splat(&gd->minval[b])), t->average[b]);
    thr = wasm_f32x4_pmin(thr, x);
    thr = wasm_f32x4_mul(thr, wasm_f32x4_splat(masking_lower > 1 ? masking_lower : 1.0f));
    thr = wasm_f32x4_pmin(thr, p->eb[b]);
    return wasm_f32x4_mul(thr, wasm_f32x4_splat(masking_lower < 1 ? masking_lower : 1.0f));
}

/* The lanes of the channels of which the block before was of a type; mid and side go with left and right. */
static inline v128_t
of_type(PsyStateVar_t const *psv, int type)
{
    int const l = -(psv->blocktype_old[0] == type), r = -(psv->blocktype_old[1] == type);
    return wasm_i32x4_make(l, r, l, r);
}

/* The thresholds of long blocks. The state before lies partition by partition: v128_t[CBANDS] instead of [4][CBANDS]. */
static __attribute__((noinline)) void
thresholds_l(lame_internal_flags * gfc, struct partitions const *p, v128_t *thr)
{
    PsyStateVar_t *const psv = &gfc->sv_psy;
    PsyConst_CB2SB_t const *const gd = &gfc->cd_psy->l;
    FLOAT const lower = gfc->sv_qnt.masking_lower;
    v128_t const was_short = of_type(psv, SHORT_TYPE), was_norm = of_type(psv, NORM_TYPE);
    v128_t const none = wasm_f32x4_const_splat(0);
    struct tonality t;
    v128_t  masking[CBANDS];
    int     b;

    measure_tonality(gd, p, &t);
    spread(gd, p->eb, &t, masking);
    for (b = 0; b < gd->npart; b++) {
        FLOAT *const nb_1 = &psv->nb_l1[0][4 * b], *const nb_2 = &psv->nb_l2[0][4 * b];
        v128_t const ecb = wasm_f32x4_mul(masking[b], t.average[b]), before = wasm_v128_load(nb_1);
        v128_t const limit_1 = wasm_f32x4_mul(before, wasm_f32x4_const_splat(rpelev));
        v128_t const limit_2 = wasm_f32x4_mul(wasm_v128_load(nb_2), wasm_f32x4_const_splat(rpelev2));
        v128_t const unlimited_1 = wasm_f32x4_le(limit_1, none), unlimited_2 = wasm_f32x4_le(limit_2, none);
        v128_t const first = wasm_v128_bitselect(ecb, limit_1, unlimited_1);
        v128_t const second = wasm_v128_bitselect(ecb, limit_2, unlimited_2);
        v128_t  limit = wasm_v128_bitselect(wasm_f32x4_pmin(first, second), first, was_norm);
        if (wasm_v128_any_true(was_short))
            limit = wasm_v128_bitselect(times_double(p->eb[b], NS_PREECHO_ATT2), limit, wasm_v128_and(was_short, unlimited_1));
        wasm_v128_store(nb_2, before);
        wasm_v128_store(nb_1, ecb);
        thr[b] = limited(gd, b, wasm_f32x4_pmin(ecb, limit), p, &t, lower);
    }
    for (; b < CBANDS; ++b)
        thr[b] = none;
}

/* The thresholds of one short block. */
static __attribute__((noinline)) void
thresholds_s(lame_internal_flags * gfc, struct partitions const *p, v128_t *thr)
{
    PsyConst_CB2SB_t const *const gd = &gfc->cd_psy->s;
    FLOAT const lower = gfc->sv_qnt.masking_lower;
    struct tonality t;
    v128_t  masking[CBANDS];
    int     b;

    measure_tonality(gd, p, &t);
    spread(gd, p->eb, &t, masking);
    for (b = 0; b < gd->npart; b++)
        thr[b] = limited(gd, b, wasm_f32x4_mul(masking[b], t.average[b]), p, &t, lower);
    for (; b < CBANDS; ++b)
        thr[b] = wasm_f32x4_const_splat(0);
}
