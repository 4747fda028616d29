import EagleChat
import EagleCore
import EagleData
import EagleDraft
import EagleTensor
import EagleText
import EagleTraining
import Foundation

/// An estimate of the content of the training files from a part of each. The part is prepared as in `Preparation`, and
/// the other bytes of a file are assumed to be similar.
package struct DataSample: Sendable {
  /// A conversation that was read.
  package struct Conversation: Sendable, Codable {
    package var ids: [Int32]
    package var mask: [UInt8]
    /// The number of conversations of the data that it represents.
    package var count: Double
    /// How many of those an epoch trains, without held-out ones; it depends on the weight of the file.
    package var trained: Double

    package init(ids: [Int32], mask: [UInt8], count: Double, trained: Double) {
      (self.ids, self.mask, self.count, self.trained) = (ids, mask, count, trained)
    }
  }

  /// The maximum number of bytes of a file that are read.
  package static let bytesOfFile = 4 << 20
  /// The number of positions at which a longer file is read.
  private static let positions = 8

  package internal(set) var conversations: [Conversation] = []
  /// The bytes of all files, and the bytes that were read.
  package private(set) var bytes = 0.0
  package private(set) var bytesRead = 0.0
  /// The seconds in which they were tokenised, on the threads of this process.
  package private(set) var seconds = 0.0
  /// Whether every line was read, so that the numbers are exact.
  package private(set) var isWhole = true

  package init(conversations: [Conversation] = []) { self.conversations = conversations }

  /// - Parameter bytesOfFile: the maximum number of bytes of a file that are read
  /// - Throws: for a file that cannot be read, or has too many broken lines
  package init(data: DataConfig, model: ChatModel, bytesOfFile: Int = Self.bytesOfFile) throws {
    let work = LineWork(model: model, data: data)
    var digests: Set<PreparedConversation.Digest> = []
    let start = ContinuousClock.now
    for file in data.train {
      let part = try Part(path: file.path, limit: bytesOfFile, positions: Self.positions)
      bytes += part.bytes
      bytesRead += part.bytesRead
      isWhole = isWhole && part.isWhole
      let factor = part.isWhole ? 1 : part.bytes / max(1, part.bytesRead)
      let outcomes = work.outcomes(part.lines)
      var report = ReadReport(path: file.path)
      for (line, outcome) in zip(part.lines, outcomes) { report.count(outcome, of: line) }
      try report.check()
      for outcome in outcomes {
        guard case .prepared(let conversation) = outcome,
          data.duplicates == .keep || digests.insert(conversation.digest).inserted
        else { continue }
        conversations += conversation.rows.map { row in
          Conversation(
            ids: row.ids, mask: row.mask, count: factor * min(1, file.weight), trained: factor * file.weight)
        }
      }
    }
    seconds = start.duration(to: .now).inSeconds
    guard !conversations.isEmpty else {
      throw LocatedError(
        path: data.train.map(\.path).joined(separator: ", "), problem: "no conversation is left to train on",
        advice: "check the data files and data.max_length")
    }
  }

  /// Some lines of a file.
  private struct Part {
    var lines: [ConversationLine] = []
    var bytes: Double
    var bytesRead = 0.0
    var isWhole = true

    init(path: String, limit: Int, positions: Int) throws {
      var reader = try ConversationLines(path: path)
      let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
      bytes = Double(size)
      guard !reader.isCompressed, size > limit else {
        isWhole = try !read(&reader, limit)
        bytesRead = isWhole ? bytes : reader.bytesUsed
        return
      }
      isWhole = false
      for index in 0..<positions {
        if index > 0 { try reader.jump(behind: size / positions * index) }
        let before = lines.count
        _ = try read(&reader, limit / positions)
        bytesRead += lines[before...].reduce(0) { $0 + Double($1.byteCount + 1) }
      }
    }

    /// Reads lines up to the limit. Returns whether there are more.
    private mutating func read(_ reader: inout ConversationLines, _ limit: Int) throws -> Bool {
      var taken = 0
      while taken < limit {
        guard let line = try reader.next() else { return false }
        lines.append(line)
        taken += line.byteCount + 1
      }
      return try reader.next() != nil
    }
  }
}

extension DataSample {
  /// The number of conversations of the data.
  package var conversationCount: Double { conversations.reduce(0) { $0 + $1.count } }
  /// The number of tokens of the data.
  package var tokens: Double { conversations.reduce(0) { $0 + $1.count * Double($1.ids.count) } }
  /// The number of tokens with a loss mask of 1.
  package var trainedTokens: Double {
    conversations.reduce(0) { $0 + $1.count * Double($1.mask.reduce(0) { $0 + Int($1) }) }
  }
  /// The number of tokens of an epoch if this part of the conversations is held out.
  package func epochTokens(heldOut: Double) -> Double {
    (1 - heldOut) * conversations.reduce(0) { $0 + $1.trained * Double($1.ids.count) }
  }

  /// The batches, cut as in training.
  private func batches(_ lengths: [Int], tokensPerBatch: Int) -> [[Int]] {
    var random = RandomSource(seed: 0, purpose: "plan")
    return BatchPlan.cut(conversations.indices.shuffled(using: &random), lengths, tokensPerBatch)
  }

  /// The loss masks of every micro-batch of an epoch of the sampled conversations, including the longest. A part of a
  /// conversation has the mask of its context.
  package func microBatches(_ config: TrainConfig, costs: any ObjectiveCosts, ranks: Int) -> [[[UInt8]]] {
    let lengths = conversations.map(\.ids.count)
    let work = conversations.map { costs.work(mask: $0.mask, samples: true) }
    return batches(lengths, tokensPerBatch: config.tokensPerBatch).flatMap { batch in
      let items = batch.map { BatchPartition.Item($0, work[$0], length: lengths[$0]) }
      return BatchPartition(items, ranks: ranks, depths: costs.positions).parts.flatMap { parts in
        let tokens = parts.map { $0.states ?? lengths[$0.conversation] }
        return BatchPlan.microBatches(parts, tokens: tokens, limit: BatchPlan.microBatchTokens).map { part in
          part.map { Array(conversations[$0.conversation].mask.prefix($0.states ?? .max)) }
        }
      }
    }
  }

  /// The number of optimiser steps of an epoch.
  package func steps(tokensPerBatch: Int, heldOut: Double) -> Int {
    let lengths = conversations.map(\.ids.count)
    let batches = batches(lengths, tokensPerBatch: tokensPerBatch)
    let inFull = batches.count > 1 ? Array(batches.dropLast()) : batches
    let full = Double(inFull.joined().reduce(0) { $0 + lengths[$1] }) / Double(inFull.count)
    return max(1, Int((epochTokens(heldOut: heldOut) / max(1, full)).rounded(.up)))
  }

  /// The same sample, scaled to data with this many tokens.
  package func scaled(toTokens wanted: Double) -> DataSample {
    let factor = wanted / max(1, tokens)
    var scaled = self
    for i in scaled.conversations.indices {
      scaled.conversations[i].count *= factor
      scaled.conversations[i].trained *= factor
    }
    scaled.bytes *= factor
    scaled.isWhole = false
    return scaled
  }

  /// Some conversations whose lengths are distributed like those of all, in a shuffled order.
  ///
  /// - Parameters:
  ///   - tokens: their approximate total number of tokens; at least one conversation is returned
  ///   - longest: the maximum number of tokens of a conversation; a longer one is reduced to its end
  package func picked(tokens: Int, longest: Int) -> [Conversation] {
    let sorted = conversations.sorted { $0.ids.count < $1.ids.count }
    let mean = sorted.reduce(0.0) { $0 + Double(min(longest, $1.ids.count)) } / Double(sorted.count)
    let wanted = max(1, Int((Double(tokens) / mean).rounded()))
    let picks = (0..<wanted).map { sorted[(2 * $0 + 1) * sorted.count / (2 * wanted)] }
    var random = RandomSource(seed: 1, purpose: "plan")
    return picks.shuffled(using: &random).map { conversation in
      var short = conversation
      short.ids = Array(conversation.ids.suffix(longest))
      short.mask = Array(conversation.mask.suffix(longest))
      return short
    }
  }
}
