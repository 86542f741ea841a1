/*
 * Bits written many at a time.
 *
 * In place of, in bitstream.c: putbits2
 *
 * Derived from LAME 3.100 (libmp3lame/bitstream.c):
 * Copyright (c) 1999-2000 Mark Taylor, 1999-2005 Takehiro Tominaga, 2000-2002 Robert Hegemann, Gabriel Bouvigne
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

/* Appends up to 48 bits, but none where a header is to come among or before them, or where the buffer begins or ends. */
static inline int
put_at_once(lame_internal_flags * gfc, uint64_t val, int j)
{
    EncStateVar_t const *const esv = &gfc->sv_enc;
    Bit_stream_struc *const bs = &gfc->bs;
    int const before_header = esv->header[esv->w_ptr].write_timing - bs->totbit;
    unsigned char *const byte = bs->buf + bs->buf_byte_idx;
    int const used = 8 - bs->buf_bit_idx + j;
    uint64_t bits;

    if (j == 0)
        return 1;
    if (before_header <= 0 || before_header < j || bs->buf_byte_idx < 0 || bs->buf_byte_idx > BUFFER_SIZE - 8)
        return 0;
    bits = (uint64_t) *byte << 56 | val << (64 - used);
    bits = __builtin_bswap64(bits);
    memcpy(byte, &bits, sizeof(bits));
    bs->buf_byte_idx += (used - 1) >> 3;
    bs->buf_bit_idx = -used & 7;
    bs->totbit += j;
    return 1;
}

/*write j bits into the bit stream */
static void
putbits2(lame_internal_flags * gfc, int val, int j)
{
    Bit_stream_struc *const bs = &gfc->bs;

    if (put_at_once(gfc, (unsigned int) val, j))
        return;
    while (j > 0) {
        int     k;
        if (bs->buf_bit_idx == 0) {
            bs->buf_bit_idx = 8;
            bs->buf_byte_idx++;
            if (gfc->sv_enc.header[gfc->sv_enc.w_ptr].write_timing == bs->totbit) {
                putheader_bits(gfc);
            }
            bs->buf[bs->buf_byte_idx] = 0;
        }

        k = Min(j, bs->buf_bit_idx);
        j -= k;
        bs->buf_bit_idx -= k;
        bs->buf[bs->buf_byte_idx] |= ((val >> j) << bs->buf_bit_idx);
        bs->totbit += k;
    }
}
