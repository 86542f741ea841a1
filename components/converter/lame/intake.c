/*
 * Samples taken in, with SIMD where they are floats in two planes.
 *
 * In place of, in lame.c: lame_encode_buffer_template
 *
 * Derived from LAME 3.100 (libmp3lame/lame.c):
 * Copyright (c) 1999-2000 Mark Taylor, 2000-2005 Takehiro Tominaga, 2000-2017 Robert Hegemann,
 * 2000-2005 Gabriel Bouvigne, 2000-2004 Alexander Leidinger
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

#include <wasm_simd128.h>

/* As lame_copy_inbuffer, which is for all types of samples. */
static void
copy_floats(lame_internal_flags * gfc, float const *l, float const *r, int nsamples, FLOAT s)
{
    SessionConfig_t const *const cfg = &gfc->cfg;
    EncStateVar_t *const esv = &gfc->sv_enc;
    sample_t *const ib0 = esv->in_buffer_0, *const ib1 = esv->in_buffer_1;
    FLOAT const l0 = s * cfg->pcm_transform[0][0], r0 = s * cfg->pcm_transform[0][1];
    FLOAT const l1 = s * cfg->pcm_transform[1][0], r1 = s * cfg->pcm_transform[1][1];
    int     i;

    for (i = 0; i + 4 <= nsamples; i += 4) {
        v128_t const xl = wasm_v128_load(&l[i]), xr = wasm_v128_load(&r[i]);
        v128_t const u = wasm_f32x4_mul(xl, wasm_f32x4_splat(l0)), v = wasm_f32x4_mul(xl, wasm_f32x4_splat(l1));
        wasm_v128_store(&ib0[i], wasm_f32x4_add(u, wasm_f32x4_mul(xr, wasm_f32x4_splat(r0))));
        wasm_v128_store(&ib1[i], wasm_f32x4_add(v, wasm_f32x4_mul(xr, wasm_f32x4_splat(r1))));
    }
    for (; i < nsamples; i++) {
        ib0[i] = l[i] * l0 + r[i] * r0;
        ib1[i] = l[i] * l1 + r[i] * r1;
    }
}

static int
lame_encode_buffer_template(lame_global_flags * gfp,
                            void const* buffer_l, void const* buffer_r, const int nsamples,
                            unsigned char *mp3buf, const int mp3buf_size, enum PCMSampleType pcm_type, int aa, FLOAT norm)
{
    if (is_lame_global_flags_valid(gfp)) {
        lame_internal_flags *const gfc = gfp->internal_flags;
        if (is_lame_internal_flags_valid(gfc)) {
            SessionConfig_t const *const cfg = &gfc->cfg;

            if (nsamples == 0)
                return 0;

            if (update_inbuffer_size(gfc, nsamples) != 0) {
                return -2;
            }
            if (cfg->channels_in <= 1)
                buffer_r = buffer_l;
            if (buffer_l == 0 || buffer_r == 0) {
                return 0;
            }
            /* make a copy of input buffer, changing type to sample_t */
            if (pcm_type == pcm_float_type && aa == 1)
                copy_floats(gfc, buffer_l, buffer_r, nsamples, norm);
            else
                lame_copy_inbuffer(gfc, buffer_l, buffer_r, nsamples, pcm_type, aa, norm);

            return lame_encode_buffer_sample_t(gfc, nsamples, mp3buf, mp3buf_size);
        }
    }
    return -3;
}
