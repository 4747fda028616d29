// One pass of the small-M matmul with weights in blocks, in vectors of 256 bits. A variant's file includes it behind
//
//   #define NAME ...        the function of the variant
//   #define ATTRIBUTES ...  its attributes
//   DOT(sum, a, b)          sum[j] + a[2 j] b[2 j] + a[2 j + 1] b[2 j + 1], a and b of 16 bits

#define INLINE ATTRIBUTES EAGLE_INLINE

enum { BLOCK_PREFETCH_BYTES = 3072 };

/// 32 weights in 16 bits: the even ones, then the odd ones.
typedef struct { __m256i even, odd; } weights32;

// MARK: bytes and nibbles

INLINE __m256i load32(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

INLINE weights32 split_unsigned(__m256i bytes) {
  return (weights32){_mm256_and_si256(bytes, _mm256_set1_epi16(255)), _mm256_srli_epi16(bytes, 8)};
}

INLINE weights32 split_signed(__m256i bytes) {
  return (weights32){_mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8), _mm256_srai_epi16(bytes, 8)};
}

/// 16 bytes as 32: their low halves, then their high halves.
INLINE __m256i spread_nibbles(const void *nibbles) {
  __m128i bytes = _mm_loadu_si128((const __m128i *)nibbles);
  __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(bytes), _mm_srli_epi16(bytes, 4), 1);
  return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

INLINE weights32 look_up(const void *nibbles, __m256i table) {
  return split_signed(_mm256_shuffle_epi8(table, spread_nibbles(nibbles)));
}

INLINE __m256i table_of(const int8_t values[16]) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)values));
}

/// For each of 32 bits a byte: 255 where it is set.
INLINE __m256i spread_bits(const uint8_t bits[4]) {
  int32_t word;
  memcpy(&word, bits, 4);
  __m256i order = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(word), order);
  __m256i masks = _mm256_set1_epi64x((int64_t)0x8040201008040201);
  return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, masks), masks);
}

INLINE __m256 scale_of(float16 bits) { return _mm256_set1_ps(_cvtsh_ss(bits)); }

// MARK: blocks of 32

INLINE weights32 unpack_block(eagle_weight_type type, const void *block, __m256i table) {
  if (type == EAGLE_WEIGHTS_Q8_0) return split_signed(load32(((const block_q8_0 *)block)->q));
  if (type == EAGLE_WEIGHTS_Q4_1) return split_unsigned(spread_nibbles(((const block_q4_1 *)block)->nibbles));
  if (type == EAGLE_WEIGHTS_Q5_0) {
    // A missing fifth bit takes 16 off: as a signed byte, all upper bits are set.
    const block_q5_0 *b = block;
    __m256i upper = _mm256_andnot_si256(spread_bits(b->high), _mm256_set1_epi8((char)0xf0));
    return split_signed(_mm256_or_si256(spread_nibbles(b->nibbles), upper));
  }
  if (type == EAGLE_WEIGHTS_Q5_1) {
    const block_q5_1 *b = block;
    __m256i upper = _mm256_and_si256(spread_bits(b->high), _mm256_set1_epi8(16));
    return split_unsigned(_mm256_or_si256(spread_nibbles(b->nibbles), upper));
  }
  if (type == EAGLE_WEIGHTS_MXFP4) return look_up(((const block_mxfp4 *)block)->nibbles, table);
  return look_up(((const block_q4_0 *)block)->nibbles, table);  // Q4_0 and IQ4_NL
}

INLINE __m256 block_scale(eagle_weight_type type, const void *block) {
  if (type == EAGLE_WEIGHTS_MXFP4) return _mm256_set1_ps(half_power_of_two(*(const uint8_t *)block));
  return scale_of(*(const float16 *)block);
}

/// t[m] += the products of the rows with one block.
INLINE void add_block(eagle_weight_type type, const int rows, const void *block, __m256i table, int64_t group,
                      const eagle_small_matmul *a, __m256 *t) {
  const int16_t *x = (const int16_t *)a->x + group * rows * GROUP;
  int has_minimum = type == EAGLE_WEIGHTS_Q4_1 || type == EAGLE_WEIGHTS_Q5_1;
  weights32 w = unpack_block(type, block, table);
  __m256 d = block_scale(type, block);
  __m256 minimum = has_minimum ? scale_of(((const block_q4_1 *)block)->m) : d;
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) {
    __m256i dot = DOT(_mm256_setzero_si256(), w.even, load32(x + m * GROUP));
    dot = DOT(dot, w.odd, load32(x + m * GROUP + 16));
    t[m] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), d, t[m]);
    if (has_minimum) {
      __m128 sum = _mm_load_ss(a->x_sums + span_sums(rows, group, m));
      t[m] = _mm256_fmadd_ps(_mm256_zextps128_ps256(sum), minimum, t[m]);
    }
  }
}

// MARK: blocks of 256

INLINE weights32 scaled(__m256i even, __m256i odd, __m256i scale) {
  return (weights32){_mm256_mullo_epi16(even, scale), _mm256_mullo_epi16(odd, scale)};
}

/// Group g of a block of Q4_K or Q5_K, times its scale.
INLINE weights32 unpack_group(eagle_weight_type type, const uint8_t *q, const uint8_t *high, int g, int16_t scale) {
  __m256i words = load32(q + g / 2 * 32), low = _mm256_set1_epi16(15);
  __m256i even = _mm256_and_si256(g % 2 ? _mm256_srli_epi16(words, 4) : words, low);
  __m256i odd = g % 2 ? _mm256_srli_epi16(words, 12) : _mm256_and_si256(_mm256_srli_epi16(words, 8), low);
  if (type == EAGLE_WEIGHTS_Q5_K) {
    __m256i bits = load32(high), fifth = _mm256_set1_epi16(16);
    __m256i of_even = g < 4 ? _mm256_slli_epi16(bits, 4 - g) : _mm256_srli_epi16(bits, g - 4);
    even = _mm256_or_si256(even, _mm256_and_si256(of_even, fifth));
    odd = _mm256_or_si256(odd, _mm256_and_si256(_mm256_srli_epi16(bits, 4 + g), fifth));
  }
  return scaled(even, odd, _mm256_set1_epi16(scale));
}

/// Part p of a block of Q6_K, 32 elements, times the scales of its halves.
INLINE weights32 unpack_part(const block_q6_k *b, int p) {
  __m256i words = load32(b->low + p / 4 * 64 + p % 2 * 32), bits = load32(b->high + p / 4 * 32);
  __m256i low = _mm256_set1_epi16(15), upper = _mm256_set1_epi16(48), offset = _mm256_set1_epi16(32);
  int shift = p % 4 / 2 * 4, part = p % 4;
  __m256i even = _mm256_and_si256(_mm256_srli_epi16(words, shift), low);
  __m256i odd = _mm256_and_si256(_mm256_srli_epi16(words, 8 + shift), low);
  __m256i of_even = part < 2 ? _mm256_slli_epi16(bits, 4 - 2 * part) : _mm256_srli_epi16(bits, 2 * part - 4);
  even = _mm256_or_si256(even, _mm256_and_si256(of_even, upper));
  odd = _mm256_or_si256(odd, _mm256_and_si256(_mm256_srli_epi16(bits, 4 + 2 * part), upper));
  __m256i scale = _mm256_inserti128_si256(
      _mm256_castsi128_si256(_mm_set1_epi16(b->scales[2 * p])), _mm_set1_epi16(b->scales[2 * p + 1]), 1);
  return scaled(_mm256_sub_epi16(even, offset), _mm256_sub_epi16(odd, offset), scale);
}

INLINE void add_group(const int rows, weights32 w, int64_t group, const eagle_small_matmul *a, __m256i *sum) {
  const int16_t *x = (const int16_t *)a->x + group * rows * GROUP;
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) {
    sum[m] = DOT(sum[m], w.even, load32(x + m * GROUP));
    sum[m] = DOT(sum[m], w.odd, load32(x + m * GROUP + 16));
  }
}

/// t[m] = the products of the rows with one block of 256, whose first group is `group`.
INLINE void multiply_block(eagle_weight_type type, const int rows, const void *block, __m256i table, int64_t group,
                           const eagle_small_matmul *a, __m256 *t) {
  __m256i sum[MAX_BLOCK_ROWS];
  __m256 d, minimum = _mm256_setzero_ps();
  for (int m = 0; m < rows; m++) sum[m] = _mm256_setzero_si256();
  int has_minimum = type == EAGLE_WEIGHTS_Q4_K || type == EAGLE_WEIGHTS_Q5_K;
  if (has_minimum) {
    const block_q4_k *b = block;
    group_scales scales = unpack_scales(b->scales);
    const uint8_t *q = type == EAGLE_WEIGHTS_Q4_K ? b->q : ((const block_q5_k *)block)->q;
#pragma clang loop unroll(full)
    for (int g = 0; g < 8; g++)
      add_group(rows, unpack_group(type, q, ((const block_q5_k *)block)->high, g, scales.scale[g]), group + g, a, sum);
    d = scale_of(b->d);
    __m256i minima = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)scales.minimum));
    minimum = _mm256_mul_ps(scale_of(b->minimum), _mm256_cvtepi32_ps(minima));
  } else if (type == EAGLE_WEIGHTS_Q6_K) {
    const block_q6_k *b = block;
#pragma clang loop unroll(full)
    for (int p = 0; p < 8; p++) add_group(rows, unpack_part(b, p), group + p, a, sum);
    d = scale_of(b->d);
  } else {
    const block_iq4_xs *b = block;
#pragma clang loop unroll(full)
    for (int g = 0; g < 8; g++) {
      weights32 w = look_up(b->nibbles + 16 * g, table);
      add_group(rows, scaled(w.even, w.odd, _mm256_set1_epi16((int16_t)iq4_xs_scale(b, g))), group + g, a, sum);
    }
    d = scale_of(b->d);
  }
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) {
    t[m] = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[m]), d);
    if (has_minimum) {
      __m256 sums = _mm256_loadu_ps(a->x_sums + span_sums(rows, group, m));
      t[m] = _mm256_fnmadd_ps(minimum, sums, t[m]);
    }
  }
}

// MARK: outputs

/// Lanes j and j + 4, then j and j + 2, then the last two.
INLINE float sum_in_halves(__m256 v) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/// One output of some rows.
INLINE void output(eagle_weight_type type, const int rows, __m256i table, int64_t n, const eagle_small_matmul *a) {
  int bytes = eagle_block_bytes_of(type), is_long = type >= EAGLE_WEIGHTS_Q4_K;
  int64_t groups = a->k / GROUP, spans = spans_of(a->k);
  const char *block = (const char *)a->w + n * (is_long ? spans : groups) * bytes;
  __m256 total[MAX_BLOCK_ROWS], t[MAX_BLOCK_ROWS];
  for (int m = 0; m < rows; m++) total[m] = _mm256_setzero_ps();
  for (int64_t span = 0; span < spans; span++) {
    if (is_long) {
      for (int line = 0; line < bytes; line += 64) __builtin_prefetch(block + BLOCK_PREFETCH_BYTES + line);
      multiply_block(type, rows, block, table, span * 8, a, t);
      block += bytes;
    } else {
      int64_t end = span * 8 + 8 < groups ? span * 8 + 8 : groups;
      for (int m = 0; m < rows; m++) t[m] = _mm256_setzero_ps();
      for (int64_t group = span * 8; group < end; group++, block += bytes) {
        __builtin_prefetch(block + BLOCK_PREFETCH_BYTES);
        add_block(type, rows, block, table, group, a, t);
      }
    }
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++)
      total[m] = _mm256_fmadd_ps(t[m], _mm256_broadcast_ss(a->x_scales + span * rows + m), total[m]);
  }
  float added = a->bias ? a->bias[n] : 0.0f;
  for (int m = 0; m < rows; m++) a->y[m * a->y_stride + n] = sum_in_halves(total[m]) + added;
}


#define ROWS(type, rows, values)                                                              \
  case rows:                                                                                  \
    for (int64_t n = begin; n < end; n++) output(type, rows, table_of(values), n, a);         \
    return;
#define TYPE(type, values)                                                                              \
  case type:                                                                                            \
    switch (a->rows) {                                                                                  \
      ROWS(type, 1, values) ROWS(type, 2, values) ROWS(type, 3, values) ROWS(type, 4, values)           \
      ROWS(type, 5, values) ROWS(type, 6, values) ROWS(type, 7, values) ROWS(type, 8, values)           \
    }                                                                                                   \
    return;

ATTRIBUTES void NAME(const eagle_small_matmul *a, int64_t begin, int64_t end) {
  switch (a->type) {
    TYPE(EAGLE_WEIGHTS_Q8_0, eagle_iq4_values)
    TYPE(EAGLE_WEIGHTS_Q4_0, eagle_q4_0_values)
    TYPE(EAGLE_WEIGHTS_Q4_1, eagle_iq4_values)
    TYPE(EAGLE_WEIGHTS_Q5_0, eagle_iq4_values)
    TYPE(EAGLE_WEIGHTS_Q5_1, eagle_iq4_values)
    TYPE(EAGLE_WEIGHTS_MXFP4, eagle_mxfp4_values)
    TYPE(EAGLE_WEIGHTS_IQ4_NL, eagle_iq4_values)
    TYPE(EAGLE_WEIGHTS_Q4_K, eagle_iq4_values)
    TYPE(EAGLE_WEIGHTS_Q5_K, eagle_iq4_values)
    TYPE(EAGLE_WEIGHTS_Q6_K, eagle_iq4_values)
    TYPE(EAGLE_WEIGHTS_IQ4_XS, eagle_iq4_values)
    default: return;
  }
}
