import CPCRE2

/// The memory that matching needs. One thread uses it at a time; it serves any number of patterns.
package final class PatternMatcher {
  private let matchData: OpaquePointer
  private let context: OpaquePointer
  private let stack: OpaquePointer?

  /// Bytes of backtracking frames in the interpreter.
  private static let mostHeap: UInt32 = 1 << 30
  /// Steps of one match: this many for each byte of text, and at least some for short texts. A pattern that needs more
  /// is not linear.
  private static let stepsPerByte = 64
  private static let leastSteps = 1_000_000

  package init() {
    guard let matchData = pcre2_match_data_create_8(1, nil), let context = pcre2_match_context_create_8(nil) else {
      preconditionFailure("out of memory: PCRE2 cannot allocate its match data")
    }
    self.matchData = matchData
    self.context = context
    stack = pcre2_jit_stack_create_8(32 << 10, 1 << 20, nil)
    pcre2_jit_stack_assign_8(context, nil, UnsafeMutableRawPointer(stack))
    pcre2_set_depth_limit_8(context, .max)  // the heap's limit counts the same frames
    pcre2_set_heap_limit_8(context, Self.mostHeap / 1024)
  }

  deinit {
    pcre2_match_data_free_8(matchData)
    pcre2_match_context_free_8(context)
    pcre2_jit_stack_free_8(stack)
  }

  /// The leftmost match at or after byte `start` of `text`, nil when there is none.
  ///
  /// `text` is valid UTF-8 and `start` is the first byte of a character; look-behind sees the bytes before `start`.
  ///
  /// - Throws: `TextError` for a match that takes more steps than are linear in the text, or too much memory
  package func firstMatch(
    of pattern: CompiledPattern, in text: UnsafeBufferPointer<UInt8>, from start: Int
  ) throws -> Range<Int>? {
    let steps = (text.count - start).multipliedReportingOverflow(by: Self.stepsPerByte).partialValue
    pcre2_set_match_limit_8(context, UInt32(clamping: max(steps, Self.leastSteps)))
    var status = match(pattern, text, start, options: PCRE2_NO_UTF_CHECK)
    if status == PCRE2_ERROR_JIT_STACKLIMIT {
      // The interpreter keeps its stack on the heap.
      status = match(pattern, text, start, options: PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT)
    }
    guard status != PCRE2_ERROR_NOMATCH else { return nil }
    guard status >= 0 else {
      throw TextError(
        "the pattern \(pattern.source) of the tokenizer cannot cut a text of \(text.count) bytes at byte \(start): "
          + "\(PCRE2.message(status)); a pattern whose time is not linear in the text is not supported")
    }
    let bounds = pcre2_get_ovector_pointer_8(matchData)!
    return bounds[0]..<bounds[1]
  }

  private func match(
    _ pattern: CompiledPattern, _ text: UnsafeBufferPointer<UInt8>, _ start: Int, options: UInt32
  ) -> Int32 {
    pcre2_match_8(pattern.code, text.baseAddress, text.count, start, options, matchData, context)
  }
}
