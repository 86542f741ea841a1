/*
 * The search for a step size to start with, which counts no bits twice.
 *
 * In place of, in quantize.c: bin_search_StepSize
 *
 * Derived from LAME 3.100 (libmp3lame/quantize.c):
 * Copyright (c) 1999-2000 Mark Taylor, 1999-2003 Takehiro Tominaga, 2000-2011 Robert Hegemann, 2001-2005 Gabriel Bouvigne
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

/* All but the spectrum itself, which both have. */
static inline void
copy_quantization(gr_info * to, gr_info const *from)
{
    memcpy(to->l3_enc, from->l3_enc, sizeof(gr_info) - offsetof(gr_info, l3_enc));
}

/* Whether counting sets all that there is to set, whatever was there before. */
static int
sets_all(lame_internal_flags const *const gfc, gr_info const *const gi)
{
    return gi->block_type == NORM_TYPE
        && gi->big_values > gfc->scalefac_band.l[gi->region0_count + gi->region1_count + 2];
}

/* binary step size search: used by outer_loop to get a quantizer step size to start with */
static int
bin_search_StepSize(lame_internal_flags * const gfc, gr_info * const cod_info,
                    int desired_rate, const int ch, const FLOAT xrpow[576])
{
    int     nBits;
    int     CurrentStep = gfc->sv_qnt.CurrentStep[ch];
    int     flag_GoneOver = 0;
    int const start = gfc->sv_qnt.OldValue[ch];
    binsearchDirection_t Direction = BINSEARCH_NONE;
    gr_info coarser;
    int     coarser_bits = 0;
    coarser.global_gain = -1;
    cod_info->global_gain = start;
    desired_rate -= cod_info->part2_length;

    for (;;) {
        int     step;
        nBits = count_bits(gfc, xrpow, cod_info, 0);

        if (CurrentStep == 1 || nBits == desired_rate)
            break;      /* nothing to adjust anymore */

        if (nBits > desired_rate) {
            /* increase Quantize_StepSize */
            if (Direction == BINSEARCH_DOWN)
                flag_GoneOver = 1;

            if (flag_GoneOver)
                CurrentStep /= 2;
            Direction = BINSEARCH_UP;
            step = CurrentStep;
        }
        else {
            /* decrease Quantize_StepSize */
            if (Direction == BINSEARCH_UP)
                flag_GoneOver = 1;

            if (flag_GoneOver)
                CurrentStep /= 2;
            Direction = BINSEARCH_DOWN;
            step = -CurrentStep;
            if (step == -1 && sets_all(gfc, cod_info)) {
                /* This remains the best if the next one takes too many bits. */
                copy_quantization(&coarser, cod_info);
                coarser_bits = nBits;
            }
        }
        cod_info->global_gain += step;
        if (cod_info->global_gain < 0) {
            cod_info->global_gain = 0;
            flag_GoneOver = 1;
        }
        if (cod_info->global_gain > 255) {
            cod_info->global_gain = 255;
            flag_GoneOver = 1;
        }
    }

    if (nBits > desired_rate && coarser.global_gain == cod_info->global_gain + 1) {
        copy_quantization(cod_info, &coarser);
        nBits = coarser_bits;
    }
    while (nBits > desired_rate && cod_info->global_gain < 255) {
        cod_info->global_gain++;
        nBits = count_bits(gfc, xrpow, cod_info, 0);
    }
    gfc->sv_qnt.CurrentStep[ch] = (start - cod_info->global_gain >= 4) ? 4 : 2;
    gfc->sv_qnt.OldValue[ch] = cod_info->global_gain;
    cod_info->part2_3_length = nBits;
    return nBits;
}
