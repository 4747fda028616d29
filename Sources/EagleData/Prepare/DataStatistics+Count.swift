import EagleRunFiles
import EagleText

extension DataStatistics {
  mutating func add(_ conversation: PreparedConversation, isHeldOut: Bool) {
    let trained = conversation.mask.reduce(0) { $0 + Int($1) }
    conversations += 1
    if isHeldOut { heldOut += 1 }
    if conversation.isCut { cut += 1 }
    turns += conversation.turns
    tokens += conversation.ids.count
    assistantTokens += trained
    for (role, count) in zip(ChatMessage.Role.allCases, conversation.roleTokens) {
      tokensByRole[role.rawValue, default: 0] += count
    }
    var bound = 32
    while bound < conversation.ids.count { bound *= 2 }
    lengths[bound, default: 0] += 1
    languages[conversation.language.rawValue, default: PerLanguage()].conversations += 1
    languages[conversation.language.rawValue]!.tokens += conversation.ids.count
    languages[conversation.language.rawValue]!.assistantTokens += trained
  }

  mutating func leaveOut(_ reason: LeftOut, example: String) {
    leftOut[reason.rawValue, default: 0] += 1
    leftOutExamples[reason.rawValue] = leftOutExamples[reason.rawValue] ?? example
  }
}
