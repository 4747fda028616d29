/// Text of ids that come one at a time, up to the first of some stop strings. What may be the beginning of one is held back
/// until it is known not to be.
public struct AnswerStream: Sendable {
  /// Whether a stop string has come. No text follows; the string itself is not part of it.
  public private(set) var isStopped = false
  private var decoder: StreamingDecoder
  private let stops: [[UInt8]]
  private var held: [UInt8] = []

  /// A stream of one answer, which ends before the first of `stops`; empty ones are ignored.
  public init(_ tokenizer: Tokenizer, stops: [String] = []) {
    decoder = tokenizer.makeStreamingDecoder(skipSpecial: true)
    self.stops = stops.filter { !$0.isEmpty }.map { Array($0.utf8) }
  }

  /// The text that is sure with this id.
  public mutating func append(_ id: Int32) -> String { release(decoder.append(id), isLast: false) }

  /// The text that was held back when nothing follows.
  public mutating func finish() -> String { release(decoder.finish(), isLast: true) }

  private mutating func release(_ text: String, isLast: Bool) -> String {
    guard !isStopped else { return "" }
    held += Array(text.utf8)
    var end = held.count
    if let stop = firstStop() {
      isStopped = true
      end = stop
    } else if !isLast {
      end -= longestBeginning()
    }
    defer { held.removeFirst(end) }
    return String(decoding: held[..<end], as: UTF8.self)
  }

  /// Where the first stop string begins.
  private func firstStop() -> Int? {
    held.indices.first { start in stops.contains { held[start...].starts(with: $0) } }
  }

  /// Bytes at the end that a stop string may begin with. Stop strings are whole characters, so no character is cut.
  private func longestBeginning() -> Int {
    let longest = stops.map { $0.count - 1 }.max() ?? 0
    return (0...min(longest, held.count)).last { count in stops.contains { $0.starts(with: held.suffix(count)) } } ?? 0
  }
}
