import EagleDecoding
import EagleDraft
import EagleModels
import EagleTensor
import Testing

/// Sessions and batches as in a server: sequences join and leave the batch, and keep their own tokens.
@Suite struct ServingTests {
  private func plain(_ model: TargetModel, _ prompt: [Int32], _ tokens: Int) throws -> [Int32] {
    try DecodingSession(target: model).generate(prompt, DecodingOptions(maxNewTokens: tokens, stopIDs: [])).ids
  }

  /// Steps sessions like a server: a round of all sequences, then a prefill chunk of one prompt.
  private func step(
    _ sessions: [DecodingSession], _ take: (DecodingSession, GeneratedToken) -> TokenDecision = { _, _ in .proceed }
  ) {
    DecodingSession.decode(sessions.filter(\.isDecoding))
    for session in sessions { session.takeTokens { take(session, $0) } }
    guard let next = sessions.first(where: \.isPrefilling) else { return }
    DecodingSession.prefill([next])
    next.takeTokens { take(next, $0) }
  }

  private static let plans: [DraftPlan] = [
    .chain(0), .chain(3), DraftPlan(depth: 3, width: 2, nodes: 5),
    DraftPlan(
      depth: 4, width: 3, nodes: 8, costs: DecodingCosts(targetPass: [1, 1.1, 1.2, 1.3], draftPass: 0.1)),
  ]

  @Test("texts that join and leave at any time are those that they would be alone", arguments: plans)
  func batchedTexts(plan: DraftPlan) throws {
    let target = Drafts.target(seed: 31, maxPositions: 2000)
    let head = Drafts.random(for: target, size: 320, seed: 32, deviation: 0.1)
    // The prefill of long ones takes several chunks, while others decode.
    let prompts = (0..<6).map { text in (0..<[3, 300, 5, 700, 4, 9][text]).map { Int32(($0 * 17 + text) % 320) } }
    let texts = try prompts.enumerated().map { try plain(target, $1, 20 + $0) }
    let slots = (0..<3).map { _ in DecodingSession(target: target, draft: head) }
    var (owners, written, next, most): ([ObjectIdentifier: Int], [[Int32]], Int, Int) = ([:], [], 0, 0)
    written = prompts.map { _ in [] }
    while next < prompts.count || slots.contains(where: \.isBusy) {
      for slot in slots where !slot.isBusy && next < prompts.count {
        owners[ObjectIdentifier(slot)] = next
        try slot.begin(
          prompts[next], DecodingOptions(maxNewTokens: 20 + next, stopIDs: [], plan: plan))
        next += 1
      }
      most = max(most, slots.filter(\.isDecoding).count)
      step(slots) { slot, token in
        let text = owners[ObjectIdentifier(slot)]!
        written[text].append(token.id)
        // The fourth sequence is cancelled.
        return text != 3 || written[3].count < 4 ? .proceed : .stop(.cancelled)
      }
      for slot in slots where !slot.isBusy && owners.removeValue(forKey: ObjectIdentifier(slot)) != nil {
        _ = try slot.end()
      }
    }
    #expect(most == 3)
    for text in prompts.indices {
      #expect(written[text] == Array(texts[text].prefix(text == 3 ? 4 : 20 + text)), "\(text)")
    }
  }

  @Test("a text that was written with others gets its drafts back when it is alone, and its next turn finds its cache")
  func draftsComeBack() throws {
    let target = Drafts.target(seed: 33, maxPositions: 500)
    let head = Drafts.random(for: target, size: 320, seed: 34)
    let options = DecodingOptions(maxNewTokens: 120, stopIDs: [], plan: .chain(2))
    let sessions = (0..<6).map { _ in DecodingSession(target: target, draft: head) }
    for (index, session) in sessions.enumerated() { try session.begin([7, Int32(index)], options) }
    DecodingSession.prefill(sessions)
    for session in sessions { session.takeTokens() }
    for _ in 0..<80 { step(sessions) }
    // In such a large batch nothing is drafted.
    for session in sessions.dropFirst() { #expect(try session.end().statistics.draftedTokens == 0) }
    let last = sessions[0]
    while last.isDecoding { step([last]) }
    let generation = try last.end()
    #expect(generation.statistics.draftedTokens >= 30)
    #expect(generation.ids == (try plain(target, [7, 0], 120)))
    let turn = [7, 0] + generation.ids + [1]
    let next = try last.generate(turn, options)
    #expect(next.statistics.cachedTokens == turn.count - 3)
    #expect(next.ids == (try DecodingSession(target: target).generate(turn, options).ids))
  }

  @Test("a prompt is cut at fixed positions, whatever of it is cached")
  func promptsAreCutAtFixedPositions() throws {
    let target = Drafts.target(seed: 35, maxPositions: 2000)
    let session = DecodingSession(target: target)
    let prompt = (0..<600).map { Int32($0 * 11 % 320) }
    let options = DecodingOptions(maxNewTokens: 2, stopIDs: [])
    func chunks(_ prompt: [Int32]) throws -> [Range<Int>] {
      var chunks: [Range<Int>] = []
      try session.begin(prompt, options)
      while session.isPrefilling {
        chunks.append(session.nextChunk)
        step([session])
      }
      while session.isDecoding { step([session]) }
      _ = try session.end()
      return chunks
    }
    #expect(try chunks(prompt) == [0..<192, 192..<384, 384..<576, 576..<600])
    #expect(try chunks(Array(prompt.prefix(300)) + [5, 6]) == [299..<302])
    #expect(try chunks(Array(prompt.prefix(250)) + prompt) == [249..<384, 384..<576, 576..<768, 768..<850])
  }

  @Test("where drafts cost more than they save only a round now and then tries them, and they come back when they pay")
  func draftsThatLoseRest() {
    let costs = DecodingCosts(targetPass: [1, 1.2, 1.4, 1.6], draftPass: 0.2)
    func drafted(_ rounds: Int, _ budget: inout DraftBudget, kept: Int) -> Int {
      var count = 0
      for _ in 0..<rounds {
        let drafts = budget.paysRound()
        count += drafts ? 1 : 0
        budget.count(
          draftPasses: drafts ? 1 : 0, tokens: drafts ? 2 : 1, depth: drafts ? 1 : 0, kept: drafts ? kept : 0)
      }
      return count
    }
    var budget = DraftBudget(costs: costs)
    // An answer of three tokens has two rounds without drafts.
    #expect(drafted(2, &budget, kept: 1) == 0)
    #expect(drafted(100, &budget, kept: 1) == 100)
    var losing = DraftBudget(costs: costs)
    #expect(drafted(300, &losing, kept: 0) <= 16)
    // The next trial may be far away, and then no drafting is skipped.
    _ = drafted(130, &losing, kept: 1)
    #expect(drafted(100, &losing, kept: 1) >= 95)
    // In a batch, the costs alone decide.
    var crowded = DraftBudget(costs: DecodingCosts(targetPass: [1, 1, 1, 1, 3, 5, 7, 9], draftPass: 0.1))
    crowded.batch = BatchLoad(sequences: 4, otherTokens: 3)
    #expect(drafted(300, &crowded, kept: 1) <= 16)
  }

  @Test("drafts that pay in the mean go on, though most of them are refused")
  func draftsThatPayInTheMean() {
    let costs = DecodingCosts(targetPass: [1, 1.1, 1.2, 1.3], draftPass: 0.1)
    var (random, drafted) = (RandomSource(seed: 3), 0)
    for _ in 0..<50 {
      var budget = DraftBudget(costs: costs)
      for _ in 0..<300 {
        let drafts = budget.paysRound()
        let isKept = Double(random.next() >> 11) * 0x1p-53 < 0.4
        drafted += drafts ? 1 : 0
        budget.count(
          draftPasses: drafts ? 1 : 0, tokens: drafts ? 2 : 1, depth: drafts ? 1 : 0, kept: drafts && isKept ? 1 : 0)
      }
    }
    // because: a draft costs 0.2 passes and saves 0.4 of them
    #expect(drafted > 50 * 300 * 8 / 10, "\(drafted)")
  }

  @Test("a tree's siblings are no rejections")
  func siblingsOfTrees() {
    var budget = DraftBudget(costs: DecodingCosts(targetPass: [1, 1.1, 1.2, 1.3], draftPass: 0.1))
    for _ in 0..<20 { budget.count(draftPasses: 2, tokens: 7, depth: 2, kept: 2) }
    #expect(budget.share > 0.95)
    for _ in 0..<41 { budget.count(draftPasses: 2, tokens: 7, depth: 2, kept: 0) }
    #expect(budget.share < 0.55)
  }

  @Test("each token knows whether it was drafted")
  func draftedTokensAreMarked() throws {
    let target = Drafts.target(seed: 21)
    let text = try plain(target, [4, 5], 40)
    let drafter = KnowingDrafter(text: [4, 5] + text, kind: .good, vocabulary: 320, seed: 1)
    let options = DecodingOptions(maxNewTokens: 40, stopIDs: [])
    var (ids, drafted): ([Int32], Int) = ([], 0)
    func take(_ token: GeneratedToken) -> TokenDecision {
      ids.append(token.id)
      drafted += token.isDrafted ? 1 : 0
      return .proceed
    }
    let generation = try DecodingSession(target: target, drafter: drafter).generate(
      [4, 5], options, isWanted: { true }, onToken: take)
    #expect(ids == text && generation.ids == text)
    #expect(drafted > 20 && drafted == generation.statistics.accepted.reduce(0, +))
  }

  /// After a cancelled prefill, a session continues as if the prompt had only had the computed part.
  @Test("a text that is cancelled during prefill keeps the entries of the chunks so far")
  func aPromptMayBeGivenUp() throws {
    let target = Drafts.target(seed: 22, maxPositions: 2000)
    let head = Drafts.random(for: target, size: 320, seed: 23)
    let prompt = (0..<1100).map { Int32($0 * 11 % 320) }
    let options = DecodingOptions(maxNewTokens: 12, stopIDs: [])
    let session = DecodingSession(target: target, draft: head)
    var passes = 0
    let given = try session.generate(prompt, options) {
      passes += 1
      return passes < 5
    } onToken: { _ in
      Issue.record("a token came")
      return .proceed
    }
    #expect(given.ids.isEmpty && given.finish == .cancelled && session.cachedTokens == 768)
    #expect(session.commonPrefix(with: prompt) == 768)
    let again = try session.generate(prompt, options)
    #expect(again.ids == (try plain(target, prompt, 12)) && again.statistics.cachedTokens == 767)
    // Another prompt with the same first 300 tokens.
    passes = 0
    let other = Array(prompt.prefix(300)) + (0..<900).map { Int32($0 * 13 % 320) }
    _ = try session.generate(other, options, isWanted: { false }, onToken: { _ in .proceed })
    #expect(try session.generate(other, options).ids == (try plain(target, other, 12)))
  }
}
