import CPCRE2

/// The memory that matching needs. One thread uses it at a time; it serves any number of patterns.
package final class PatternMatcher {
  private let matchData: OpaquePointer
  private let context: OpaquePointer
  private let stack: OpaquePointer?

  package init() {
    guard let matchData = pcre2_match_data_create_8(1, nil), let context = pcre2_match_context_create_8(nil) else {
      preconditionFailure("out of memory: PCRE2 cannot allocate its match data")
    }
    self.matchData = matchData
    self.context = context
    stack = pcre2_jit_stack_create_8(32 << 10, 1 << 20, nil)
    pcre2_jit_stack_assign_8(context, nil, UnsafeMutableRawPointer(stack))
    // Text decides how long a match takes, memory alone may end it: a limit would cut words differently.
    pcre2_set_match_limit_8(context, .max)
    pcre2_set_depth_limit_8(context, .max)
    pcre2_set_heap_limit_8(context, .max)
  }

  deinit {
    pcre2_match_data_free_8(matchData)
    pcre2_match_context_free_8(context)
    pcre2_jit_stack_free_8(stack)
  }

  /// The leftmost match at or after byte `start` of `text`, nil when there is none.
  ///
  /// `text` is valid UTF-8 and `start` lies on a character; look-behind sees the bytes before `start`.
  package func firstMatch(
    of pattern: CompiledPattern, in text: UnsafeBufferPointer<UInt8>, from start: Int
  ) -> Range<Int>? {
    var status = match(pattern, text, start, options: PCRE2_NO_UTF_CHECK)
    if status == PCRE2_ERROR_JIT_STACKLIMIT {
      // The interpreter keeps its stack on the heap, which has no limit here.
      status = match(pattern, text, start, options: PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT)
    }
    guard status != PCRE2_ERROR_NOMATCH else { return nil }
    precondition(status >= 0, "PCRE2 failed in a match of \(pattern.source): \(PCRE2.message(status))")
    let bounds = pcre2_get_ovector_pointer_8(matchData)!
    return bounds[0]..<bounds[1]
  }

  private func match(
    _ pattern: CompiledPattern, _ text: UnsafeBufferPointer<UInt8>, _ start: Int, options: UInt32
  ) -> Int32 {
    pcre2_match_8(pattern.code, text.baseAddress, text.count, start, options, matchData, context)
  }
}
