/*
 * Energies of the spectrum and of short times, with SIMD.
 *
 * In place of, in psymodel.c: calc_energy vbrpsy_compute_fft_l vbrpsy_compute_loudness_approximation_l vbrpsy_attack_detection
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

/* The sum of some lines and the greatest of them, while they are added up. */
struct partition {
    FLOAT const *lines;
    int     left;
    FLOAT   sum;
    v128_t  most;
};

static inline void
take_four(struct partition *p)
{
    v128_t const four = wasm_v128_load(p->lines);
    p->sum = add_lanes(p->sum, four);
    p->most = wasm_f32x4_pmax(p->most, four);
    p->lines += 4;
    p->left -= 4;
}

static inline void
take_rest(struct partition *p)
{
    while (p->left >= 4)
        take_four(p);
    for (; p->left > 0; p->left--, p->lines++) {
        p->sum += *p->lines;
        p->most = wasm_f32x4_pmax(p->most, wasm_v128_load32_zero(p->lines));
    }
}

/*
 * Of each partition, the sum, the maximum and the mean. Each addition waits for the one before, so two partitions take
 * turns.
 */
static void
calc_energy(PsyConst_CB2SB_t const *l, FLOAT const *fftenergy, FLOAT * eb, FLOAT * max, FLOAT * avg)
{
    int     b, i;

    for (b = 0; b < l->npart; b += 2) {
        int const n = l->numlines[b], next = b + 1 < l->npart ? l->numlines[b + 1] : 0;
        struct partition two[2] = { {fftenergy, n, 0}, {fftenergy + n, next, 0} };
        while (two[0].left >= 4 && two[1].left >= 4) {
            take_four(&two[0]);
            take_four(&two[1]);
        }
        for (i = 0; i < 2 && b + i < l->npart; i++) {
            take_rest(&two[i]);
            eb[b + i] = two[i].sum;
            max[b + i] = greatest_of(two[i].most);
            avg[b + i] = two[i].sum * l->rnumlines[b + i];
        }
        fftenergy += n + next;
    }
}

/* Done where the energies are. */
static void
vbrpsy_compute_loudness_approximation_l(lame_internal_flags * gfc, int gr_out, int chn,
                                        const FLOAT fftenergy[HBLKSIZE])
{
}

/*
 * The energies of all lines, their sum, and for the left and the right channel the approximation of the loudness.
 */
static void
vbrpsy_compute_fft_l(lame_internal_flags * gfc, const sample_t * const buffer[2], int chn,
                     int gr_out, FLOAT fftenergy[HBLKSIZE], FLOAT(*wsamp_l)[BLKSIZE])
{
    SessionConfig_t const *const cfg = &gfc->cfg;
    PsyStateVar_t *psv = &gfc->sv_psy;
    plotting_data *plt = cfg->analysis ? gfc->pinfo : 0;
    FLOAT const *const eql_w = gfc->ATH->eql_w;
    FLOAT const *const w = *wsamp_l;
    FLOAT   total = 0.0f, loudness = 0.0f;
    int     j;

    if (chn < 2) {
        fft_long(gfc, *wsamp_l, chn, buffer);
    }
    else if (chn == 2) {
        v128_t const sqrt2_half = wasm_f32x4_splat(SQRT2 * 0.5f);
        /* FFT data for mid and side channel is derived from L & R */
        for (j = 0; j < BLKSIZE; j += 4) {
            v128_t const l = wasm_v128_load(&wsamp_l[0][j]), r = wasm_v128_load(&wsamp_l[1][j]);
            wasm_v128_store(&wsamp_l[0][j], wasm_f32x4_mul(wasm_f32x4_add(l, r), sqrt2_half));
            wasm_v128_store(&wsamp_l[1][j], wasm_f32x4_mul(wasm_f32x4_sub(l, r), sqrt2_half));
        }
    }

    fftenergy[0] = w[0] * w[0];
    for (j = 1; j < HBLKSIZE; j += 4) {
        v128_t const re = wasm_v128_load(&w[j]), im = reversed(wasm_v128_load(&w[BLKSIZE - 3 - j]));
        v128_t const sum = wasm_f32x4_add(wasm_f32x4_mul(re, re), wasm_f32x4_mul(im, im));
        wasm_v128_store(&fftenergy[j], wasm_f32x4_mul(sum, wasm_f32x4_const_splat(0.5f)));
    }
    /* Two chains of additions, each of which waits for the one before. */
    for (j = 0; j < BLKSIZE / 2; j += 4) {
        v128_t const four = wasm_v128_load(&fftenergy[j]);
        v128_t const weighted = wasm_f32x4_mul(four, wasm_v128_load(&eql_w[j]));
        loudness = add_lanes(loudness, weighted);
        if (j >= 12)
            total = add_lanes(total, four);
        else if (j == 8)
            total = fftenergy[11];
    }
    psv->tot_ener[chn] = total + fftenergy[BLKSIZE / 2];
    if (chn < 2) {      /*no loudness for mid/side ch */
        gfc->ov_psy.loudness_sq[gr_out][chn] = psv->loudness_sq_save[chn];
        psv->loudness_sq_save[chn] = loudness * VO_SCALE;
    }

    if (plt) {
        for (j = 0; j < HBLKSIZE; j++) {
            plt->energy[gr_out][chn][j] = plt->energy_save[chn][j];
            plt->energy_save[chn][j] = fftenergy[j];
        }
    }
}

/* The greatest of n magnitudes, a multiple of 8, and of 0 or what else is given. */
static inline v128_t
greatest_magnitudes(FLOAT const *x, int n, v128_t most)
{
    v128_t  other = most;
    int     i;
    for (i = 0; i < n; i += 8) {
        most = wasm_f32x4_pmax(most, wasm_f32x4_abs(wasm_v128_load(x + i)));
        other = wasm_f32x4_pmax(other, wasm_f32x4_abs(wasm_v128_load(x + i + 4)));
    }
    return wasm_f32x4_pmax(most, other);
}

/*
 * The samples through a high pass of a fourth of the sampling rate. Its even coefficients but for the middle are all but
 * 0: what they give is lost in rounding where the middle sample is no smaller than 2^-26 of the greatest one.
 */
static void
high_passed(const sample_t * firbuf, FLOAT * out)
{
    static const FLOAT fircoef[] = {
        -8.65163e-18 * 2, -0.00851586 * 2, -6.74764e-18 * 2, 0.0209036 * 2,
        -3.36639e-17 * 2, -0.0438162 * 2, -1.54175e-17 * 2, 0.0931738 * 2,
        -5.52212e-17 * 2, -0.313819 * 2
    };
    v128_t const least = wasm_f32x4_splat(greatest_of(
            greatest_magnitudes(firbuf, 576 + NSFIRLEN + 3, wasm_f32x4_const_splat(0))) * 0x1p-26f);
    int     i;
    for (i = 0; i < 576; i += 4) {
        v128_t  sum1 = wasm_v128_load(&firbuf[i + 10]), sum2;
#define PRODUCT(j) wasm_f32x4_mul(wasm_f32x4_splat(fircoef[j]), \
                        wasm_f32x4_add(wasm_v128_load(&firbuf[i + j]), wasm_v128_load(&firbuf[i + NSFIRLEN - j])))
#define TAP(sum, j) sum = wasm_f32x4_add(sum, PRODUCT(j))
        if (__builtin_expect(!wasm_i32x4_all_true(wasm_f32x4_ge(wasm_f32x4_abs(sum1), least)), 0)) {
            TAP(sum1, 0); TAP(sum1, 2); TAP(sum1, 4); TAP(sum1, 6); TAP(sum1, 8);
        }
        sum2 = PRODUCT(1); TAP(sum2, 3); TAP(sum2, 5); TAP(sum2, 7); TAP(sum2, 9);
#undef TAP
#undef PRODUCT
        wasm_v128_store(&out[i], wasm_f32x4_add(sum1, sum2));
    }
}

/* The greatest of 64 magnitudes, or 1. */
static FLOAT
peak(FLOAT const *x)
{
    return greatest_of(greatest_magnitudes(x, 576 / 9, wasm_f32x4_const_splat(1)));
}

static void
vbrpsy_attack_detection(lame_internal_flags * gfc, const sample_t * const buffer[2], int gr_out,
                        III_psy_ratio masking_ratio[2][2], III_psy_ratio masking_MS_ratio[2][2],
                        FLOAT energy[4], FLOAT sub_short_factor[4][3], int ns_attacks[4][4],
                        int uselongblock[2])
{
    FLOAT   ns_hpfsmpl[2][576];
    SessionConfig_t const *const cfg = &gfc->cfg;
    PsyStateVar_t *const psv = &gfc->sv_psy;
    plotting_data *plt = cfg->analysis ? gfc->pinfo : 0;
    int const n_chn_out = cfg->channels_out;
    /* chn=2 and 3 = Mid and Side channels */
    int const n_chn_psy = (cfg->mode == JOINT_STEREO) ? 4 : n_chn_out;
    int     chn, i;

    for (chn = 0; chn < n_chn_out; chn++) {
        high_passed(&buffer[chn][576 - 350 - NSFIRLEN + 192], ns_hpfsmpl[chn]);
        masking_ratio[gr_out][chn].en = psv->en[chn];
        masking_ratio[gr_out][chn].thm = psv->thm[chn];
        if (n_chn_psy > 2) {
            /* MS maskings  */
            /*percep_MS_entropy         [chn-2]     = gfc -> pe  [chn];  */
            masking_MS_ratio[gr_out][chn].en = psv->en[chn + 2];
            masking_MS_ratio[gr_out][chn].thm = psv->thm[chn + 2];
        }
    }
    for (chn = 0; chn < n_chn_psy; chn++) {
        FLOAT   attack_intensity[12];
        FLOAT   en_subshort[12];
        FLOAT   en_short[4] = { 0, 0, 0, 0 };
        FLOAT const *pf = ns_hpfsmpl[chn & 1];
        int     ns_uselongblock = 1;

        if (chn == 2) {
            for (i = 0; i < 576; i += 4) {
                v128_t const l = wasm_v128_load(&ns_hpfsmpl[0][i]), r = wasm_v128_load(&ns_hpfsmpl[1][i]);
                wasm_v128_store(&ns_hpfsmpl[0][i], wasm_f32x4_add(l, r));
                wasm_v128_store(&ns_hpfsmpl[1][i], wasm_f32x4_sub(l, r));
            }
        }
        /*************************************************************** 
        * determine the block type (window type)
        ***************************************************************/
        /* calculate energies of each sub-shortblocks */
        for (i = 0; i < 3; i++) {
            en_subshort[i] = psv->last_en_subshort[chn][i + 6];
            assert(psv->last_en_subshort[chn][i + 4] > 0);
            attack_intensity[i] = en_subshort[i] / psv->last_en_subshort[chn][i + 4];
            en_short[0] += en_subshort[i];
        }

        for (i = 0; i < 9; i++) {
            FLOAT   p = peak(pf);
            pf += 576 / 9;
            psv->last_en_subshort[chn][i] = en_subshort[i + 3] = p;
            en_short[1 + i / 3] += p;
            if (p > en_subshort[i + 3 - 2]) {
                assert(en_subshort[i + 3 - 2] > 0);
                p = p / en_subshort[i + 3 - 2];
            }
            else if (en_subshort[i + 3 - 2] > p * 10.0f) {
                assert(p > 0);
                p = en_subshort[i + 3 - 2] / (p * 10.0f);
            }
            else {
                p = 0.0;
            }
            attack_intensity[i + 3] = p;
        }

        /* pulse like signal detection for fatboy.wav and so on */
        for (i = 0; i < 3; ++i) {
            FLOAT const enn =
                en_subshort[i * 3 + 3] + en_subshort[i * 3 + 4] + en_subshort[i * 3 + 5];
            FLOAT   factor = 1.f;
            if (en_subshort[i * 3 + 5] * 6 < enn) {
                factor *= 0.5f;
                if (en_subshort[i * 3 + 4] * 6 < enn) {
                    factor *= 0.5f;
                }
            }
            sub_short_factor[chn][i] = factor;
        }

        if (plt) {
            FLOAT   x = attack_intensity[0];
            for (i = 1; i < 12; i++) {
                if (x < attack_intensity[i]) {
                    x = attack_intensity[i];
                }
            }
            plt->ers[gr_out][chn] = plt->ers_save[chn];
            plt->ers_save[chn] = x;
        }

        /* compare energies between sub-shortblocks */
        {
            FLOAT   x = gfc->cd_psy->attack_threshold[chn];
            for (i = 0; i < 12; i++) {
                if (ns_attacks[chn][i / 3] == 0) {
                    if (attack_intensity[i] > x) {
                        ns_attacks[chn][i / 3] = (i % 3) + 1;
                    }
                }
            }
        }
        /* should have energy change between short blocks, in order to avoid periodic signals */
        /* Good samples to show the effect are Trumpet test songs */
        /* GB: tuned (1) to avoid too many short blocks for test sample TRUMPET */
        /* RH: tuned (2) to let enough short blocks through for test sample FSOL and SNAPS */
        for (i = 1; i < 4; i++) {
            FLOAT const u = en_short[i - 1];
            FLOAT const v = en_short[i];
            FLOAT const m = Max(u, v);
            if (m < 40000) { /* (2) */
                if (u < 1.7f * v && v < 1.7f * u) { /* (1) */
                    if (i == 1 && ns_attacks[chn][0] <= ns_attacks[chn][i]) {
                        ns_attacks[chn][0] = 0;
                    }
                    ns_attacks[chn][i] = 0;
                }
            }
        }

        if (ns_attacks[chn][0] <= psv->last_attacks[chn]) {
            ns_attacks[chn][0] = 0;
        }

        if (psv->last_attacks[chn] == 3 ||
            ns_attacks[chn][0] + ns_attacks[chn][1] + ns_attacks[chn][2] + ns_attacks[chn][3]) {
            ns_uselongblock = 0;

            if (ns_attacks[chn][1] && ns_attacks[chn][0]) {
                ns_attacks[chn][1] = 0;
            }
            if (ns_attacks[chn][2] && ns_attacks[chn][1]) {
                ns_attacks[chn][2] = 0;
            }
            if (ns_attacks[chn][3] && ns_attacks[chn][2]) {
                ns_attacks[chn][3] = 0;
            }
        }

        if (chn < 2) {
            uselongblock[chn] = ns_uselongblock;
        }
        else {
            if (ns_uselongblock == 0) {
                uselongblock[0] = uselongblock[1] = 0;
            }
        }

        /* there is a one granule delay.  Copy maskings computed last call
         * into masking_ratio to return to calling program.
         */
        energy[chn] = psv->tot_ener[chn];
    }
}
