import EagleChat
import EagleStorage
import EagleTensor
import EagleText
import Foundation

/// The reason why a conversation is not trained on.
package enum LeftOut: String, Codable, Sendable {
  case wrongRoles = "roles out of order"
  case noAnswer = "no assistant turn"
  case emptyAnswer = "an empty answer"
  case cutAnswer = "an answer that was broken off"
  case loopingAnswer = "an answer that ends in a loop"
  case tooLong = "longer than max_length"
  case nothingTrained = "no assistant token to train on within max_length"
  case duplicate = "the same messages as an earlier one"
  case notSampled = "not drawn by the file's weight"
}

/// The result of a line, before it is compared with other lines.
package enum LineOutcome: Sendable {
  case broken(TextError)
  case leftOut(LeftOut, String)
  case prepared(PreparedConversation)
}

extension ReadReport {
  /// Counts a line by its result.
  package mutating func count(_ outcome: LineOutcome, of line: ConversationLine) {
    if case .broken(let error) = outcome { reject(line.number, because: error) } else { accept() }
  }
}

/// A conversation as tokens, with its statistics.
package struct PreparedConversation: Sendable {
  package let id: String
  package let ids: [Int32]
  package let mask: [UInt8]
  /// 128 bits of SHA-256 over roles and texts.
  package let digest: Digest
  package let language: Language
  package let turns: Int
  /// Tokens by role, headers included, in the order of `ChatMessage.Role.allCases`.
  package let roleTokens: [Int]
  package let isCut: Bool

  package struct Digest: Hashable, Sendable, CustomStringConvertible {
    let high, low: UInt64

    /// Hexadecimal digits, without leading zeros of either half.
    package var description: String { String(high, radix: 16) + "." + String(low, radix: 16) }
  }
}

/// Turns lines into conversations. Any number of threads may use one.
package struct LineWork: Sendable {
  package let model: ChatModel
  package let data: DataConfig

  package init(model: ChatModel, data: DataConfig) {
    self.model = model
    self.data = data
  }

  /// The outcomes of lines, computed on all threads.
  package func outcomes(_ lines: [ConversationLine]) -> [LineOutcome] {
    [LineOutcome](unsafeUninitializedCapacity: lines.count) { buffer, count in
      let slots = Slots(start: buffer.baseAddress)
      Parallel.forEachRange(lines.count, grain: 16, dynamic: true) { range in
        for i in range { (slots.start! + i).initialize(to: outcome(lines[i])) }
      }
      count = lines.count
    }
  }

  /// The memory of the outcomes; each thread writes to slots of its own.
  private struct Slots: @unchecked Sendable { let start: UnsafeMutablePointer<LineOutcome>? }

  package func outcome(_ line: ConversationLine) -> LineOutcome {
    switch line.parsed() {
    case .failure(let error): .broken(error)
    case .success(let conversation): outcome(conversation)
    }
  }

  private func outcome(_ conversation: Conversation) -> LineOutcome {
    let (messages, id) = (conversation.messages, conversation.id)
    let answers = messages.filter { $0.role == .assistant }
    if let reason = fault(answers) { return .leftOut(reason, id) }
    let rendered: RenderedConversation
    do {
      rendered = try model.template.render(
        conversation, tokenizer: model.tokenizer, trained: data.trainedTurns.roles)
    } catch {
      return answers.isEmpty ? .leftOut(.noAnswer, id) : .leftOut(.wrongRoles, "\(error)")
    }
    if data.loopingAnswers == .drop, Self.loops(rendered) { return .leftOut(.loopingAnswer, id) }
    let length = min(rendered.ids.count, data.maxLength)
    if length < rendered.ids.count, data.tooLong == .drop { return .leftOut(.tooLong, id) }
    let mask = Array(rendered.lossMask.prefix(length))
    guard TrainedRows(mask: mask, depths: 1).count(depth: 0) > 0 else { return .leftOut(.nothingTrained, id) }
    return .prepared(
      PreparedConversation(
        id: id, ids: Array(rendered.ids.prefix(length)), mask: mask, digest: Self.digest(messages),
        language: Language.of(messages), turns: messages.count { $0.role == .user },
        roleTokens: Self.roleTokens(rendered, length: length), isCut: length < rendered.ids.count))
  }

  private func fault(_ answers: [ChatMessage]) -> LeftOut? {
    if answers.contains(where: { $0.content.allSatisfy(\.isWhitespace) }) { return .emptyAnswer }
    return data.cutAnswers == .drop && answers.contains(where: \.isCut) ? .cutAnswer : nil
  }

  /// Whether an answer ends in a loop; the end of its turn does not count.
  private static func loops(_ rendered: RenderedConversation) -> Bool {
    TrainedRows(mask: rendered.lossMask, depths: 1).spans.contains { span in
      Repetition.endsInLoop(rendered.ids[span]) || Repetition.endsInLoop(rendered.ids[span].dropLast())
    }
  }

  private static func digest(_ messages: [ChatMessage]) -> PreparedConversation.Digest {
    var bytes = Data()
    for message in messages {
      bytes.append(contentsOf: "\(message.role.rawValue) \(message.content.utf8.count) ".utf8)
      bytes.append(contentsOf: message.content.utf8)
    }
    let words = FileDigest.short(bytes)
    return .init(high: words.high, low: words.low)
  }

  private static func roleTokens(_ rendered: RenderedConversation, length: Int) -> [Int] {
    var counts = [Int](repeating: 0, count: ChatMessage.Role.allCases.count)
    let ends = rendered.turns.dropFirst().map(\.start) + [rendered.ids.count]
    for (turn, end) in zip(rendered.turns, ends) {
      counts[ChatMessage.Role.allCases.firstIndex(of: turn.role)!] += max(0, min(end, length) - turn.start)
    }
    return counts
  }
}
