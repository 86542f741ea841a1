/*
 * The modified cosine transform with SIMD: four subbands at a time where blocks are long.
 *
 * In place of, in newmdct.c: mdct_sub48
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

/* LAME's mdct_long, of four subbands. */
static inline void
mdct_long_of_four(four * out, four const *in)
{
    four    ct, st;
    {
        four    tc1, tc2, tc3, tc4, ts5, ts6, ts7, ts8;
        /* 1,2, 5,6, 9,10, 13,14, 17 */
        tc1 = in[17] - in[9];
        tc3 = in[15] - in[11];
        tc4 = in[14] - in[12];
        ts5 = in[0] + in[8];
        ts6 = in[1] + in[7];
        ts7 = in[2] + in[6];
        ts8 = in[3] + in[5];

        out[17] = (ts5 + ts7 - ts8) - (ts6 - in[4]);
        st = (ts5 + ts7 - ts8) * cx[7] + (ts6 - in[4]);
        ct = (tc1 - tc3 - tc4) * cx[6];
        out[5] = ct + st;
        out[6] = ct - st;

        tc2 = (in[16] - in[10]) * cx[6];
        ts6 = ts6 * cx[7] + in[4];
        ct = tc1 * cx[0] + tc2 + tc3 * cx[1] + tc4 * cx[2];
        st = -ts5 * cx[4] + ts6 - ts7 * cx[5] + ts8 * cx[3];
        out[1] = ct + st;
        out[2] = ct - st;

        ct = tc1 * cx[1] - tc2 - tc3 * cx[2] + tc4 * cx[0];
        st = -ts5 * cx[5] + ts6 - ts7 * cx[3] + ts8 * cx[4];
        out[9] = ct + st;
        out[10] = ct - st;

        ct = tc1 * cx[2] - tc2 + tc3 * cx[0] - tc4 * cx[1];
        st = ts5 * cx[3] - ts6 + ts7 * cx[4] - ts8 * cx[5];
        out[13] = ct + st;
        out[14] = ct - st;
    }
    {
        four    ts1, ts2, ts3, ts4, tc5, tc6, tc7, tc8;

        ts1 = in[8] - in[0];
        ts3 = in[6] - in[2];
        ts4 = in[5] - in[3];
        tc5 = in[17] + in[9];
        tc6 = in[16] + in[10];
        tc7 = in[15] + in[11];
        tc8 = in[14] + in[12];

        out[0] = (tc5 + tc7 + tc8) + (tc6 + in[13]);
        ct = (tc5 + tc7 + tc8) * cx[7] - (tc6 + in[13]);
        st = (ts1 - ts3 + ts4) * cx[6];
        out[11] = ct + st;
        out[12] = ct - st;

        ts2 = (in[7] - in[1]) * cx[6];
        tc6 = in[13] - tc6 * cx[7];
        ct = tc5 * cx[3] - tc6 + tc7 * cx[4] + tc8 * cx[5];
        st = ts1 * cx[2] + ts2 + ts3 * cx[0] + ts4 * cx[1];
        out[3] = ct + st;
        out[4] = ct - st;

        ct = -tc5 * cx[5] + tc6 - tc7 * cx[3] - tc8 * cx[4];
        st = ts1 * cx[1] + ts2 - ts3 * cx[2] - ts4 * cx[0];
        out[7] = ct + st;
        out[8] = ct - st;

        ct = -tc5 * cx[4] + tc6 - tc7 * cx[5] - tc8 * cx[3];
        st = ts1 * cx[0] - ts2 + ts3 * cx[1] - ts4 * cx[2];
        out[15] = ct + st;
        out[16] = ct - st;
    }
}

/* A line of which the first eight mirror the last eight of the band before: the aliasing reduction butterfly. */
static inline void
reduce_aliasing(FLOAT * enc)
{
    int     k;
#pragma clang loop unroll(full)
    for (k = 0; k < 8; k += 4) {
        four const c_a = (four) wasm_v128_load(&ca[k]), c_s = (four) wasm_v128_load(&cs[k]);
        four const up = (four) wasm_v128_load(&enc[k]), down = (four) reversed(wasm_v128_load(&enc[-4 - k]));
        wasm_v128_store(&enc[-4 - k], reversed((v128_t) (up * c_a + down * c_s)));
        wasm_v128_store(&enc[k], (v128_t) (up * c_s - down * c_a));
    }
}

/* Four subbands; `before` and `now` are their samples in this block and the next. Those without amplitude become 0. */
static inline void
transform_four(FLOAT const *before, FLOAT * now, FLOAT const *amp_filter, FLOAT const *window, FLOAT * enc)
{
    four    work[18], out[18];
    v128_t const amplitude = wasm_v128_load(amp_filter);
    /* The greatest float below 1e-12. */
    v128_t const none = wasm_f32x4_le(amplitude, wasm_f32x4_const_splat(1e-12f));
    int     k;

    if (wasm_i32x4_all_true(none)) {
        memset(enc, 0, 4 * 18 * sizeof(FLOAT));
        return;
    }
    if (wasm_v128_any_true(wasm_v128_andnot(wasm_f32x4_lt(amplitude, wasm_f32x4_const_splat(1)), none))) {
        four const by = (four) wasm_v128_bitselect(
                wasm_f32x4_const_splat(1), wasm_f32x4_pmin(amplitude, wasm_f32x4_const_splat(1)), none);
        for (k = 0; k < 18; k++)
            wasm_v128_store(&now[32 * k], (v128_t) ((four) wasm_v128_load(&now[32 * k]) * by));
    }
#define BEFORE(k) ((four) wasm_v128_load(&before[32 * (k)]))
#define NOW(k) ((four) wasm_v128_load(&now[32 * (k)]))
#pragma clang loop unroll(full)
    for (k = 0; k < NL / 4; k++) {
        four const a = window[k + 18] * NOW(k) + window[k + 27] * NOW(17 - k);
        four const b = window[k] * BEFORE(k) - window[k + 9] * BEFORE(17 - k);
        work[k] = a - b * tantab_l[k];
        work[k + 9] = a * tantab_l[k] + b;
    }
#undef BEFORE
#undef NOW
    mdct_long_of_four(out, work);
    if (wasm_v128_any_true(none))
        for (k = 0; k < 18; k++)
            out[k] = (four) wasm_v128_andnot((v128_t) out[k], none);
#pragma clang loop unroll(full)
    for (k = 0; k < 16; k += 4) {
        transpose_four(&out[k], &out[k + 1], &out[k + 2], &out[k + 3]);
        wasm_v128_store(&enc[k], (v128_t) out[k]);
        wasm_v128_store(&enc[18 + k], (v128_t) out[k + 1]);
        wasm_v128_store(&enc[36 + k], (v128_t) out[k + 2]);
        wasm_v128_store(&enc[54 + k], (v128_t) out[k + 3]);
    }
    {
        v128_t const low = wasm_i32x4_shuffle((v128_t) out[16], (v128_t) out[17], 0, 4, 1, 5);
        v128_t const high = wasm_i32x4_shuffle((v128_t) out[16], (v128_t) out[17], 2, 6, 3, 7);
        wasm_v128_store64_lane(&enc[16], low, 0);
        wasm_v128_store64_lane(&enc[34], low, 1);
        wasm_v128_store64_lane(&enc[52], high, 0);
        wasm_v128_store64_lane(&enc[70], high, 1);
    }
}

static __attribute__((noinline)) void
transform_long(FLOAT const *before, FLOAT * now, FLOAT const *amp_filter, FLOAT const *window, FLOAT * enc)
{
    int     band;
#pragma clang loop unroll(disable)
    for (band = 0; band < 32; band += 4)
        transform_four(before + band, now + band, amp_filter + band, window, enc + 18 * band);
    for (band = 1; band < 32; band++)
        reduce_aliasing(enc + 18 * band);
}

/* All subbands of a block that is short, or partly so. */
static __attribute__((noinline)) void
transform_mixed(FLOAT const *before, FLOAT * now, FLOAT const *amp_filter, gr_info const *gi, FLOAT * mdct_enc)
{
    int     band, k;
    for (band = 0; band < 32; band++, mdct_enc += 18) {
        int const type = gi->mixed_block_flag && band < 2 ? 0 : gi->block_type;
        FLOAT const *const band0 = before + band;
        FLOAT  *const band1 = now + band;
        if (amp_filter[band] < 1e-12) {
            memset(mdct_enc, 0, 18 * sizeof(FLOAT));
        }
        else {
            if (amp_filter[band] < 1.0) {
                for (k = 0; k < 18; k++)
                    band1[k * 32] *= amp_filter[band];
            }
            if (type == SHORT_TYPE) {
                for (k = -NS / 4; k < 0; k++) {
                    FLOAT const w = win[SHORT_TYPE][k + 3];
                    mdct_enc[k * 3 + 9] = band0[(9 + k) * 32] * w - band0[(8 - k) * 32];
                    mdct_enc[k * 3 + 18] = band0[(14 - k) * 32] * w + band0[(15 + k) * 32];
                    mdct_enc[k * 3 + 10] = band0[(15 + k) * 32] * w - band0[(14 - k) * 32];
                    mdct_enc[k * 3 + 19] = band1[(2 - k) * 32] * w + band1[(3 + k) * 32];
                    mdct_enc[k * 3 + 11] = band1[(3 + k) * 32] * w - band1[(2 - k) * 32];
                    mdct_enc[k * 3 + 20] = band1[(8 - k) * 32] * w + band1[(9 + k) * 32];
                }
                mdct_short(mdct_enc);
            }
            else {
                FLOAT   work[18];
                for (k = -NL / 4; k < 0; k++) {
                    FLOAT   a, b;
                    a = win[type][k + 27] * band1[(k + 9) * 32]
                        + win[type][k + 36] * band1[(8 - k) * 32];
                    b = win[type][k + 9] * band0[(k + 9) * 32]
                        - win[type][k + 18] * band0[(8 - k) * 32];
                    work[k + 9] = a - b * tantab_l[k + 9];
                    work[k + 18] = a * tantab_l[k + 9] + b;
                }

                mdct_long(mdct_enc, work);
            }
        }
        if (type != SHORT_TYPE && band != 0)
            reduce_aliasing(mdct_enc);
    }
}

void
mdct_sub48(lame_internal_flags * gfc, const sample_t * w0, const sample_t * w1)
{
    SessionConfig_t const *const cfg = &gfc->cfg;
    EncStateVar_t *const esv = &gfc->sv_enc;
    int     gr, k, ch;
    const sample_t *wk;

    wk = w0 + 286;
    /* thinking cache performance, ch->gr loop is better than gr->ch loop */
    for (ch = 0; ch < cfg->channels_out; ch++) {
        for (gr = 0; gr < cfg->mode_gr; gr++) {
            gr_info *const gi = &(gfc->l3_side.tt[gr][ch]);
            FLOAT const *const before = esv->sb_sample[ch][gr][0];
            FLOAT  *const now = esv->sb_sample[ch][1 - gr][0];

            /* The last four slots begin with two that are done. */
#pragma clang loop unroll(disable)
            for (k = 0; k < 18; k += 4)
                window_four(wk + 32 * Min(k, 14), now + 32 * Min(k, 14));
            wk += 18 * 32;

            if (gi->block_type == SHORT_TYPE || gi->mixed_block_flag)
                transform_mixed(before, now, esv->amp_filter, gi, gi->xr);
            else
                transform_long(before, now, esv->amp_filter, win[gi->block_type], gi->xr);
        }
        wk = w1 + 286;
        if (cfg->mode_gr == 1) {
            memcpy(esv->sb_sample[ch][0], esv->sb_sample[ch][1], 576 * sizeof(FLOAT));
        }
    }
}
