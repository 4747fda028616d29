// The elements and the scales of tiles, in vectors of 256 bits. A file includes it behind
//
//   #define ATTRIBUTES ...  the attributes of its functions
//   #define HAS_VNNI 0      whether four products of bytes are added to 32 bits at once: then all elements are unsigned

#define INLINE ATTRIBUTES EAGLE_INLINE

INLINE __m256i load32(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
INLINE __m256 load_halves(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
INLINE __m256 load_unsigned(const void *p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
INLINE __m256 load_signed(const void *p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

// MARK: elements

/// The values of the sixteen codes, as bytes, of formats that look them up.
INLINE __m256i table_of(eagle_weight_type type) {
  const int8_t *values = type == EAGLE_WEIGHTS_MXFP4 ? eagle_mxfp4_values : eagle_iq4_values;
  __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)values));
  // Of bytes that are taken as unsigned.
  if (type == EAGLE_WEIGHTS_MXFP4) return _mm256_add_epi8(table, _mm256_set1_epi8(16));
  return HAS_VNNI ? _mm256_xor_si256(table, _mm256_set1_epi8((char)128)) : table;
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
INLINE void unpack(eagle_weight_type type, const uint8_t *elements, __m256i table, __m256i w[8]) {
  const __m256i low = _mm256_set1_epi8(15);
  int bits = element_bits(type);
  if (bits == 8) {
    for (int v = 0; v < 8; v++) {
      w[v] = load32(elements + 32 * v);
      if (HAS_VNNI) w[v] = _mm256_xor_si256(w[v], _mm256_set1_epi8((char)128));
    }
    return;
  }
  for (int v = 0; v < 4; v++) {
    __m256i both = load32(elements + 32 * v);
    w[v] = _mm256_and_si256(both, low);
    w[v + 4] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
  }
  if (bits == 5) {
    __m256i high = load32(elements + 128), fifth = _mm256_set1_epi8(16);
    for (int v = 0; v < 8; v++) {
      __m256i moved = v < 4 ? _mm256_slli_epi16(high, 4 - v) : _mm256_srli_epi16(high, v - 4);
      w[v] = _mm256_or_si256(w[v], _mm256_and_si256(moved, fifth));
    }
  }
  if (bits == 6) {
    __m256i upper = _mm256_set1_epi8(48);
    for (int v = 0; v < 8; v++) {
      __m256i high = load32(elements + 128 + v / 4 * 32);
      __m256i moved = v % 4 < 2 ? _mm256_slli_epi16(high, 4 - 2 * (v % 4)) : _mm256_srli_epi16(high, 2 * (v % 4) - 4);
      w[v] = _mm256_or_si256(w[v], _mm256_and_si256(moved, upper));
    }
  }
  if (has_table(type))
    for (int v = 0; v < 8; v++) w[v] = _mm256_shuffle_epi8(table, w[v]);
}

// MARK: scales

/// Scales and minima of a group's outputs: two scales where the format has one for 16.
typedef struct { __m256 scale[2], minimum; } tile_scales;

INLINE tile_scales scales_of(eagle_weight_type type, const uint8_t *group, __m256 d, __m256 minimum) {
  tile_scales s = {{d, d}, minimum};
  switch (type) {
    case EAGLE_WEIGHTS_MXFP4: {
      // 2^(e - 128): the exponent of a float, or one bit where it is no normal number.
      __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)group)), one = _mm256_set1_epi32(1);
      __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
      __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x200000), e);
      s.scale[0] = _mm256_castsi256_ps(_mm256_blendv_epi8(tiny, normal, _mm256_cmpgt_epi32(e, one)));
      return s;
    }
    case EAGLE_WEIGHTS_Q4_K: case EAGLE_WEIGHTS_Q5_K:
      s.scale[0] = _mm256_mul_ps(d, load_unsigned(group));
      s.minimum = _mm256_mul_ps(minimum, load_unsigned(group + TILE));
      return s;
    case EAGLE_WEIGHTS_Q6_K:
      s.scale[0] = _mm256_mul_ps(d, load_signed(group));
      s.scale[1] = _mm256_mul_ps(d, load_signed(group + TILE));
      return s;
    case EAGLE_WEIGHTS_IQ4_XS: s.scale[0] = _mm256_mul_ps(d, load_signed(group)); return s;
    default:
      s.scale[0] = load_halves(group);
      if (has_minimum(type)) s.minimum = load_halves(group + 2 * TILE);
      return s;
  }
}
