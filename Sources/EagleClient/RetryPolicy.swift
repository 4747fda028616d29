import Foundation

/// Exponential backoff: how often a request is sent, and the time between two attempts.
package struct RetryPolicy: Sendable {
  /// The maximum number of attempts.
  package var attempts = 8
  /// Seconds before the second attempt. The time doubles with each further one.
  package var firstDelay = 0.5
  /// The maximum seconds between two attempts, even if the server requests more.
  package var longestDelay = 60.0

  package init() {}

  /// Seconds to wait after an attempt. `Retry-After` replaces the first delay. Later delays are at least the backoff,
  /// so that a server that requests no delay does not get all attempts at once.
  ///
  /// - Parameters:
  ///   - attempt: its number, from 1
  ///   - retryAfter: the `Retry-After` header of the response: seconds, or a date
  ///   - now: the time that a date is compared with
  package func delay(afterAttempt attempt: Int, retryAfter: String?, now: Date = Date()) -> Double {
    let backoff = firstDelay * pow(2, Double(attempt - 1))
    let least = attempt == 1 ? 0 : backoff
    let wanted = retryAfter.flatMap { Self.seconds($0, now: now) }
    return min(longestDelay, wanted.map { max(least, $0) } ?? backoff)
  }

  /// RFC 9110, section 10.2.3.
  private static func seconds(_ header: String, now: Date) -> Double? {
    let text = header.trimmingCharacters(in: .whitespaces)
    if let seconds = Double(text), seconds.isFinite { return seconds }
    let format = DateFormatter()
    format.locale = Locale(identifier: "en_US_POSIX")
    format.timeZone = TimeZone(identifier: "GMT")
    format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
    return format.date(from: text)?.timeIntervalSince(now)
  }
}
