import EagleDecoding
import EagleModels
import Testing

/// What a server needs of sessions and batches: texts that come and go, and whose tokens are whose.
@Suite struct ServingTests {
  private func plain(_ model: TargetModel, _ prompt: [Int32], _ tokens: Int) throws -> [Int32] {
    try Generator(target: model).generate(prompt, DecodingOptions(maxNewTokens: tokens, stopIDs: [])).ids
  }

  /// Texts join while others run, one is taken out, and each is the text that it would be alone.
  @Test func aBatchTakesTextsAtAnyTime() throws {
    let (model, ids, _) = try Fixture.load("tiny-qwen3")
    let prompts = (0..<6).map { Array(ids.prefix(3 + $0)) }
    let batch = BatchGenerator(target: model, width: 2, stopIDs: [])
    var texts = [[Int32]](repeating: [], count: prompts.count)
    var (next, ended) = (0, 0)
    while ended < prompts.count {
      while batch.hasRoom, next < prompts.count {
        try batch.begin(DecodingRequest(id: next, prompt: prompts[next], maxNewTokens: 5 + next))
        next += 1
      }
      for new in batch.advance() {
        texts[new.id].append(new.token)
        #expect(new.isLast == (texts[new.id].count == 5 + new.id))
        // The fourth is not wanted after three tokens.
        if new.id == 3, texts[3].count == 3 { batch.end(3) }
        if new.isLast || (new.id == 3 && texts[3].count == 3) { ended += 1 }
      }
    }
    #expect(batch.count == 0 && batch.advance().isEmpty)
    for (id, prompt) in prompts.enumerated() {
      #expect(texts[id] == Array(try plain(model, prompt, 5 + id).prefix(id == 3 ? 3 : 5 + id)), "\(id)")
    }
  }

  @Test func aBatchFindsTheRowsOfAConversation() throws {
    let (model, ids, _) = try Fixture.load("tiny-llama")
    let batch = BatchGenerator(target: model, width: 3, stopIDs: [])
    let prompts = [Array(ids.prefix(6)), [9, 8, 7, 6], [1, 1, 2]]
    var answers: [Int: [Int32]] = [:]
    for (id, prompt) in prompts.enumerated() {
      #expect(try batch.begin(DecodingRequest(id: id, prompt: prompt, maxNewTokens: 4)) == 0)
    }
    while batch.count > 0 { for new in batch.advance() { answers[new.id, default: []].append(new.token) } }
    let turn = prompts[1] + answers[1]! + [5]
    // All rows but that of the last token, which has not run.
    #expect(try batch.begin(DecodingRequest(id: 7, prompt: turn, maxNewTokens: 3)) == prompts[1].count + 3)
    var text: [Int32] = []
    while batch.count > 0 { text += batch.advance().map(\.token) }
    #expect(text == (try plain(model, turn, 3)))
  }

  @Test func draftedTokensAreToldApart() throws {
    let target = Drafts.target(seed: 21)
    let text = try plain(target, [4, 5], 40)
    let drafter = KnowingDrafter(text: [4, 5] + text, kind: .good, vocabulary: 320, seed: 1)
    let options = DecodingOptions(maxNewTokens: 40, stopIDs: [])
    var (ids, drafted): ([Int32], Int) = ([], 0)
    func take(_ token: Int32, _ isDrafted: Bool) -> Bool {
      ids.append(token)
      drafted += isDrafted ? 1 : 0
      return true
    }
    let generation = try DecodingSession(target: target, drafter: drafter).generate(
      [4, 5], options, isWanted: { true }, onToken: take)
    #expect(ids == text && generation.ids == text)
    #expect(drafted > 20 && drafted == generation.statistics.accepted.reduce(0, +))
  }

  /// A prompt that is no longer wanted leaves a session that goes on as if it had been asked for just that much.
  @Test func aPromptMayBeGivenUp() throws {
    let target = Drafts.target(seed: 22, maxPositions: 2000)
    let head = Drafts.random(for: target, size: 320, seed: 23)
    let prompt = (0..<1100).map { Int32($0 * 11 % 320) }
    let options = DecodingOptions(maxNewTokens: 12, stopIDs: [])
    let session = DecodingSession(target: target, draft: head)
    var passes = 0
    let given = try session.generate(prompt, options) {
      passes += 1
      return passes < 3
    } onToken: { _, _ in
      Issue.record("a token came")
      return true
    }
    #expect(given.ids.isEmpty && given.finish == .caller && session.cachedTokens == 1024)
    #expect(session.sharedTokens(with: prompt) == 1024)
    let again = try session.generate(prompt, options)
    #expect(again.ids == (try plain(target, prompt, 12)) && again.statistics.cachedTokens == 1023)
    // Another text, with the first 300 tokens in common.
    passes = 0
    let other = Array(prompt.prefix(300)) + (0..<900).map { Int32($0 * 13 % 320) }
    _ = try session.generate(other, options, isWanted: { false }, onToken: { _, _ in true })
    #expect(try session.generate(other, options).ids == (try plain(target, other, 12)))
  }

  /// A text that a session has begun goes on in a batch, without any row run again; also when its prompt was read in part only.
  @Test func aBatchGoesOnWithTheTextOfASession() throws {
    let target = Drafts.target(seed: 24, maxPositions: 2000)
    let head = Drafts.random(for: target, size: 320, seed: 25)
    let prompts = [[3, 1, 4], (0..<700).map { Int32($0 * 17 % 320) }]
    for prompt in prompts {
      let text = try plain(target, prompt, 30)
      let session = DecodingSession(target: target, draft: head)
      var written: [Int32] = []
      func take(_ token: Int32, _ isDrafted: Bool) -> Bool {
        written.append(token)
        return written.count < 11
      }
      var passes = 0
      func isWanted() -> Bool {
        passes += 1
        return prompt.count < 512 || passes < 2
      }
      _ = try session.generate(
        prompt, DecodingOptions(maxNewTokens: 30, stopIDs: []), isWanted: isWanted, onToken: take)
      #expect(written.count == (prompt.count < 512 ? 11 : 0))
      let batch = BatchGenerator(target: target, width: 2, stopIDs: [])
      try batch.begin(DecodingRequest(id: 0, prompt: [9, 9], maxNewTokens: 40))
      try batch.begin(
        DecodingRequest(id: 1, prompt: prompt + written, maxNewTokens: 30 - written.count), takingOver: session)
      while batch.count > 0 { written += batch.advance().filter { $0.id == 1 }.map(\.token) }
      #expect(written == text)
    }
  }
}
