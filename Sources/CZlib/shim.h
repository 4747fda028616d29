#pragma once

#include <zlib.h>

// inflateInit2 is a macro, which Swift cannot see. Window bits 15 + 16: the gzip format and no other.
static inline int eagle_inflate_init_gzip(z_stream *stream) { return inflateInit2(stream, 15 + 16); }
