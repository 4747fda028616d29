import EagleChat
import EagleCore
import EagleDraft
import EagleRunFiles
import EagleStorage
import EagleTensor
import EagleText
import Foundation

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

/// A conversation as rows of tokens, with its statistics.
package struct PreparedConversation: Sendable {
  package let id: String
  /// One row for the whole conversation, or one for each trained answer.
  package let rows: [Row]
  /// 128 bits of SHA-256 over roles and texts.
  package let digest: Digest
  package let language: Language
  package let turns: Int

  /// A row of tokens that is trained separately.
  package struct Row: Sendable {
    /// The conversation's id, with the number of the answer if each answer has a row.
    package let name: String
    package let ids: [Int32]
    package let mask: [UInt8]
    /// Whether it is the row of one answer.
    package let isAnswer: Bool
    /// Tokens by role, headers included, in the order of `ChatMessage.Role.allCases`.
    package let roleTokens: [Int]
    package let isCut: Bool
  }

  package struct Digest: Hashable, Sendable, CustomStringConvertible {
    let high, low: UInt64

    /// Hexadecimal digits, without leading zeros of either half.
    package var description: String { String(high, radix: 16) + "." + String(low, radix: 16) }
  }
}

/// Converts lines to conversations. Any number of threads may use one instance.
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

  private func outcome(_ record: DataRecord) -> LineOutcome {
    switch record {
    case .conversation(let conversation):
      outcome(data.reasoning == .drop ? conversation.withoutReasoning() : conversation)
    case .row(let row): outcome(row)
    }
  }

  private func outcome(_ conversation: Conversation) -> LineOutcome {
    let (messages, id) = (conversation.messages, conversation.id)
    let answers = messages.filter { $0.role == .assistant }
    if answers.isEmpty { return .leftOut(.noAnswer, id) }
    if let reason = fault(answers) { return .leftOut(reason, id) }
    let rendered: [RenderedConversation]
    do {
      rendered = try model.template.rows(
        of: conversation, tokenizer: model.tokenizer, trained: data.trainedTurns.roles, rows: data.rows)
    } catch {
      return .leftOut(error is TextError ? .otherAnswer : .refused, "\(id): \(error)")
    }
    if data.loopingAnswers == .drop, rendered.contains(where: { Self.loops($0.ids, $0.lossMask) }) {
      return .leftOut(.loopingAnswer, id)
    }
    let rows = rendered.map { row in
      self.row(
        row.ids, row.lossMask, name: row.answer.map { "\(id), answer \($0)" } ?? id, turns: row.turns,
        isAnswer: row.answer != nil)
    }
    return outcome(
      rows, id: id, digest: Self.digest(conversation), language: .of(messages),
      turns: messages.count { $0.role == .user })
  }

  /// A row that is already tokenised. Its text is not checked.
  private func outcome(_ row: TokenRow) -> LineOutcome {
    guard row.ids.allSatisfy({ $0 < model.target.shape.vocabularySize }) else { return .leftOut(.unknownToken, row.id) }
    if data.loopingAnswers == .drop, Self.loops(row.ids, row.lossMask) { return .leftOut(.loopingAnswer, row.id) }
    let digest = row.ids.withUnsafeBytes { Data($0) } + row.lossMask
    let words = FileDigest.short(digest)
    return outcome(
      [self.row(row.ids, row.lossMask, name: row.id, turns: [], isAnswer: false)], id: row.id,
      digest: .init(high: words.high, low: words.low), language: .other, turns: 0)
  }

  private func outcome(
    _ rows: [PreparedConversation.Row], id: String, digest: PreparedConversation.Digest, language: Language, turns: Int
  ) -> LineOutcome {
    if data.tooLong == .drop, rows.contains(where: \.isCut) { return .leftOut(.tooLong, id) }
    let trained = rows.filter { TrainedRows(mask: $0.mask, depths: 1).count(depth: 0) > 0 }
    guard !trained.isEmpty else { return .leftOut(.nothingTrained, id) }
    return .prepared(
      PreparedConversation(id: id, rows: trained, digest: digest, language: language, turns: turns))
  }

  private func row(
    _ ids: [Int32], _ mask: [UInt8], name: String, turns: [RenderedConversation.Turn], isAnswer: Bool
  ) -> PreparedConversation.Row {
    let length = min(ids.count, data.maxLength)
    return PreparedConversation.Row(
      name: name, ids: Array(ids.prefix(length)), mask: Array(mask.prefix(length)), isAnswer: isAnswer,
      roleTokens: Self.roleTokens(turns, count: ids.count, length: length), isCut: length < ids.count)
  }

  private func fault(_ answers: [ChatMessage]) -> LeftOut? {
    if answers.contains(where: \.isEmpty) { return .emptyAnswer }
    return data.cutAnswers == .drop && answers.contains(where: \.isCut) ? .cutAnswer : nil
  }

  /// Whether an answer ends in a loop, with or without its end-of-turn token.
  private static func loops(_ ids: [Int32], _ mask: [UInt8]) -> Bool {
    TrainedRows(mask: mask, depths: 1).spans.contains { span in
      Repetition.endsInLoop(ids[span]) || Repetition.endsInLoop(ids[span].dropLast())
    }
  }

  private static func digest(_ conversation: Conversation) -> PreparedConversation.Digest {
    var bytes = Data()
    for message in conversation.messages {
      bytes.append(contentsOf: "\(message.role.rawValue) \(message.content.utf8.count) ".utf8)
      bytes.append(contentsOf: message.content.utf8)
      for key in renderedFields {
        guard let value = message.extra[key] else { continue }
        bytes.append(contentsOf: "\(key) \(withoutIDs(value).text())".utf8)
      }
    }
    if !conversation.tools.isEmpty { bytes.append(contentsOf: JSON.array(conversation.tools).text().utf8) }
    let words = FileDigest.short(bytes)
    return .init(high: words.high, low: words.low)
  }

  /// The fields of a message, in addition to role and content, that templates render. Time stamps and other fields do not make
  /// another conversation.
  private static let renderedFields = ["function_call", "name", "tool_calls"] + ChatMessage.reasoningFields

  /// A list of tool calls without their random ids; other values as they are.
  private static func withoutIDs(_ value: JSON) -> JSON {
    guard let calls = value.array else { return value }
    return .array(
      calls.map { call in
        call.object.map { .object(JSON.Object($0.entries.filter { $0.key != "id" })) } ?? call
      })
  }

  private static func roleTokens(_ turns: [RenderedConversation.Turn], count: Int, length: Int) -> [Int] {
    var counts = [Int](repeating: 0, count: ChatMessage.Role.allCases.count)
    let ends = turns.dropFirst().map(\.start) + [count]
    for (turn, end) in zip(turns, ends) {
      counts[ChatMessage.Role.allCases.firstIndex(of: turn.role)!] += max(0, min(end, length) - turn.start)
    }
    return counts
  }
}
