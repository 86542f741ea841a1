/*
 * The checksum of what is written, four bytes at a time.
 *
 * In place of, in VbrTag.c: UpdateMusicCRC
 *
 * Derived from LAME 3.100 (libmp3lame/VbrTag.c): Copyright (c) 1999 A.L. Faber, 2001 Jonathan Dee
 *
 * This library is free software; you can redistribute it and/or modify it under the terms of the GNU Library General
 * Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any
 * later version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the
 * implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Library General Public License
 * for more details.
 */

void
UpdateMusicCRC(uint16_t * crc, unsigned char const *buffer, int size)
{
    /* What a byte becomes when as many bytes follow; made at first use. */
    static uint16_t followed[4][256];
    unsigned int c = *crc;
    int     i, n;

    if (followed[0][1] == 0)
        for (i = 0; i < 256; i++) {
            followed[0][i] = crc16_lookup[i];
            for (n = 1; n < 4; n++)
                followed[n][i] = CRC_update_lookup(0, followed[n - 1][i]);
        }
    for (i = 0; i + 4 <= size; i += 4) {
        c ^= buffer[i] | buffer[i + 1] << 8;
        c = followed[3][c & 0xff] ^ followed[2][c >> 8] ^ followed[1][buffer[i + 2]] ^ followed[0][buffer[i + 3]];
    }
    for (; i < size; i++)
        c = CRC_update_lookup(buffer[i], c);
    *crc = c;
}
