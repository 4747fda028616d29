import EagleRunFiles
import Synchronization

/// Counts requests, tokens and durations in the format of Prometheus.
package final class ServerMetrics: Sendable {
  private struct Key: Hashable, Comparable {
    let endpoint: String
    let status: Int

    static func < (a: Key, b: Key) -> Bool { (a.endpoint, a.status) < (b.endpoint, b.status) }
  }

  private struct Counts {
    var requests: [Key: Int] = [:]
    var decoding = DecodingStatistics()
    /// Accepted drafted tokens of the answers.
    var accepted = 0
    var queue = Histogram()
    var firstToken = Histogram()
    var total = Histogram()
    /// Seconds of generation, without the time in the queue.
    var writing = Histogram()
  }

  private let counts = Mutex(Counts())

  package init() {}

  /// Counts an answered request.
  package func count(endpoint: String, status: Int) {
    counts.withLock { $0.requests[Key(endpoint: endpoint, status: status), default: 0] += 1 }
  }

  /// Counts a finished sequence.
  package func count(_ job: Job, _ outcome: Outcome) {
    let total = job.arrival.duration(to: .now).inSeconds
    counts.withLock {
      $0.decoding += outcome.statistics
      $0.accepted += outcome.acceptedTokens
      $0.queue.add(outcome.queueSeconds)
      $0.total.add(total)
      $0.writing.add(total - outcome.queueSeconds)
      if let first = job.firstToken { $0.firstToken.add(job.arrival.duration(to: first).inSeconds) }
    }
  }

  /// The expected seconds until this many sequences are finished, from 1 to 60.
  package func seconds(for texts: Int) -> Int {
    let mean = counts.withLock { $0.writing.mean }
    return min(60, max(1, Int((mean * Double(texts)).rounded(.up))))
  }

  /// - Parameters:
  ///   - waiting: requests in the queue
  ///   - running: sequences that are being generated
  ///   - cached: tokens that all KV caches hold
  package func text(waiting: Int, running: Int, cached: Int) -> String {
    let counts = counts.withLock { $0 }
    var text = Self.header(
      "eagle_requests_total", type: "counter", help: "Requests by endpoint and status; 499: the client has gone.")
    for (key, count) in counts.requests.sorted(by: { $0.key < $1.key }) {
      text += "eagle_requests_total{endpoint=\"\(key.endpoint)\",status=\"\(key.status)\"} \(count)\n"
    }
    text += Self.value("eagle_queue_depth", type: "gauge", help: "Requests that wait.", waiting)
    text += Self.value("eagle_running_requests", type: "gauge", help: "Texts that are being written.", running)
    text += Self.value("eagle_cached_tokens", type: "gauge", help: "Tokens that all KV caches hold.", cached)
    text += Self.decoding(counts.decoding, accepted: counts.accepted)
    for (name, help, histogram) in [
      ("eagle_queue_seconds", "Seconds that finished requests waited for their turn.", counts.queue),
      ("eagle_time_to_first_token_seconds", "Seconds from arrival to the first token.", counts.firstToken),
      ("eagle_request_seconds", "Seconds from arrival to the end of the text.", counts.total),
    ] {
      text += Self.header(name, type: "histogram", help: help) + histogram.text(name)
    }
    return text
  }

  private static func decoding(_ statistics: DecodingStatistics, accepted: Int) -> String {
    value("eagle_prompt_tokens_total", type: "counter", help: "Tokens of prompts.", statistics.promptTokens)
      + value(
        "eagle_cached_tokens_total", type: "counter", help: "Those of them that a cache held.", statistics.cachedTokens)
      + value("eagle_generated_tokens_total", type: "counter", help: "Tokens of texts.", statistics.newTokens)
      + value(
        "eagle_draft_rounds_total", type: "counter",
        help: "Rounds of texts with a draft head; 1 + accepted / rounds is about the acceptance length.",
        statistics.rounds)
      + value("eagle_draft_accepted_tokens_total", type: "counter", help: "Drafted tokens that texts have.", accepted)
      + value(
        "eagle_draft_rejected_tokens_total", type: "counter", help: "Drafted tokens that texts do not have.",
        statistics.draftedTokens - accepted)
  }

  private static func header(_ name: String, type: String, help: String) -> String {
    "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
  }

  private static func value(_ name: String, type: String, help: String, _ value: Int) -> String {
    header(name, type: type, help: help) + "\(name) \(value)\n"
  }
}
