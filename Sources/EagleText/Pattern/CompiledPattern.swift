import CPCRE2

/// A regular expression, compiled once by PCRE2 for UTF-8 text with Unicode properties, and by its JIT where there is
/// one.
///
/// The compiled code is never written again, so any number of threads may match with it, each with its own
/// `PatternMatcher`.
package final class CompiledPattern: @unchecked Sendable {
  let code: OpaquePointer
  package let source: String

  /// Compiles `source`; throws PCRE2's own message with the position of the mistake.
  package init(_ source: String) throws {
    var status: Int32 = 0
    var position = 0
    let bytes = Array(source.utf8)
    let compiled = pcre2_compile_8(bytes, bytes.count, PCRE2_UTF | PCRE2_UCP, &status, &position, nil)
    guard let compiled else {
      throw TextError("the pattern \(source) does not compile: \(PCRE2.message(status)) at byte \(position)")
    }
    code = compiled
    self.source = source
    do {
      let status = pcre2_jit_compile_8(compiled, PCRE2_JIT_COMPLETE)
      try PCRE2.check(status, allowing: PCRE2_ERROR_JIT_BADOPTION, in: source)
    } catch {
      pcre2_code_free_8(compiled)
      throw error
    }
  }

  deinit { pcre2_code_free_8(code) }
}

/// The one check of PCRE2's status codes.
enum PCRE2 {
  /// Passes a status that is no failure (or is `allowed`), throws the library's message otherwise.
  static func check(_ status: Int32, allowing allowed: Int32, in pattern: String) throws {
    guard status < 0, status != allowed else { return }
    throw TextError("PCRE2 cannot use the pattern \(pattern): \(message(status))")
  }

  static func message(_ status: Int32) -> String {
    var buffer = [UInt8](repeating: 0, count: 256)
    let length = pcre2_get_error_message_8(status, &buffer, buffer.count)
    guard length >= 0 else { return "error \(status)" }
    return String(decoding: buffer.prefix(Int(length)), as: UTF8.self)
  }
}
