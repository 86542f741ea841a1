/*
 * The Hartley transform with SIMD: four lines at a time in all stages but the first.
 *
 * In place of, in fft.c: fht
 *
 * Derived from LAME 3.100 (libmp3lame/fft.c): Copyright 1988, 1993 Ron Mayer, 1999-2000 Takehiro Tominaga
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

#include "lanes.h"

/* The factors of a stage, computed one from the other as LAME does. */
struct factors {
    FLOAT   c1[128], s1[128], c2[128], s2[128];
};

static void
make_factors(struct factors *stage, FLOAT const *tri, int kx)
{
    FLOAT   c1 = tri[0], s1 = tri[1];
    int     i;
    for (i = 1; i < kx; i++) {
        FLOAT const c = c1;
        stage->c1[i] = c1;
        stage->s1[i] = s1;
        stage->c2[i] = 1 - (2 * s1) * s1;
        stage->s2[i] = (2 * s1) * c1;
        c1 = c * tri[0] - s1 * tri[1];
        s1 = c * tri[1] + s1 * tri[0];
    }
}

/* Made at first use. */
static struct factors const *
factors(void)
{
    static struct factors stages[TRI_SIZE];
    int     i;
    if (stages[0].c1[1] == 0)
        for (i = 0; i < TRI_SIZE; i++)
            make_factors(&stages[i], costab + 2 * i, 2 << 2 * i);
    return stages;
}

/* Four neighbours, or the last three of them. */
static inline void
put(FLOAT * x, v128_t v, int three)
{
    if (three) {
        wasm_v128_store32_lane(x + 1, v, 1);
        wasm_v128_store64_lane(x + 2, v, 1);
    }
    else
        wasm_v128_store(x, v);
}

/* The same backwards: the one that is left out lies last. */
static inline void
put_mirrored(FLOAT * x, v128_t v, int three)
{
    v = reversed(v);
    if (three) {
        wasm_v128_store64_lane(x, v, 0);
        wasm_v128_store32_lane(x + 2, v, 2);
    }
    else
        wasm_v128_store(x, v);
}

/* Four lines f of a block, as far apart as its stage says, and their mirrors g; four blocks or neighbours at a time. */
static inline __attribute__((always_inline)) void
butterfly(v128_t f[4], v128_t g[4], v128_t c1, v128_t s1, v128_t c2, v128_t s2)
{
    v128_t  a, b, f0, f1, f2, f3, g0, g1, g2, g3;
#define ADD wasm_f32x4_add
#define SUB wasm_f32x4_sub
#define MUL wasm_f32x4_mul
    b = SUB(MUL(s2, f[1]), MUL(c2, g[1]));
    a = ADD(MUL(c2, f[1]), MUL(s2, g[1]));
    f1 = SUB(f[0], a);
    f0 = ADD(f[0], a);
    g1 = SUB(g[0], b);
    g0 = ADD(g[0], b);
    b = SUB(MUL(s2, f[3]), MUL(c2, g[3]));
    a = ADD(MUL(c2, f[3]), MUL(s2, g[3]));
    f3 = SUB(f[2], a);
    f2 = ADD(f[2], a);
    g3 = SUB(g[2], b);
    g2 = ADD(g[2], b);
    b = SUB(MUL(s1, f2), MUL(c1, g3));
    a = ADD(MUL(c1, f2), MUL(s1, g3));
    f[2] = SUB(f0, a);
    f[0] = ADD(f0, a);
    g[3] = SUB(g1, b);
    g[1] = ADD(g1, b);
    b = SUB(MUL(c1, g2), MUL(s1, f3));
    a = ADD(MUL(s1, g2), MUL(c1, f3));
    g[2] = SUB(g0, a);
    g[0] = ADD(g0, a);
    f[3] = SUB(f1, b);
    f[1] = ADD(f1, b);
#undef ADD
#undef SUB
#undef MUL
}

/* The lines i to i + 3 of a block, and those that mirror them; the first is left alone if three are wanted. */
static inline __attribute__((always_inline)) void
butterflies(FLOAT * fz, int i, int k1, struct factors const *stage, int three)
{
    FLOAT  *const fi = fz + i, *const gi = fz + k1 - i - 3;
    v128_t  f[4], g[4];
    int     k;
#pragma clang loop unroll(full)
    for (k = 0; k < 4; k++) {
        f[k] = wasm_v128_load(fi + k * k1);
        g[k] = reversed(wasm_v128_load(gi + k * k1));
    }
    butterfly(f, g, wasm_v128_load(&stage->c1[i]), wasm_v128_load(&stage->s1[i]),
              wasm_v128_load(&stage->c2[i]), wasm_v128_load(&stage->s2[i]));
#pragma clang loop unroll(full)
    for (k = 0; k < 4; k++) {
        put(fi + k * k1, f[k], three);
        put_mirrored(gi + k * k1, g[k], three);
    }
}

/* A stage, of which the distance of what is added up is known when this is compiled. */
static inline __attribute__((always_inline)) void
stage_of(FLOAT * fz, int n, int k1, struct factors const *stage)
{
    int const kx = k1 >> 1;
    FLOAT  *fi, *gi;
    FLOAT const *const fn = fz + n;
    int     i;

    fi = fz;
    gi = fi + kx;
    do {
        FLOAT   f0, f1, f2, f3;
        f1 = fi[0] - fi[k1];
        f0 = fi[0] + fi[k1];
        f3 = fi[2 * k1] - fi[3 * k1];
        f2 = fi[2 * k1] + fi[3 * k1];
        fi[2 * k1] = f0 - f2;
        fi[0] = f0 + f2;
        fi[3 * k1] = f1 - f3;
        fi[k1] = f1 + f3;
        f1 = gi[0] - gi[k1];
        f0 = gi[0] + gi[k1];
        f3 = SQRT2 * gi[3 * k1];
        f2 = SQRT2 * gi[2 * k1];
        gi[2 * k1] = f0 - f2;
        gi[0] = f0 + f2;
        gi[3 * k1] = f1 - f3;
        gi[k1] = f1 + f3;
        gi += 4 * k1;
        fi += 4 * k1;
    } while (fi < fn);
    if (kx > 2) {
        for (fi = fz; fi < fn; fi += 4 * k1) {
            /* Before their first one, which is the last of others, is overwritten. */
            butterflies(fi, kx - 4, k1, stage, 1);
            for (i = 1; i + 3 < kx; i += 4)
                butterflies(fi, i, k1, stage, 0);
        }
    }
    else {
        FLOAT const c1 = stage->c1[1], s1 = stage->s1[1], c2 = stage->c2[1], s2 = stage->s2[1];
        fi = fz + 1;
        gi = fz + k1 - 1;
        do {
            FLOAT   a, b, g0, f0, f1, g1, f2, g2, f3, g3;
            b = s2 * fi[k1] - c2 * gi[k1];
            a = c2 * fi[k1] + s2 * gi[k1];
            f1 = fi[0] - a;
            f0 = fi[0] + a;
            g1 = gi[0] - b;
            g0 = gi[0] + b;
            b = s2 * fi[3 * k1] - c2 * gi[3 * k1];
            a = c2 * fi[3 * k1] + s2 * gi[3 * k1];
            f3 = fi[2 * k1] - a;
            f2 = fi[2 * k1] + a;
            g3 = gi[2 * k1] - b;
            g2 = gi[2 * k1] + b;
            b = s1 * f2 - c1 * g3;
            a = c1 * f2 + s1 * g3;
            fi[2 * k1] = f0 - a;
            fi[0] = f0 + a;
            gi[3 * k1] = g1 - b;
            gi[k1] = g1 + b;
            b = c1 * g2 - s1 * f3;
            a = s1 * g2 + c1 * f3;
            gi[2 * k1] = g0 - a;
            gi[0] = g0 + a;
            fi[3 * k1] = f1 - b;
            fi[k1] = f1 + b;
            gi += 4 * k1;
            fi += 4 * k1;
        } while (fi < fn);
    }
}

#define STAGE(k1, i) \
static __attribute__((noinline)) void \
stage_##k1(FLOAT * fz, int n) \
{ \
    stage_of(fz, n, k1, &factors()[i]); \
}
STAGE(4, 0)
STAGE(16, 1)
STAGE(64, 2)
STAGE(256, 3)
#undef STAGE

/* All stages but the first. */
static void
later_stages(FLOAT * fz, int n)
{
    stage_16(fz, n);
    if (n > 64)
        stage_64(fz, n);
    if (n > 256)
        stage_256(fz, n);
}

static void
fht(FLOAT * fz, int n)
{
    n <<= 1;            /* to get BLKSIZE, because of 3DNow! ASM routine */
    stage_4(fz, n);
    later_stages(fz, n);
}
