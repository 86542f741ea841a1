/*
 * The threshold in quiet, adjusted: what is asked for again is not computed again.
 *
 * In place of, in quantize_pvt.c: athAdjust
 *
 * Derived from LAME 3.100 (libmp3lame/quantize_pvt.c):
 * Copyright (c) 1999-2002 Takehiro Tominaga, 2000-2012 Robert Hegemann, 2001 Naoki Shibata, 2002-2005 Gabriel Bouvigne
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

static  FLOAT
adjust_ath(FLOAT a, FLOAT x, FLOAT athFloor, float ATHfixpoint)
{
    FLOAT const o = 90.30873362f;
    FLOAT const p = (ATHfixpoint < 1.f) ? 94.82444863f : ATHfixpoint;
    FLOAT   u = FAST_LOG10_X(x, 10.0f);
    FLOAT const v = a * a;
    FLOAT   w = 0.0f;
    u -= athFloor;      /* undo scaling */
    if (v > 1E-20f)
        w = 1.f + FAST_LOG10_X(v, 10.0f / o);
    if (w < 0)
        w = 0.f;
    u *= w;
    u += athFloor + o - p; /* redo scaling */

    return powf(10.f, 0.1f * u);
}

/* Each band asks for the same in every granule and channel of a frame, and often in the next. */
FLOAT
athAdjust(FLOAT a, FLOAT x, FLOAT athFloor, float ATHfixpoint)
{
    static struct {
        FLOAT   a, x, floor, fixpoint, adjusted;
    } known[256];
    union {
        FLOAT   f;
        uint32_t bits;
    } key;
    uint32_t place;

    key.f = x;
    place = key.bits * 0x9e3779b1u >> 24;
    if (known[place].x != x || known[place].a != a || known[place].floor != athFloor
        || known[place].fixpoint != ATHfixpoint || x == 0) {
        known[place].x = x;
        known[place].a = a;
        known[place].floor = athFloor;
        known[place].fixpoint = ATHfixpoint;
        known[place].adjusted = adjust_ath(a, x, athFloor, ATHfixpoint);
    }
    return known[place].adjusted;
}
