// The loops of a variant around its block: chunks of weights, passes of rows, ranges of k. A variant's file includes it
// after the block and
//
//   #define NAME ...             the function of the variant
//   #define ATTRIBUTES           its attributes
//   #define PASS_ROWS 9          rows of the largest pass: as many as registers allow
//   #define ROW_OFFSET(a, m) ...  where row m begins in x, in elements
//   #define OUTPUT_DISTANCE ...  the prefetch distance within each output, in bytes
//   #define MAX_K ...            where there is one: the largest k, for which no row then goes in ranges
//   static const int8_t outputs_in_flight[PASS_ROWS + 1];  outputs of a block in a pass of so many rows

/// The operands from output n on.
INLINE eagle_small_matmul from_output(eagle_small_matmul a, int64_t n) {
  a.w = (const WEIGHT *)a.w + n * a.k;
  if (a.bias) a.bias += n;
  a.y += n;
  return a;
}

/// The operands from row m on.
INLINE eagle_small_matmul from_row(eagle_small_matmul a, int64_t m) {
  a.x = (const ELEMENT *)a.x + ROW_OFFSET(a, m);
  a.y += m * a.y_stride;
  return a;
}

/// All outputs of [begin, end) for `rows` rows, one range of k after the other.
INLINE void pass(const int rows, prefetch_plan plan, eagle_small_matmul a, int64_t begin, int64_t end) {
  const int outputs = outputs_in_flight[rows];
  VECTOR partial[MIN_CHUNK * MAX_PASS_ROWS];
  const WEIGHT *w = a.w;
  int64_t k = a.k, length = range_length(rows, k, sizeof(ELEMENT));
  for (k_range range = {0}; range.begin < k; range.begin = range.end) {
    range.end = range.begin + length + length / 2 < k ? range.begin + length : k;
    const WEIGHT *again = range.end < k ? w + begin * k + range.end : w + end * k;
    int64_t n = begin;
    for (; n + outputs <= end; n += outputs) {
      range.next = n + outputs < end ? w + (n + outputs) * k + range.begin : again;
      block(rows, outputs, plan, range, partial + (length < k ? (n - begin) * rows : 0), from_output(a, n));
    }
    for (; n < end; n++) {
      range.next = n + 1 < end ? w + (n + 1) * k + range.begin : again;
      block(rows, 1, plan, range, partial + (length < k ? (n - begin) * rows : 0), from_output(a, n));
    }
  }
}

/// What one of several passes of `rows` rows prefetches. They divide the prefetch of the next chunk among them, so that
/// memory is never idle.
INLINE prefetch_plan plan_prefetch(int64_t rows, int64_t index, int64_t passes, int64_t k, int64_t chunk) {
  int64_t block_bytes = outputs_in_flight[rows] * k * (int64_t)sizeof(WEIGHT);
  int is_split = range_length(rows, k, sizeof(ELEMENT)) < k;
  int is_long = is_split || (outputs_in_flight[rows] > 1 && block_bytes > PREFETCH_BYTES);
  prefetch_plan plan = {k * index / passes, k * (index + 1) / passes, PREFETCH_BYTES, 0};
  if (passes > 1) plan.bytes = chunk * k * (int64_t)sizeof(WEIGHT);
  else if (is_long && rows == 1) plan.bytes = block_bytes + PREFETCH_PAST_BLOCK;
  else if (is_long) plan.output_distance = OUTPUT_DISTANCE / (int64_t)sizeof(WEIGHT);
  return plan;
}

/// The pass for each number of rows, compiled by itself.
INLINE void pass_of(int64_t rows, prefetch_plan plan, eagle_small_matmul a, int64_t begin, int64_t end) {
  if (rows == 1) pass(1, plan, a, begin, end);
  if (rows == 2) pass(2, plan, a, begin, end);
  if (rows == 3) pass(3, plan, a, begin, end);
  if (rows == 4) pass(4, plan, a, begin, end);
  if (rows == 5) pass(5, plan, a, begin, end);
#if PASS_ROWS > 5
  if (rows == 6) pass(6, plan, a, begin, end);
  if (rows == 7) pass(7, plan, a, begin, end);
  if (rows == 8) pass(8, plan, a, begin, end);
  if (rows == 9) pass(9, plan, a, begin, end);
#endif
}

/// Chunk by chunk of the outputs [begin, end), in passes of equal numbers of rows: the first pass loads a chunk into
/// the cache, where the others find it.
ATTRIBUTES void NAME(const eagle_small_matmul *operands, int64_t begin, int64_t end) {
  eagle_small_matmul a = *operands;
#ifdef MAX_K
  __builtin_assume(a.k <= MAX_K);
#endif
  int64_t chunk = chunk_outputs(a.k * sizeof(WEIGHT)), passes = (a.rows + PASS_ROWS - 1) / PASS_ROWS;
  for (int64_t n = begin; n < end; n += chunk) {
    int64_t chunk_end = n + chunk < end ? n + chunk : end, m = 0;
    for (int64_t index = 0, rows; m < a.rows; index++, m += rows) {
      rows = a.rows * (index + 1) / passes - m;
      pass_of(rows, plan_prefetch(rows, index, passes, a.k, chunk), from_row(a, m), n, chunk_end);
    }
  }
}
