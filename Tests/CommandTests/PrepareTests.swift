import EagleCaptureStore
import EagleChat
import EagleCluster
import EagleCore
import EagleData
import EagleDraft
import EagleModels
import EagleText
import Foundation
import Testing

/// Data as it comes: large, compressed, repeated, broken, stopped in the middle.
@Suite(.serialized) struct PrepareTests {
  private func prepare(_ world: TinyWorld, _ more: String...) throws -> Outcome {
    try Command.run("eagle-train", ["prepare", "recipe.yaml"] + more.flatMap { ["--set", $0] }, in: world.path)
  }

  private func manifest(_ world: TinyWorld) throws -> [String: Any] {
    try JSONSerialization.jsonObject(with: world.read("out/prepared/manifest.json")) as? [String: Any] ?? [:]
  }

  private func statistics(_ world: TinyWorld) throws -> [String: Any] {
    try manifest(world)["statistics"] as? [String: Any] ?? [:]
  }

  private func line(_ id: String, _ messages: (String, String)..., extra: String = "") -> String {
    let list = messages.map { #"{"role": "\#($0)", "content": "\#($1)"\#(extra)}"# }.joined(separator: ", ")
    return #"{"id": "\#(id)", "conversations": [\#(list)]}"#
  }

  private func good(_ count: Int) -> [String] {
    (0..<count).map { line("good\($0)", ("user", "question \($0)"), ("assistant", "answer \($0)")) }
  }

  // MARK: filters

  @Test("conversations that are left out are counted by reason, with their line")
  func everyReasonIsCountedWithAPlace() throws {
    let world = try TinyWorld()
    let loop = String(repeating: "na ", count: 40)
    let odd = [
      line("none", ("user", "hello")), line("empty", ("user", "hello"), ("assistant", " \\n")),
      line("order", ("user", "a"), ("user", "b"), ("assistant", "c")),
      line("late", ("user", String(repeating: "x", count: 300)), ("assistant", "y")),
      line("again", ("user", "question 3"), ("assistant", "answer 3")),
      line("loop", ("user", "sing"), ("assistant", loop)),
      line("cut", ("user", "long"), ("assistant", "unfinished"), extra: #", "cut": true"#),
      line("long", ("user", "much"), ("assistant", (0..<80).map { "word\($0)" }.joined(separator: " "))),
    ]
    let broken = [
      "{\"id\": 1, \"conversations\": [",
      "{\"id\": \"r\", \"conversations\": [{\"role\": \"robot\", \"content\": \"x\"}]}",
    ]
    try world.put("data.jsonl", (good(400) + odd + broken).joined(separator: "\n"))
    let all = try prepare(
      world, "data.cut_answers=drop", "data.looping_answers=drop", "data.too_long=drop", "data.held_out=0")
    #expect(all.status == 0 && all.errors.contains("line 409"), "\(all.errors)")
    #expect(all.errors.contains("data.jsonl, line 402"))
    var s = try statistics(world)
    // This template accepts two questions in a row.
    #expect(s["conversations"] as? Int == 401 && s["skipped_lines"] as? Int == 2)
    #expect(
      s["left_out"] as? [String: Int] == [
        "no_answer": 1, "empty_answer": 1, "too_long": 2, "duplicate": 1, "looping_answer": 1, "cut_answer": 1,
      ])
    let page = String(decoding: try world.read("out/prepared/statistics.md"), as: UTF8.self)
    #expect(page.contains("an empty answer | 1 | data.jsonl, line 402: empty"), "\(page)")
    #expect(page.contains("| latin | 401 |"))
    // By default all conversations that can be trained are kept.
    #expect(try prepare(world, "data.held_out=0", "data.duplicates=keep").status == 0)
    s = try statistics(world)
    #expect(s["conversations"] as? Int == 405 && s["cut"] as? Int == 1)
    #expect((s["left_out"] as? [String: Int])?["nothing_trained"] == 1)
  }

  @Test("time stamps and ids of calls make no other conversation")
  func duplicatesWithMetadata() throws {
    let world = try TinyWorld()
    let lines = (0..<2).map { number in
      let call: JSON = [
        "id": .string("call_\(number)"), "type": "function", "function": ["name": "f", "arguments": "{}"],
      ]
      let question: JSON = ["role": "user", "content": "one", "timestamp": JSON(number)]
      let answer: JSON = ["role": "assistant", "content": "two", "tool_calls": [call]]
      return JSON.object(JSON.Object([("messages", .array([question, answer]))])).text()
    }
    try world.put("data.jsonl", (good(20) + lines).joined(separator: "\n"))
    #expect(try prepare(world, "data.held_out=0", "data.duplicates=drop").status == 0)
    #expect((try statistics(world)["left_out"] as? [String: Int])?["duplicate"] == 1)
  }

  @Test("an answer that only calls tools is trained; one that says nothing is left out")
  func answersThatCallToolsAreTrained() throws {
    let world = try TinyWorld()
    let template =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
      + "{% for c in m.tool_calls or [] %}{{ c.function.name }}{% endfor %}<|im_end|>\n{% endfor %}"
      + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    let config: JSON = ["chat_template": .string(template), "eos_token": "<|im_end|>"]
    try world.put("target/tokenizer_config.json", config.text())
    let call: JSON = ["type": "function", "function": ["name": "add", "arguments": ["a": 1]]]
    func answer(_ fields: (String, JSON)...) -> JSON { .object(JSON.Object([("role", "assistant")] + fields)) }
    let question: JSON = ["role": "user", "content": "one"]
    let conversations: [JSON] = [
      [
        question, answer(("content", .null), ("tool_calls", [call])), ["role": "tool", "content": "5"],
        answer(("content", "five")),
      ],
      [question, answer(("content", ""), ("tool_calls", [call]))],
      [question, answer(("content", ""), ("tool_calls", []))],
    ]
    let lines = conversations.map { JSON.object(JSON.Object([("conversations", $0)])).text() }
    try world.put("data.jsonl", lines.joined(separator: "\n"))
    let outcome = try prepare(world, "data.held_out=0")
    try #require(outcome.status == 0, "\(outcome.errors)")
    #expect(try statistics(world)["left_out"] as? [String: Int] == ["empty_answer": 1])
    let store = try TokenStore(path: world("out/prepared/tokens-00000.h5"))
    let trained = try (0..<2).map { try store.conversation($0).mask.reduce(0) { $0 + Int($1) } }
    // A byte is a token, and so is the end of a turn.
    #expect(trained == ["add|five|".utf8.count, "add|".utf8.count])
  }

  @Test("prepared data that a kill left without their name are kept")
  func aFinishedPreparationIsKept() throws {
    let world = try TinyWorld()
    #expect(try prepare(world).status == 0)
    let (folder, partial) = (world("out/prepared"), world("out/prepared.partial"))
    func file() throws -> Int? {
      let facts = try FileManager.default.attributesOfItem(atPath: "\(folder)/tokens-00000.h5")
      return facts[.systemFileNumber] as? Int
    }
    let before = try #require(try file())
    try FileManager.default.moveItem(atPath: folder, toPath: partial)
    try world.put("out/prepared.partial/digests-00000.bin", "left behind")
    #expect(try prepare(world).status == 0)
    #expect(try file() == before)
    #expect(try !FileManager.default.contentsOfDirectory(atPath: folder).contains("digests-00000.bin"))
  }

  /// The end-of-turn token of a cut answer was not generated by the target, so it is not trained.
  @Test("the end-of-turn token of a cut answer is not trained") func theEndOfACutAnswerIsNotTrained() throws {
    let world = try TinyWorld()
    try world.put(
      "data.jsonl",
      line("a", ("user", "one"), ("assistant", "two")) + "\n"
        + line("b", ("user", "one"), ("assistant", "three"), extra: #", "cut": true"#))
    #expect(try prepare(world, "data.held_out=0").status == 0)
    let store = try TokenStore(path: world("out/prepared/tokens-00000.h5"))
    let (whole, cut) = (try store.conversation(0), try store.conversation(1))
    #expect(whole.mask.reduce(0) { $0 + Int($1) } == "two".count + 1)
    #expect(cut.mask.reduce(0) { $0 + Int($1) } == "three".count)
  }

  @Test("user turns are trained when data.trained_turns is all")
  func questionsAreTrainedWhereTheRecipeWantsIt() throws {
    let world = try TinyWorld()
    try world.put("data.jsonl", line("a", ("system", "sys"), ("user", "one"), ("assistant", "three")))
    #expect(try prepare(world, "data.held_out=0", "data.trained_turns=all").status == 0)
    let (ids, mask) = try TokenStore(path: world("out/prepared/tokens-00000.h5")).conversation(0)
    let trained = zip(ids, mask).filter { $0.1 == 1 }.map { $0.0 < 256 ? String(UnicodeScalar(UInt8($0.0))) : "|" }
    #expect(trained.joined() == "one|three|")
  }

  @Test("statistics by language, role and length add up to the totals") func numbersOnThePageAddUp() throws {
    let world = try TinyWorld()
    try world.put(
      "data.jsonl",
      (good(30) + [line("zh", ("system", "短"), ("user", "你好吗"), ("assistant", "我很好"))]).joined(separator: "\n"))
    #expect(try prepare(world, "draft.vocabulary_size=20").status == 0)
    let s = try statistics(world)
    let languages = s["languages"] as? [String: [String: Any]] ?? [:]
    #expect(languages["chinese"]?["conversations"] as? Int == 1 && languages["latin"]?["conversations"] as? Int == 30)
    let roles = s["tokens_by_role"] as? [String: Int] ?? [:]
    #expect(roles.values.reduce(0, +) == s["tokens"] as? Int && roles["system"] == "?system\n???!\n".count)
    #expect((s["lengths"] as? [String: Int])?.values.reduce(0, +) == 31)
    let page = String(decoding: try world.read("out/prepared/statistics.md"), as: UTF8.self)
    #expect(page.contains("| tokens | \(try #require(s["tokens"] as? Int)) |") && page.contains("| chinese | 1 |"))
    #expect(languages.values.compactMap { $0["tokens"] as? Int }.reduce(0, +) == s["tokens"] as? Int)
  }

  @Test("a language that the draft vocabulary omits causes a warning with a sufficient size")
  func aLanguageThatTheVocabularyLeavesOutIsAWarning() throws {
    let world = try TinyWorld()
    let chinese = (0..<20).map { line("zh\($0)", ("user", "你好\($0)"), ("assistant", "的一是不了人我在有他这中大来上个国")) }
    try world.put("data.jsonl", (good(100) + chinese).joined(separator: "\n"))
    let few = try prepare(world, "draft.vocabulary_size=24", "data.duplicates=keep", "data.held_out=0")
    let warning = few.errors.split(separator: "\n").first { $0.contains("warning") } ?? ""
    #expect(warning.contains("chinese") && few.status == 0, "\(few.errors)")
    // The advised size is sufficient.
    let size = try #require(warning.split(separator: " ").drop { $0 != "draft.vocabulary_size" }.dropFirst().first)
    let enough = try prepare(world, "draft.vocabulary_size=\(size)", "data.duplicates=keep", "data.held_out=0")
    #expect(!enough.errors.contains("chinese tokens") && enough.status == 0, "\(enough.errors)")
  }

  // MARK: weights

  @Test("the weight of a file samples or repeats its conversations") func weightsRepeatAndDraw() throws {
    let world = try TinyWorld()
    try world.put("data.jsonl", good(200).joined(separator: "\n"))
    try world.put("more.jsonl", line("extra", ("user", "x"), ("assistant", "y")))
    let files = "[{path: data.jsonl, weight: 0.25}, {path: more.jsonl, weight: 3}]"
    #expect(try prepare(world, "data.train=\(files)", "data.held_out=0").status == 0)
    let data = try PreparedData(folder: world("out/prepared"))
    #expect((25...75).contains(data.tokens.conversationCount - 1))
    #expect(
      data.trained.count == data.tokens.conversationCount + 2
        && Array(data.trained.suffix(3)) == [Int](repeating: data.tokens.conversationCount - 1, count: 3))
    let run = try Command.run(
      "eagle-train", ["run", "recipe.yaml", "--set", "data.train=\(files)", "--set", "train.epochs=1"], in: world.path)
    #expect(run.status == 0, "\(run.errors)")
    for (wrong, word) in [("{path: data.jsonl, weight: 0}", "weight"), ("{file: data.jsonl}", "unknown key file")] {
      let outcome = try prepare(world, "data.train=[\(wrong)]")
      #expect(outcome.status == 1 && outcome.errors.contains(word), "\(outcome.errors)")
    }
  }

  /// A conversation that a weight leaves out does not count as an earlier copy of the same conversation in another
  /// file.
  @Test("a conversation that a weight leaves out makes no duplicate of its copy")
  func aConversationThatWasNotDrawnIsNoDuplicate() throws {
    let world = try TinyWorld()
    try world.put("data.jsonl", good(200).joined(separator: "\n"))
    try world.put("curated.jsonl", good(50).joined(separator: "\n"))
    let files = "[{path: data.jsonl, weight: 0.2}, curated.jsonl]"
    #expect(try prepare(world, "data.train=\(files)", "data.held_out=0").status == 0)
    let data = try PreparedData(folder: world("out/prepared"))
    let names = Set((0..<data.tokens.conversationCount).map(data.name))
    #expect((0..<50).allSatisfy { names.contains("good\($0)") } && names.count == data.tokens.conversationCount)
  }

  // MARK: the split

  /// Conversations that differ only in their text.
  private func namesakes(_ count: Int) -> [String] {
    (0..<count).map { line("sharegpt", ("user", "question \($0)"), ("assistant", "answer \($0)")) }
  }

  @Test("a file whose lines share an id is split and drawn conversation by conversation", arguments: [0, 1, 2])
  func idsNeedNotBeUnique(seed: Int) throws {
    let world = try TinyWorld()
    try world.put("data.jsonl", namesakes(61).joined(separator: "\n"))
    let split = try prepare(world, "data.held_out=0.3", "train.seed=\(seed)")
    #expect(split.status == 0, "\(split.errors)")
    // because: 61 samples of 0.3 are 18.3 ± 3.6, and four deviations are for all seeds
    #expect((4...33).contains(try PreparedData(folder: world("out/prepared")).heldOut.count))
    let drawn = try prepare(
      world, "data.train=[{path: data.jsonl, weight: 0.25}]", "data.held_out=0", "train.seed=\(seed)")
    #expect(drawn.status == 0, "\(drawn.errors)")
    // because: 15.3 ± 3.4
    #expect((2...29).contains(try PreparedData(folder: world("out/prepared")).tokens.conversationCount))
  }

  @Test("the held-out conversations stay held out when data is added, whatever their ids")
  func theSplitStays() throws {
    let world = try TinyWorld()
    func heldOut(_ lines: [String]) throws -> Set<[Int32]> {
      try world.put("data.jsonl", lines.joined(separator: "\n"))
      #expect(try prepare(world, "data.held_out=0.3").status == 0)
      let data = try PreparedData(folder: world("out/prepared"))
      return Set(try data.heldOut.map { try data.tokens.conversation($0).ids })
    }
    let first = try heldOut(namesakes(40))
    let more = try heldOut(good(90).reversed())
    #expect(!first.isEmpty && first.isSubset(of: more) && more.count > first.count)
  }

  @Test("equal conversations that are kept are held out together or trained together")
  func equalConversationsFallAlike() throws {
    let world = try TinyWorld()
    try world.put("data.jsonl", (good(60) + namesakes(60)).joined(separator: "\n"))
    #expect(try prepare(world, "data.held_out=0.3", "data.duplicates=keep").status == 0)
    let heldOut = Set(try PreparedData(folder: world("out/prepared")).heldOut)
    #expect((0..<60).allSatisfy { heldOut.contains($0) == heldOut.contains($0 + 60) } && !heldOut.isEmpty)
  }

  // MARK: stopping

  /// Requests a stop once this many conversations have been read.
  private final class StopAt: ProgressSink {
    let count: Int
    let stop: StopRequest
    private(set) var lines: [String] = []

    init(_ count: Int, _ stop: StopRequest) { (self.count, self.stop) = (count, stop) }
    func advance(_: String, done: Int, total _: Int, unit _: String, note _: String) {
      if done >= count { stop.make("a test") }
    }
    func finish(_: String, _: String) {}
    func say(_ line: String) { lines.append(line) }
  }

  @Test("a stopped preparation resumes and ends with the same data") func aStoppedPreparationGoesOnWhereItWas() throws {
    let world = try TinyWorld(conversations: 150)
    try world.put("second.jsonl", (good(90) + ["broken"] + good(10)).joined(separator: "\n"))
    let model = try ChatModel(folder: world("target"), precision: .fp32)
    var data = DataConfig()
    data.train = [DataFile(path: world("data.jsonl")), DataFile(path: world("second.jsonl"), weight: 1.5)]
    func prepare(_ folder: String, stopAt: Int = .max) throws -> [String] {
      let stop = StopRequest()
      let progress = StopAt(stopAt, stop)
      _ = try Preparation(
        data: data, draft: DraftConfig.small, seed: 3, model: model, progress: progress, stop: stop, chunkBytes: 700,
        fileTokens: 900
      ).run(folder: world(folder))
      return progress.lines
    }
    _ = try prepare("whole")
    for count in [40, 120, 200] {
      #expect(throws: StoppedRun.self) { _ = try prepare("cut", stopAt: count) }
      #expect(!FileManager.default.fileExists(atPath: world("cut")))
      // Half a file of tokens of a killed process.
      try world.put("cut.partial/.tokens-00099.h5.tmp-1", "half")
    }
    let lines = try prepare("cut")
    #expect(lines.contains { $0.contains("resuming after") }, "\(lines)")
    let names = try FileManager.default.contentsOfDirectory(atPath: world("whole")).sorted()
    #expect(names.count > 10)
    for name in names {
      let same = try world.read("whole/\(name)") == world.read("cut/\(name)")
      #expect(same || name.hasSuffix(".h5"), "\(name)")
    }
    let (whole, cut) = (try PreparedData(folder: world("whole")), try PreparedData(folder: world("cut")))
    #expect(whole.fingerprint == cut.fingerprint && whole.tokens.lengths == cut.tokens.lengths)
    for conversation in 0..<whole.tokens.conversationCount {
      #expect(try whole.tokens.conversation(conversation) == cut.tokens.conversation(conversation))
    }
    #expect(whole.trained == cut.trained && whole.name(of: 170) == cut.name(of: 170) && whole.name(of: 0) == "c0")
  }

  @Test("the list of names is read once, and ids of several conversations are told apart by their numbers")
  func names() throws {
    let world = try TinyWorld()
    try world.put("data.jsonl", (good(9) + namesakes(2)).joined(separator: "\n"))
    #expect(try prepare(world, "data.held_out=0", "data.duplicates=keep").status == 0)
    let data = try PreparedData(folder: world("out/prepared"))
    #expect(data.name(of: 3) == "good3")
    try FileManager.default.removeItem(atPath: world("out/prepared/conversations-00000.jsonl"))
    let expected = (0..<9).map { "good\($0)" } + ["#9", "#10"]
    #expect((0..<11).map { data.name(of: $0) } == expected)
    #expect(try data.conversations(named: ["good4", "#10"]) == [4, 10])
    #expect(try data.conversations(named: ["sharegpt"]) == [9, 10])
  }

  @Test(
    "counts of prepared data that cannot be are an error, and it is prepared again", arguments: ["files", "held_out"])
  func impossibleCounts(key: String) throws {
    let world = try TinyWorld()
    #expect(try prepare(world).status == 0)
    let impossible: [String: Any] = ["files": -1, "held_out": [1 << 40]]
    var fields = try manifest(world)
    fields[key] = impossible[key]
    try JSONSerialization.data(withJSONObject: fields)
      .write(to: URL(fileURLWithPath: world("out/prepared/manifest.json")))
    #expect(throws: LocatedError.self) { _ = try PreparedData(folder: world("out/prepared")) }
    let again = try prepare(world)
    #expect(again.status == 0 && !again.errors.contains("up to date"), "\(again.errors)")
    #expect(try PreparedData(folder: world("out/prepared")).tokens.conversationCount == 60)
  }

  @Test("a state with counts that cannot be is begun anew", arguments: ["files", "input", "reports"])
  func impossibleState(key: String) throws {
    let world = try TinyWorld(conversations: 150)
    let model = try ChatModel(folder: world("target"), precision: .fp32)
    var data = DataConfig()
    data.train = [DataFile(path: world("data.jsonl"))]
    func prepare(stopAt: Int = .max) throws -> [String] {
      let stop = StopRequest()
      let progress = StopAt(stopAt, stop)
      _ = try Preparation(
        data: data, draft: DraftConfig.small, seed: 3, model: model, progress: progress, stop: stop, chunkBytes: 700,
        fileTokens: 900
      ).run(folder: world("made"))
      return progress.lines
    }
    #expect(throws: StoppedRun.self) { _ = try prepare(stopAt: 80) }
    let impossible: [String: Any] = ["files": -1, "input": 9, "reports": [Any]()]
    var fields = try #require(
      try JSONSerialization.jsonObject(with: world.read("made.partial/state.json")) as? [String: Any])
    fields[key] = impossible[key]
    try JSONSerialization.data(withJSONObject: fields)
      .write(to: URL(fileURLWithPath: world("made.partial/state.json")))
    let lines = try prepare()
    #expect(!lines.contains { $0.contains("resuming after") }, "\(lines)")
    #expect(try PreparedData(folder: world("made")).tokens.conversationCount == 150)
  }

  // MARK: bad input

  @Test("a draft vocabulary larger than the target's is refused before any data is read")
  func aVocabularyThatIsTooLargeIsRefusedFirst() throws {
    let world = try TinyWorld()
    let outcome = try prepare(world, "draft.vocabulary_size=260", "data.train=[missing.jsonl]")
    #expect(outcome.status == 1, "\(outcome.errors)")
    #expect(
      outcome.errors.contains("draft.vocabulary_size: 260 is more than the target's 259 tokens; choose at most 259"),
      "\(outcome.errors)")
    #expect(!FileManager.default.fileExists(atPath: world("out/prepared.partial")))
    #expect(try prepare(world, "draft.vocabulary_size=259").status == 0)
  }

  @Test("malformed lines are skipped and reported with their number") func oddBytesAreCountedAndNeverFatal() throws {
    let world = try TinyWorld()
    func bytes(_ odd: Data) -> Data { Data((good(150).joined(separator: "\n") + "\n").utf8) + odd + Data("\n".utf8) }
    let long = Data(("{\"id\": \"big\", \"conversations\": \"").utf8) + Data(count: 40 << 20)
    let nul =
      Data(#"{"id": "n", "conversations": [{"role": "user", "content": ""#.utf8) + Data([0]) + Data("\"}]}".utf8)
    let deep = Data((String(repeating: "[", count: 100_000)).utf8)
    for (odd, word) in [
      (nul, "JSON"), (Data(#"{"id": "s", "conversations": [{"role": "user", "content": "\ud800"}]}"#.utf8), "JSON"),
      (long, "longer than 16 MiB"), (deep, "JSON"),
      (Data(#"{"id": "x", "conversations": {"role": "user"}}"#.utf8), "list"),
      (Data(#"{"conversations": [{"role": "user", "content": {"text": "x"}}]}"#.utf8), "string"),
      (Data(#"{"conversations": [{"role": "robot", "content": "x"}]}"#.utf8), "robot"),
      (Data([0xFF, 0xFE, 0x00, 0x01]), "JSON"),
    ] {
      try bytes(odd).write(to: URL(fileURLWithPath: world("data.jsonl")))
      let outcome = try prepare(world)
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(outcome.errors.contains("line 151") && outcome.errors.contains(word), "\(outcome.errors)")
    }
    // An escaped NUL is an ordinary character.
    try bytes(Data(line("z", ("user", "a"), ("assistant", "b\\u0000c")).utf8)).write(
      to: URL(fileURLWithPath: world("data.jsonl")))
    let outcome = try prepare(world)
    #expect(outcome.status == 0 && outcome.errors.contains("151 conversations"), "\(outcome.errors)")
  }
}

extension DraftConfig {
  fileprivate static var small: DraftConfig {
    var config = DraftConfig()
    config.vocabularySize = 64
    return config
  }
}
