import EagleChat
import EagleCore
import EagleData
import EagleDraft
import EagleTensor
import EagleText
import EagleTraining
import Foundation

/// An estimate of what the training files hold, from a part of each: what is read is prepared as `Preparation` does it,
/// and all other bytes of a file are taken to be like it.
package struct DataSample: Sendable {
  /// A conversation that was read.
  package struct Conversation: Sendable, Codable {
    package var ids: [Int32]
    package var mask: [UInt8]
    /// How many conversations of the data it stands for.
    package var count: Double
    /// How many of those an epoch trains, held-out ones aside: files have weights.
    package var trained: Double

    package init(ids: [Int32], mask: [UInt8], count: Double, trained: Double) {
      (self.ids, self.mask, self.count, self.trained) = (ids, mask, count, trained)
    }
  }

  /// Bytes of a file that are read, at most.
  package static let bytesOfFile = 4 << 20
  /// Positions of a file at which lines are read, where it is longer than that.
  private static let positions = 8

  package internal(set) var conversations: [Conversation] = []
  /// Bytes of all files, and of those that were read.
  package private(set) var bytes = 0.0
  package private(set) var bytesRead = 0.0
  /// Seconds that it took to make tokens of them, on the threads of this process.
  package private(set) var seconds = 0.0
  /// Whether every line was read, so that numbers are exact.
  package private(set) var isWhole = true

  package init(conversations: [Conversation] = []) { self.conversations = conversations }

  /// - Parameter bytesOfFile: bytes of a file that are read, at most
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

    /// Returns whether there is more.
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
  /// Conversations of the data.
  package var conversationCount: Double { conversations.reduce(0) { $0 + $1.count } }
  /// Tokens of the data.
  package var tokens: Double { conversations.reduce(0) { $0 + $1.count * Double($1.ids.count) } }
  /// Tokens with a loss mask of 1.
  package var trainedTokens: Double {
    conversations.reduce(0) { $0 + $1.count * Double($1.mask.reduce(0) { $0 + Int($1) }) }
  }
  /// Tokens of an epoch, when this part of the conversations is held out.
  package func epochTokens(heldOut: Double) -> Double {
    (1 - heldOut) * conversations.reduce(0) { $0 + $1.trained * Double($1.ids.count) }
  }

  /// Batches as training cuts them.
  private func batches(_ lengths: [Int], tokensPerBatch: Int) -> [[Int]] {
    var random = RandomSource(seed: 0, purpose: "plan")
    return BatchPlan.cut(conversations.indices.shuffled(using: &random), lengths, tokensPerBatch)
  }

  /// Loss masks of every micro-batch of an epoch of the conversations that were read, the longest among them. A part of
  /// a conversation has the mask of its context.
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

  /// Optimiser steps of an epoch.
  package func steps(tokensPerBatch: Int, heldOut: Double) -> Int {
    let lengths = conversations.map(\.ids.count)
    let batches = batches(lengths, tokensPerBatch: tokensPerBatch)
    let inFull = batches.count > 1 ? Array(batches.dropLast()) : batches
    let full = Double(inFull.joined().reduce(0) { $0 + lengths[$1] }) / Double(inFull.count)
    return max(1, Int((epochTokens(heldOut: heldOut) / max(1, full)).rounded(.up)))
  }

  /// The same conversations, as if they were those of data with this many tokens.
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

  /// Some conversations whose lengths are spread as those of all, in a shuffled order.
  ///
  /// - Parameters:
  ///   - tokens: about as many together; one conversation at least
  ///   - longest: tokens of a conversation, at most; the end of a longer one is taken
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
