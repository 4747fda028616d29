import EagleChat
import EagleStorage
import EagleTensor
import EagleText
import Foundation

/// Why a conversation is not trained on.
package enum LeftOut: String, Codable, Sendable {
  case wrongRoles = "roles out of order"
  case noAnswer = "no assistant turn"
  case emptyAnswer = "an empty answer"
  case cutAnswer = "an answer that was broken off"
  case loopingAnswer = "an answer that ends in a loop"
  case tooLong = "longer than max_length"
  case nothingTrained = "no assistant token to train on within max_length"
  case duplicate = "the same messages as an earlier one"
  case notDrawn = "not drawn by the file's weight"
}

/// What a line has come to, before it is compared with other lines.
package enum LineOutcome: Sendable {
  case broken(TextError)
  case leftOut(LeftOut, String)
  case prepared(PreparedConversation)
}

/// A conversation as tokens, with what is counted about it.
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

  /// Of lines that all threads share.
  package func outcomes(_ piece: [ConversationLine]) -> [LineOutcome] {
    [LineOutcome](unsafeUninitializedCapacity: piece.count) { buffer, count in
      let places = Places(start: buffer.baseAddress)
      Parallel.forEachRange(piece.count, grain: 16, dynamic: true) { range in
        for i in range { (places.start! + i).initialize(to: outcome(piece[i])) }
      }
      count = piece.count
    }
  }

  /// Threads write to places of their own.
  private struct Places: @unchecked Sendable { let start: UnsafeMutablePointer<LineOutcome>? }

  package func outcome(_ line: ConversationLine) -> LineOutcome {
    switch line.parsed() {
    case .failure(let error): .broken(error)
    case .success(let conversation): outcome(conversation)
    }
  }

  private func outcome(_ conversation: Conversation) -> LineOutcome {
    let (messages, id) = (conversation.messages, conversation.id)
    if let reason = fault(messages) { return .leftOut(reason, id) }
    let rendered: RenderedConversation
    do {
      try conversation.checkTurns()
      rendered = try model.template.render(
        conversation, tokenizer: model.tokenizer, trained: data.trainedTurns.roles)
    } catch {
      return .leftOut(.wrongRoles, "\(error)")
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

  private func fault(_ messages: [ChatMessage]) -> LeftOut? {
    let answers = messages.filter { $0.role == .assistant }
    if answers.isEmpty { return .noAnswer }
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
