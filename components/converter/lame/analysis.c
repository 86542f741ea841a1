/*
 * The psychoacoustic analysis of a granule with SIMD: left, right, mid and side side by side.
 *
 * In place of, in psymodel.c: L3psycho_anal_vbr
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

/* Energies and thresholds of partitions, to those of scale factor bands: of each band, the energy and the threshold. */
static __attribute__((noinline)) void
partitions_to_bands(PsyConst_CB2SB_t const *gd, v128_t const *eb, v128_t const *thr, v128_t (*bands)[2])
{
    int const npart = gd->npart, n = gd->n_sb;
    v128_t  enn = wasm_f32x4_const_splat(0), thmm = enn;
    int     sb, b;

    for (sb = b = 0; sb < n; b++, sb++) {
        int const b_lim = Min(gd->bo[sb], npart);
        for (; b < b_lim; b++) {
            enn = wasm_f32x4_add(enn, eb[b]);
            thmm = wasm_f32x4_add(thmm, thr[b]);
        }
        if (b >= npart) {
            bands[sb][0] = enn;
            bands[sb][1] = thmm;
            ++sb;
            break;
        }
        {
            /* at transition sfb -> sfb+1 */
            v128_t const w_curr = wasm_f32x4_splat(gd->bo_weight[sb]);
            v128_t const w_next = wasm_f32x4_splat(1.0f - gd->bo_weight[sb]);
            bands[sb][0] = wasm_f32x4_add(enn, wasm_f32x4_mul(w_curr, eb[b]));
            bands[sb][1] = wasm_f32x4_add(thmm, wasm_f32x4_mul(w_curr, thr[b]));
            enn = wasm_f32x4_mul(w_next, eb[b]);
            thmm = wasm_f32x4_mul(w_next, thr[b]);
        }
    }
    /* zero initialize the rest */
    for (; sb < n; ++sb)
        bands[sb][0] = bands[sb][1] = wasm_f32x4_const_splat(0);
}

#define OF(v, chn) (((FLOAT const *) &(v))[chn])

/* The bands of long blocks, and those of short blocks as the long ones let expect them. */
static __attribute__((noinline)) void
bands_of_long(lame_internal_flags * gfc, int n_chn, v128_t const *eb, v128_t const *thr)
{
    PsyStateVar_t *const psv = &gfc->sv_psy;
    v128_t  bands[SBMAX_l][2];
    int     chn, sb, sblock;

    partitions_to_bands(&gfc->cd_psy->l, eb, thr, bands);
    for (chn = 0; chn < n_chn; chn++)
        for (sb = 0; sb < SBMAX_l; sb++) {
            psv->en[chn].l[sb] = OF(bands[sb][0], chn);
            psv->thm[chn].l[sb] = OF(bands[sb][1], chn);
        }
    partitions_to_bands(&gfc->cd_psy->l_to_s, eb, thr, bands);
    for (sb = 0; sb < SBMAX_s; sb++)
        bands[sb][1] = wasm_f32x4_mul(bands[sb][1], wasm_f32x4_const_splat(1. / 64.f));
    for (chn = 0; chn < n_chn; chn++)
        for (sb = 0; sb < SBMAX_s; sb++)
#pragma clang loop unroll(full)
            for (sblock = 0; sblock < 3; sblock++) {
                psv->en[chn].s[sb][sblock] = OF(bands[sb][0], chn);
                psv->thm[chn].s[sb][sblock] = OF(bands[sb][1], chn);
            }
}

/* The thresholds of mid and side, from those of all four. */
static void
thresholds_of_ms(lame_internal_flags const *gfc, PsyConst_CB2SB_t const *gd, FLOAT const *ath_cb, FLOAT athlower,
                 v128_t const *eb, v128_t *thr)
{
    FLOAT   energies[4][CBANDS], thresholds[4][CBANDS];
    v128_t  four[4];
    int     b, i;

    for (b = 0; b < CBANDS; b += 4) {
        four[0] = eb[b], four[1] = eb[b + 1], four[2] = eb[b + 2], four[3] = eb[b + 3];
        transpose(&four[0], &four[1], &four[2], &four[3]);
        wasm_v128_store(&energies[2][b], four[2]);
        wasm_v128_store(&energies[3][b], four[3]);
        four[0] = thr[b], four[1] = thr[b + 1], four[2] = thr[b + 2], four[3] = thr[b + 3];
        transpose(&four[0], &four[1], &four[2], &four[3]);
        for (i = 0; i < 4; i++)
            wasm_v128_store(&thresholds[i][b], four[i]);
    }
    vbrpsy_compute_MS_thresholds((const FLOAT (*)[CBANDS]) energies, thresholds, gd->mld_cb, ath_cb, athlower,
                                 gfc->cfg.msfix, gd->npart);
    for (b = 0; b < CBANDS; b += 4) {
        for (i = 0; i < 4; i++)
            four[i] = wasm_v128_load(&thresholds[i][b]);
        transpose(&four[0], &four[1], &four[2], &four[3]);
        thr[b] = four[0], thr[b + 1] = four[1], thr[b + 2] = four[2], thr[b + 3] = four[3];
    }
}

/* The bands of short blocks where there are some. */
static void
analyse_short(lame_internal_flags * gfc, const sample_t * const buffer[2], int n_chn, int const uselongblock[2],
              FLOAT ath_factor)
{
    PsyStateVar_t *const psv = &gfc->sv_psy;
    PsyConst_CB2SB_t const *const gd = &gfc->cd_psy->s;
    int const force = gfc->cd_psy->force_short_block_calc;
    FLOAT   w[2][3][BLKSIZE_s];
    struct partitions p;
    v128_t  thr[CBANDS], bands[SBMAX_s][2];
    int     chn, sb, sblock;

    for (chn = 0; chn < n_chn && chn < 2; chn++)
        fft_short(gfc, w[chn], chn, buffer);
    for (sblock = 0; sblock < 3; sblock++) {
        transform_s(gfc, (const FLOAT (*)[3][BLKSIZE_s]) w, sblock, n_chn, &p);
        thresholds_s(gfc, &p, thr);
        if (gfc->cfg.mode == JOINT_STEREO && uselongblock[0] + uselongblock[1] == 0)
            thresholds_of_ms(gfc, gd, gfc->ATH->cb_s, ath_factor, p.eb, thr);
        partitions_to_bands(gd, p.eb, thr, bands);
        for (chn = 0; chn < n_chn; chn++) {
            if (uselongblock[chn & 1] && !force)
                continue;
            for (sb = 0; sb < SBMAX_s; sb++) {
                psv->en[chn].s[sb][sblock] = OF(bands[sb][0], chn);
                psv->thm[chn].s[sb][sblock] = OF(bands[sb][1], chn);
            }
        }
    }
}

#undef OF

/* short block pre-echo control, of a channel */
static void
limit_pre_echo(PsyStateVar_t * psv, int chn, int const ns_attacks[4], FLOAT const sub_short_factor[3],
               III_psy_xmin const *last_thm)
{
    FLOAT const pcfact = 0.6f;
    FLOAT   thmm;
    int     sb, sblock;

    if (ns_attacks[0] + ns_attacks[1] + ns_attacks[2] + ns_attacks[3] == 0 && psv->last_attacks[chn] != 3) {
        for (sb = 0; sb < SBMAX_s; sb++)
#pragma clang loop unroll(full)
            for (sblock = 0; sblock < 3; sblock++) {
                thmm = psv->thm[chn].s[sb][sblock];
                thmm *= NS_PREECHO_ATT0;
                thmm *= sub_short_factor[sblock];
                psv->thm[chn].s[sb][sblock] = thmm;
            }
        return;
    }
    for (sb = 0; sb < SBMAX_s; sb++) {
        FLOAT   new_thmm[3], prev_thm, t1, t2;
        for (sblock = 0; sblock < 3; sblock++) {
            thmm = psv->thm[chn].s[sb][sblock];
            thmm *= NS_PREECHO_ATT0;

            t1 = t2 = thmm;

            if (sblock > 0) {
                prev_thm = new_thmm[sblock - 1];
            }
            else {
                prev_thm = last_thm->s[sb][2];
            }
            if (ns_attacks[sblock] >= 2 || ns_attacks[sblock + 1] == 1) {
                t1 = NS_INTERP(prev_thm, thmm, NS_PREECHO_ATT1 * pcfact);
            }
            thmm = Min(t1, thmm);
            if (ns_attacks[sblock] == 1) {
                t2 = NS_INTERP(prev_thm, thmm, NS_PREECHO_ATT2 * pcfact);
            }
            else if ((sblock == 0 && psv->last_attacks[chn] == 3)
                     || (sblock > 0 && ns_attacks[sblock - 1] == 3)) { /* 2nd preceeding block */
                switch (sblock) {
                case 0:
                    prev_thm = last_thm->s[sb][1];
                    break;
                case 1:
                    prev_thm = last_thm->s[sb][2];
                    break;
                case 2:
                    prev_thm = new_thmm[0];
                    break;
                }
                t2 = NS_INTERP(prev_thm, thmm, NS_PREECHO_ATT2 * pcfact);
            }

            thmm = Min(t1, thmm);
            thmm = Min(t2, thmm);

            /* pulse like signal detection for fatboy.wav and so on */
            thmm *= sub_short_factor[sblock];

            new_thmm[sblock] = thmm;
        }
        for (sblock = 0; sblock < 3; sblock++) {
            psv->thm[chn].s[sb][sblock] = new_thmm[sblock];
        }
    }
}

int
L3psycho_anal_vbr(lame_internal_flags * gfc,
                  const sample_t * const buffer[2], int gr_out,
                  III_psy_ratio masking_ratio[2][2],
                  III_psy_ratio masking_MS_ratio[2][2],
                  FLOAT percep_entropy[2], FLOAT percep_MS_entropy[2],
                  FLOAT energy[4], int blocktype_d[2])
{
    SessionConfig_t const *const cfg = &gfc->cfg;
    PsyStateVar_t *const psv = &gfc->sv_psy;
    plotting_data *plt = cfg->analysis ? gfc->pinfo : 0;

    III_psy_xmin last_thm[4];
    FLOAT   sub_short_factor[4][3];
    FLOAT const ath_factor =
        (cfg->msfix > 0.f) ? (cfg->ATH_offset_factor * gfc->ATH->adjust_factor) : 1.f;

    /* block type  */
    int     ns_attacks[4][4] = { {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0} };
    int     uselongblock[2];

    int     chn;

    /* chn=2 and 3 = Mid and Side channels */
    int const n_chn_psy = (cfg->mode == JOINT_STEREO) ? 4 : cfg->channels_out;

    memcpy(&last_thm[0], &psv->thm[0], sizeof(last_thm));

    vbrpsy_attack_detection(gfc, buffer, gr_out, masking_ratio, masking_MS_ratio, energy,
                            sub_short_factor, ns_attacks, uselongblock);

    vbrpsy_compute_block_type(cfg, uselongblock);

    /* LONG BLOCK CASE */
    {
        struct partitions p;
        v128_t  thr[CBANDS];
        transform_l(gfc, buffer, n_chn_psy, gr_out, &p);
        thresholds_l(gfc, &p, thr);
        if (cfg->mode == JOINT_STEREO && uselongblock[0] + uselongblock[1] == 2)
            thresholds_of_ms(gfc, &gfc->cd_psy->l, gfc->ATH->cb_l, ath_factor, p.eb, thr);
        bands_of_long(gfc, n_chn_psy, p.eb, thr);
    }
    /* SHORT BLOCKS CASE */
    if (gfc->cd_psy->force_short_block_calc || !uselongblock[0] || (n_chn_psy > 1 && !uselongblock[1]))
        analyse_short(gfc, buffer, n_chn_psy, uselongblock, ath_factor);

    for (chn = 0; chn < n_chn_psy; chn++)
        limit_pre_echo(psv, chn, ns_attacks[chn], sub_short_factor[chn], &last_thm[chn]);
    for (chn = 0; chn < n_chn_psy; chn++) {
        psv->last_attacks[chn] = ns_attacks[chn][2];
    }

    /*************************************************************** 
    * determine final block type
    ***************************************************************/
    vbrpsy_apply_block_type(psv, cfg->channels_out, uselongblock, blocktype_d);

    /*********************************************************************
    * compute the value of PE to return ... no delay and advance
    *********************************************************************/
    for (chn = 0; chn < n_chn_psy; chn++) {
        FLOAT  *ppe;
        int     type;
        III_psy_ratio const *mr;

        if (chn > 1) {
            ppe = percep_MS_entropy - 2;
            type = NORM_TYPE;
            if (blocktype_d[0] == SHORT_TYPE || blocktype_d[1] == SHORT_TYPE)
                type = SHORT_TYPE;
            mr = &masking_MS_ratio[gr_out][chn - 2];
        }
        else {
            ppe = percep_entropy;
            type = blocktype_d[chn];
            mr = &masking_ratio[gr_out][chn];
        }
        if (type == SHORT_TYPE) {
            ppe[chn] = pecalc_s(mr, gfc->sv_qnt.masking_lower);
        }
        else {
            ppe[chn] = pecalc_l(mr, gfc->sv_qnt.masking_lower);
        }

        if (plt) {
            plt->pe[gr_out][chn] = ppe[chn];
        }
    }
    return 0;
}
