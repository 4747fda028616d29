import EagleCore
import Foundation

/// The steps of `metrics.jsonl` as pages show them: all of a short run, evenly chosen ones of a long run, and sums over
/// all steps in both.
package struct MetricsHistory: Sendable {
  /// Sums over the steps of an epoch.
  package struct Sums: Sendable {
    package var steps = 0
    package var tokens = 0
    package var seconds = 0.0
    /// Steps of several ranks, and the time that they waited for each other.
    package var communicating = 0
    package var exposed = 0.0
    package var imbalance = 0.0

    fileprivate mutating func add(_ other: Sums) {
      steps += other.steps
      // A damaged file may say anything.
      let sum = tokens.addingReportingOverflow(other.tokens)
      tokens = sum.overflow ? .max : sum.partialValue
      seconds += other.seconds
      communicating += other.communicating
      exposed += other.exposed
      imbalance += other.imbalance
    }
  }

  package private(set) var steps: [StepMetrics] = []
  /// How many steps each of `steps` stands for.
  package private(set) var stride = 1
  package private(set) var skipped: [SkippedStep] = []
  /// By epoch, from 1.
  package private(set) var sums: [Int: Sums] = [:]

  /// Steps that are read in full, at most.
  package static let mostSteps = 10_000

  /// - Parameter path: the file; what is not there, or no line of a step, counts as nothing
  package init(path: String, mostSteps: Int = Self.mostSteps) {
    guard let data = FileManager.default.contents(atPath: path) else { return }
    data.withUnsafeBytes { read($0, mostSteps: mostSteps) }
  }

  /// Sums over the whole run.
  package var total: Sums { sums.sorted { $0.key < $1.key }.reduce(into: Sums()) { $0.add($1.value) } }

  private mutating func read(_ bytes: UnsafeRawBufferPointer, mostSteps: Int) {
    let lines = Self.lines(bytes)
    stride = max(1, (lines.count + mostSteps - 1) / max(1, mostSteps))
    let decoder = JSONDecoder()
    for (index, line) in lines.enumerated() {
      // The first and the last line are always among those that are decoded.
      let isChosen = index % stride == 0 || index + 1 == lines.count
      if !isChosen, let (epoch, step) = Self.sums(line) {
        sums[epoch, default: Sums()].add(step)
        continue
      }
      let data = Data(line)
      if let step = try? decoder.decode(StepMetrics.self, from: data) {
        steps.append(step)
        sums[step.epoch, default: Sums()].add(Self.sums(step))
      } else if let step = try? decoder.decode(SkippedStep.self, from: data) {
        skipped.append(step)
      }
    }
  }

  private static func lines(_ bytes: UnsafeRawBufferPointer) -> [UnsafeRawBufferPointer] {
    var (lines, start) = ([UnsafeRawBufferPointer](), 0)
    while start < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
      let end = memchr(rest.baseAddress!, 10, rest.count).map {
        $0 - UnsafeMutableRawPointer(mutating: rest.baseAddress!)
      }
      let count = end ?? rest.count
      if count > 0 { lines.append(UnsafeRawBufferPointer(rebasing: rest[..<count])) }
      start += count + 1
    }
    return lines
  }

  private static func sums(_ step: StepMetrics) -> Sums {
    let seconds = step.tokensPerSecond > 0 ? Double(step.tokens) / step.tokensPerSecond : 0
    var sums = Sums(steps: 1, tokens: step.tokens, seconds: seconds)
    if let communication = step.communication {
      (sums.communicating, sums.exposed, sums.imbalance) = (1, communication.exposed, communication.imbalance)
    }
    return sums
  }

  // MARK: lines that are not decoded

  /// What a line of our own writer adds to the sums; nil for any other.
  private static func sums(_ line: UnsafeRawBufferPointer) -> (epoch: Int, Sums)? {
    guard number(line, "\"skipped\":") == nil, let epoch = number(line, "\"epoch\":"),
      let tokens = number(line, "\"tokens\":"), let rate = number(line, "\"tokens_per_second\":"), rate > 0,
      epoch >= 1, epoch < 1e9, tokens >= 0, tokens < 1e15
    else { return nil }
    var sums = Sums(steps: 1, tokens: Int(tokens), seconds: tokens / rate)
    if let exposed = number(line, "\"exposed\":"), let imbalance = number(line, "\"imbalance\":"),
      exposed.isFinite, imbalance.isFinite
    {
      (sums.communicating, sums.exposed, sums.imbalance) = (1, exposed, imbalance)
    }
    return (Int(epoch), sums)
  }

  /// The number of a key that occurs once; nil where the key is missing, occurs twice, or has no number. NaN where
  /// it has something else.
  private static func number(_ line: UnsafeRawBufferPointer, _ key: StaticString) -> Double? {
    guard let at = find(line, key) else { return nil }
    let rest = UnsafeRawBufferPointer(rebasing: line[(at + key.utf8CodeUnitCount)...])
    guard find(rest, key) == nil else { return nil }
    let digits = rest.prefix { byte in
      (48...57).contains(byte) || byte == 43 || byte == 45 || byte == 46 || byte == 69 || byte == 101
    }
    return digits.isEmpty ? .nan : Double(String(decoding: digits, as: UTF8.self))
  }

  /// The first place of a key, which begins with a quotation mark.
  private static func find(_ line: UnsafeRawBufferPointer, _ key: StaticString) -> Int? {
    let length = key.utf8CodeUnitCount
    var start = 0
    while line.count - start >= length {
      let base = line.baseAddress! + start
      guard let quote = memchr(base, 34, line.count - start) else { return nil }
      start += UnsafeRawPointer(quote) - base
      guard line.count - start >= length else { return nil }
      if memcmp(quote, key.utf8Start, length) == 0 { return start }
      start += 1
    }
    return nil
  }
}
