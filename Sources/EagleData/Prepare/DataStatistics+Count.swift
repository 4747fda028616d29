import EagleRunFiles
import EagleText

extension DataStatistics {
  mutating func add(_ conversation: PreparedConversation, isHeldOut: Bool) {
    turns += conversation.turns
    if conversation.rows.contains(where: \.isAnswer) { split += 1 }
    for row in conversation.rows { add(row, language: conversation.language.rawValue, isHeldOut: isHeldOut) }
  }

  private mutating func add(_ row: PreparedConversation.Row, language: String, isHeldOut: Bool) {
    let trained = row.mask.reduce(0) { $0 + Int($1) }
    conversations += 1
    if row.isAnswer { answerRows += 1 }
    if isHeldOut { heldOut += 1 }
    if row.isCut { cut += 1 }
    tokens += row.ids.count
    assistantTokens += trained
    for (role, count) in zip(ChatMessage.Role.allCases, row.roleTokens) where count > 0 {
      tokensByRole[role.rawValue, default: 0] += count
    }
    var bound = 32
    while bound < row.ids.count { bound *= 2 }
    lengths[bound, default: 0] += 1
    languages[language, default: PerLanguage()].conversations += 1
    languages[language]!.tokens += row.ids.count
    languages[language]!.assistantTokens += trained
  }

  mutating func leaveOut(_ reason: LeftOut, example: String) {
    leftOut[reason.rawValue, default: 0] += 1
    leftOutExamples[reason.rawValue] = leftOutExamples[reason.rawValue] ?? example
  }
}
