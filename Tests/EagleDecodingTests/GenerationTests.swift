import EagleDecoding
import EagleDraft
import Foundation
import Testing

@Suite struct GenerationTests {
  @Test("plain decoding agrees with transformers", arguments: Fixture.names)
  func plainDecodingAgreesWithTransformers(name: String)
    throws
  {
    let (model, ids, texts) = try Fixture.load(name)
    let greedy = Array(texts.prefix(model.shape.maxPositions - ids.count))
    let options = DecodingOptions(maxNewTokens: greedy.count, stopIDs: [])
    let generation = try DecodingSession(target: model).generate(ids, options)
    #expect(generation.ids == greedy)
    #expect(generation.statistics.acceptanceLength == 1)
    #expect(generation.statistics.targetPasses == greedy.count - 1)
  }

  /// For any proposals of the draft, the text is that of plain decoding.
  @Test(
    "whatever the draft proposes, the text is that of plain decoding",
    arguments: Fixture.names)
  func speculativeTextIsThePlainText(name: String) throws {
    let (model, ids, _) = try Fixture.load(name)
    for seed in 0..<12 as Range<UInt64> {
      let prompt = ids.prefix(12).map { ($0 + Int32(seed) * 7) % Int32(model.shape.vocabularySize) }
      let count = min(40, model.shape.maxPositions - prompt.count)
      let plain = try DecodingSession(target: model).generate(
        prompt, DecodingOptions(maxNewTokens: count, stopIDs: []))
      for length in [1, 3, 6] {
        let head = Drafts.random(for: model, size: seed % 2 == 0 ? 64 : 20, seed: seed)
        var options = DecodingOptions(maxNewTokens: count, stopIDs: [])
        options.plan = .chain(length)
        let speculative = try DecodingSession(target: model, draft: head).generate(prompt, options)
        #expect(speculative.ids == plain.ids, "\(name), seed \(seed), draft length \(length)")
        let counts = speculative.statistics
        #expect(counts.decodedTokens == count - 1 && counts.acceptanceLength >= 1)
        #expect(counts.accepted.reduce(0, +) + counts.targetPasses == counts.decodedTokens)
        let passes = speculative.passes
        #expect(passes.count == counts.targetPasses + 1 && passes[0] == .init(tokens: 1, accepted: 0))
        #expect(passes.allSatisfy { $0.tokens == $0.accepted + 1 })
        #expect(passes.reduce(0) { $0 + $1.accepted } == counts.accepted.reduce(0, +))
      }
    }
  }

  @Test("a stop id inside a round ends the text there")
  func aStopIDEndsTheTextInsideARound() throws {
    let (model, ids, greedy) = try Fixture.load("tiny-llama")
    let stop = greedy[5]
    let end = greedy.firstIndex(of: stop)!
    for head in [nil, Drafts.random(for: model, size: 64, seed: 3)] {
      let generation = try DecodingSession(target: model, draft: head).generate(
        ids, DecodingOptions(maxNewTokens: 40, stopIDs: [stop]))
      #expect(generation.ids == Array(greedy[...end]))
      #expect(generation.passes.reduce(0) { $0 + $1.tokens } == generation.ids.count)
    }
  }

  @Test("a decision to stop ends the text with that token")
  func tokensStreamAndCanBeStopped() throws {
    let (model, ids, greedy) = try Fixture.load("tiny-llama")
    nonisolated(unsafe) var streamed: [Int32] = []
    let generation = try DecodingSession(target: model).generate(ids, DecodingOptions(maxNewTokens: 12, stopIDs: [])) {
      streamed.append($0.id)
      return streamed.count < 4 ? .proceed : .stop(.stopString)
    }
    #expect(streamed == Array(greedy.prefix(4)) && generation.ids == streamed && generation.finish == .stopString)
  }

  @Test("a stop string that the last token completes is why the text ends")
  func stopStringAtTheLimit() throws {
    let (model, ids, _) = try Fixture.load("tiny-llama")
    let options = DecodingOptions(maxNewTokens: 4, stopIDs: [])
    nonisolated(unsafe) var count = 0
    let stopped = try DecodingSession(target: model).generate(ids, options) { _ in
      count += 1
      return count < 4 ? .proceed : .stop(.stopString)
    }
    #expect(stopped.finish == .stopString && stopped.ids.count == 4)
    let cancelled = try DecodingSession(target: model).generate(ids, options) { _ in
      count += 1
      return count < 8 ? .proceed : .stop(.cancelled)
    }
    #expect(cancelled.finish == .length)
  }

  @Test("accepted drafts behind the end of a text are not counted")
  func acceptedBehindTheEnd() throws {
    let (model, ids, greedy) = try Fixture.load("tiny-llama")
    let text = ids + greedy
    for end in 1..<10 {
      let drafter = KnowingDrafter(text: text, kind: .good, vocabulary: model.shape.vocabularySize, seed: 1)
      var options = DecodingOptions(maxNewTokens: 40, stopIDs: [greedy[end]])
      options.plan = .chain(6)
      let counts = try DecodingSession(target: model, drafter: drafter).generate(ids, options).statistics
      // A pass gives its accepted drafts and one more token, unless the sequence ends at a draft.
      let given = counts.accepted.reduce(0, +) + counts.targetPasses
      #expect(given == counts.decodedTokens || given == counts.decodedTokens + 1, "\(end)")
    }
  }

  @Test("tokens come one by one, and a loop that is left inside a round keeps what it has seen in text and caches")
  func tokensOneByOne() async throws {
    let (model, ids, greedy) = try Fixture.load("tiny-llama")
    let options = DecodingOptions(maxNewTokens: 12, stopIDs: [])
    let drafter = KnowingDrafter(text: ids + greedy, kind: .good, vocabulary: model.shape.vocabularySize, seed: 1)
    for session in [DecodingSession(target: model), DecodingSession(target: model, drafter: drafter)] {
      var seen: [Int32] = []
      func leaveEarly() async throws {
        for try await token in try session.tokens(ids, options) {
          seen.append(token.id)
          if seen.count == 6 { break }
        }
      }
      try await leaveEarly()
      #expect(seen == Array(greedy.prefix(6)) && session.cachedTokens == ids.count + 5)
      seen = []
      let tokens = try session.tokens(ids, options)
      while let token = try tokens.next() { seen.append(token.id) }
      let generation = try tokens.finish()
      #expect(try tokens.next() == nil)
      #expect(seen == Array(greedy.prefix(12)) && generation.ids == seen && generation.finish == .length)
    }
  }

  /// Small batches, and batches with more rows than a pass of the GEMMs.
  @Test(
    "a batch gives the texts of sessions that decode alone", arguments: Fixture.names,
    [3, 24])
  func batchesGiveTheSameTexts(name: String, width: Int) throws {
    let (model, ids, _) = try Fixture.load(name)
    let prompts = (0..<40).map { seed in
      ids.prefix(2 + seed % 9).map { ($0 + Int32(seed) * 5) % Int32(model.shape.vocabularySize) }
    }
    let answers = try Batch(model, width: width, stopIDs: [11]).answers(prompts, maxNewTokens: 15)
    for (prompt, answer) in zip(prompts, answers) {
      let options = DecodingOptions(maxNewTokens: 15, stopIDs: [11])
      #expect(try DecodingSession(target: model).generate(prompt, options).ids == answer)
    }
  }

  /// A dialogue continues in its slot, and the prefix that it shares with its last sequence is not computed again.
  @Test("a dialogue goes on in its slot, which reuses the common prefix")
  func aTextGoesOnInItsSlot() throws {
    let (model, ids, _) = try Fixture.load("tiny-llama")
    var turns: [Int: [Int32]] = [:]
    var waiting = (0..<5).map { DecodingRequest(id: $0, prompt: Array(ids.prefix(4 + $0)), maxNewTokens: 6) }
    try BatchGenerator(target: model, width: 2, stopIDs: []).run {
      waiting.popLast()
    } finished: { request, answer in
      if turns[request.id] != nil {
        turns[request.id]! += answer
        return nil
      }
      turns[request.id] = answer
      var next = request
      next.prompt += answer + [3, 4]
      return next
    }
    for id in 0..<5 {
      let options = DecodingOptions(maxNewTokens: 6, stopIDs: [])
      let first = try DecodingSession(target: model).generate(Array(ids.prefix(4 + id)), options).ids
      let second = try DecodingSession(target: model).generate(ids.prefix(4 + id) + first + [3, 4], options).ids
      #expect(turns[id] == first + second)
    }
  }

  @Test("prompts that the model cannot take are refused")
  func impossibleRequestsAreRefused() throws {
    let (model, ids, _) = try Fixture.load("tiny-llama")
    let session = DecodingSession(target: model)
    let tooLong = DecodingOptions(maxNewTokens: model.shape.maxPositions, stopIDs: [])
    let error = #expect(throws: GenerationError.self) { try session.generate(ids, tooLong) }
    #expect(error?.description.contains("positions") == true)
    let few = DecodingOptions(maxNewTokens: 1, stopIDs: [])
    #expect(throws: GenerationError.self) { try session.generate([], few) }
    #expect(throws: GenerationError.self) { try session.generate([9999], few) }
  }
}
