/*
 * The detection of attacks, with SIMD.
 *
 * In place of, in psymodel.c: vbrpsy_attack_detection
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
#pragma clang loop unroll_count(4)
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
