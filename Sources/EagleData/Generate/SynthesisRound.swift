import EagleText

/// The results of the first attempts.
struct SynthesisRound: Codable {
  let attempts: Int
  /// Ids of the attempts that pass, in order.
  private(set) var kept: [String] = []
  /// The other attempts, by reason.
  private var rejected: [String: Int] = [:]

  /// Creates a round without attempts.
  init() { attempts = 0 }

  /// Evaluates the finished attempts with numbers below `attempts`.
  init(attempts: Int, _ file: GeneratedFile) throws {
    self.attempts = attempts
    var questions: [Int: String] = [:]
    try file.readAll { line in
      guard let number = Attempt.number(line.id), number < attempts else { return }
      if let reason = line.rejected {
        rejected[reason, default: 0] += 1
      } else {
        questions[number] = line.conversations.first { $0.role == "user" }?.content ?? ""
      }
    }
    var seen = NearDuplicates()
    for (number, question) in questions.sorted(by: { $0.key < $1.key }) {
      if seen.insert(question) {
        kept.append(Attempt.id(number))
      } else {
        rejected["like an earlier one", default: 0] += 1
      }
    }
  }

  /// The number of attempts of the next round: the expected number at the rate so far, plus 10%.
  func attemptsNeeded(for wanted: Int) -> Int {
    let rate = attempts == 0 ? 0.8 : max(0.02, Double(kept.count) / Double(attempts))
    return Int((Double(wanted - kept.count) / rate * 1.1).rounded(.up))
  }

  /// Whether fewer than one attempt in 50 passes.
  var isHopeless: Bool { attempts >= 50 && kept.count * 50 < attempts }

  var describeRejected: String {
    let reasons = rejected.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.value) \($0.key)" }
    return reasons.isEmpty ? "" : "; dropped: \(reasons.joined(separator: ", "))"
  }
}
