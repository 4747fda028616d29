// The elements and the scales of tiles, in vectors that hold one tile, or two side by side. A file includes it after
//
//   #define ATTRIBUTES ...  the attributes of its functions
//   #define HAS_VNNI 0      whether four products of bytes are added to 32 bits at once: then all elements are unsigned
//   #define TILES 1         tiles in a vector: 1 in 256 bits, 2 in 512
//
// `next` is the distance of the second tile from the first, in bytes.

#define INLINE ATTRIBUTES EAGLE_INLINE

typedef uint8_t bytes __attribute__((vector_size(32 * TILES)));
typedef uint16_t pairs __attribute__((vector_size(32 * TILES)));
typedef int32_t integers __attribute__((vector_size(32 * TILES)));
typedef float floats __attribute__((vector_size(32 * TILES)));

#if TILES == 2
/// A vector of elements, of both tiles.
INLINE bytes load_bytes(const uint8_t *p, int64_t next) {
  __m512i first = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)p));
  return (bytes)_mm512_inserti64x4(first, _mm256_loadu_si256((const __m256i *)(p + next)), 1);
}

/// One byte for each output.
INLINE __m128i load_each(const uint8_t *p, int64_t next) {
  return _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)p), _mm_loadl_epi64((const __m128i *)(p + next)));
}

/// One float16 value for each output.
INLINE floats load_halves(const uint8_t *p, int64_t next) {
  __m256i first = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p));
  return (floats)_mm512_cvtph_ps(_mm256_inserti128_si256(first, _mm_loadu_si128((const __m128i *)(p + next)), 1));
}

INLINE integers load_unsigned(const uint8_t *p, int64_t next) {
  return (integers)_mm512_cvtepu8_epi32(load_each(p, next));
}
INLINE integers load_signed(const uint8_t *p, int64_t next) {
  return (integers)_mm512_cvtepi8_epi32(load_each(p, next));
}
INLINE bytes look_up(bytes table, bytes codes) { return (bytes)_mm512_shuffle_epi8((__m512i)table, (__m512i)codes); }
INLINE bytes to_all(__m128i sixteen) { return (bytes)_mm512_broadcast_i32x4(sixteen); }
INLINE integers shifted(integers x, integers by) { return (integers)_mm512_sllv_epi32((__m512i)x, (__m512i)by); }
#else
INLINE bytes load_bytes(const uint8_t *p, int64_t next) { return (bytes)_mm256_loadu_si256((const __m256i *)p); }
INLINE __m128i load_each(const uint8_t *p, int64_t next) { return _mm_loadl_epi64((const __m128i *)p); }
INLINE floats load_halves(const uint8_t *p, int64_t next) {
  return (floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
INLINE integers load_unsigned(const uint8_t *p, int64_t next) {
  return (integers)_mm256_cvtepu8_epi32(load_each(p, next));
}
INLINE integers load_signed(const uint8_t *p, int64_t next) {
  return (integers)_mm256_cvtepi8_epi32(load_each(p, next));
}
INLINE bytes look_up(bytes table, bytes codes) { return (bytes)_mm256_shuffle_epi8((__m256i)table, (__m256i)codes); }
INLINE bytes to_all(__m128i sixteen) { return (bytes)_mm256_broadcastsi128_si256(sixteen); }
INLINE integers shifted(integers x, integers by) { return (integers)_mm256_sllv_epi32((__m256i)x, (__m256i)by); }
#endif

INLINE floats to_floats(integers x) { return __builtin_convertvector(x, floats); }

// MARK: elements

/// The values of the sixteen codes, as bytes, of formats that look them up.
INLINE bytes table_of(eagle_weight_type type) {
  const int8_t *values = type == EAGLE_WEIGHTS_MXFP4 ? eagle_mxfp4_values : eagle_iq4_values;
  bytes table = to_all(_mm_loadu_si128((const __m128i *)values));
  // Of bytes that are taken as unsigned.
  if (type == EAGLE_WEIGHTS_MXFP4) return table + 16;
  return HAS_VNNI ? table ^ 128 : table;
}

INLINE int has_table(eagle_weight_type type) {
  return type == EAGLE_WEIGHTS_MXFP4 || type == EAGLE_WEIGHTS_IQ4_NL || type == EAGLE_WEIGHTS_IQ4_XS;
}

/// Whether elements are signed bytes of any value, whose products in pairs do not fit 16 bits.
INLINE int is_wide(eagle_weight_type type) {
  return type == EAGLE_WEIGHTS_Q8_0 || type == EAGLE_WEIGHTS_IQ4_NL || type == EAGLE_WEIGHTS_IQ4_XS;
}

/// Elements are unsigned bytes less 2^offset_bits; -1 where they are unsigned, or signed, as they are.
INLINE int offset_bits(eagle_weight_type type) {
  if (is_wide(type)) return HAS_VNNI ? 7 : -1;
  switch (type) {
    case EAGLE_WEIGHTS_Q4_0: return 3;
    case EAGLE_WEIGHTS_Q5_0: case EAGLE_WEIGHTS_MXFP4: return 4;
    case EAGLE_WEIGHTS_Q6_K: return 5;
    default: return -1;
  }
}

/// The eight vectors of a group.
INLINE void unpack(eagle_weight_type type, const uint8_t *elements, int64_t next, bytes table, bytes w[8]) {
  int bits = element_bits(type);
  if (bits == 8) {
    for (int v = 0; v < 8; v++) {
      w[v] = load_bytes(elements + 32 * v, next);
      if (HAS_VNNI) w[v] ^= 128;
    }
    return;
  }
  for (int v = 0; v < 4; v++) {
    bytes both = load_bytes(elements + 32 * v, next);
    w[v] = both & 15;
    w[v + 4] = (bytes)((pairs)both >> 4) & 15;
  }
  if (bits == 5) {
    pairs high = (pairs)load_bytes(elements + 128, next);
    for (int v = 0; v < 8; v++) w[v] |= (bytes)(v < 4 ? high << (4 - v) : high >> (v - 4)) & 16;
  }
  if (bits == 6) {
    for (int v = 0; v < 8; v++) {
      pairs high = (pairs)load_bytes(elements + 128 + v / 4 * 32, next);
      w[v] |= (bytes)(v % 4 < 2 ? high << (4 - 2 * (v % 4)) : high >> (2 * (v % 4) - 4)) & 48;
    }
  }
  if (has_table(type))
    for (int v = 0; v < 8; v++) w[v] = look_up(table, w[v]);
}

// MARK: scales

/// Scales and minima of a group's outputs: two scales where the format has one for 16.
typedef struct { floats scale[2], minimum; } tile_scales;

INLINE tile_scales scales_of(eagle_weight_type type, const uint8_t *group, int64_t next, floats d, floats minimum) {
  tile_scales s = {{d, d}, minimum};
  switch (type) {
    case EAGLE_WEIGHTS_MXFP4: {
      // 2^(e - 128): the exponent of a float, or one bit where it is subnormal.
      integers e = load_unsigned(group, next), is_normal = e > 1;
      integers normal = (e - 1) << 23, tiny = shifted((integers){0} + 0x200000, e);
      s.scale[0] = (floats)((normal & is_normal) | (tiny & ~is_normal));
      return s;
    }
    case EAGLE_WEIGHTS_Q4_K: case EAGLE_WEIGHTS_Q5_K:
      s.scale[0] = d * to_floats(load_unsigned(group, next));
      s.minimum = minimum * to_floats(load_unsigned(group + TILE, next));
      return s;
    case EAGLE_WEIGHTS_Q6_K:
      s.scale[0] = d * to_floats(load_signed(group, next));
      s.scale[1] = d * to_floats(load_signed(group + TILE, next));
      return s;
    case EAGLE_WEIGHTS_IQ4_XS: s.scale[0] = d * to_floats(load_signed(group, next)); return s;
    default:
      s.scale[0] = load_halves(group, next);
      if (has_minimum(type)) s.minimum = load_halves(group + 2 * TILE, next);
      return s;
  }
}
