import EagleChat
import EagleCluster
import EagleCore
import EagleData
import EagleText
import Foundation
import Testing

/// `regenerate` and `synthesize`.
@Suite(.serialized) struct GenerateTests {
  private struct Line: Decodable, Equatable {
    struct Message: Decodable, Equatable {
      let role, content: String
      let cut: Bool?
    }
    let id: String
    let conversations: [Message]
  }

  private func lines(_ world: TinyWorld, _ name: String) throws -> [Line] {
    try String(decoding: try world.read(name), as: UTF8.self).split(separator: "\n").map {
      try JSONDecoder().decode(Line.self, from: Data($0.utf8))
    }
  }

  private func regenerate(_ world: TinyWorld, _ output: String, _ more: String..., ranks: Int = 1) throws -> Outcome {
    let arguments =
      [
        "regenerate", "recipe.yaml", "--set", "regenerate.input=[questions.jsonl]", "--set", "regenerate.batch=3",
        "--set", "regenerate.output=\(output)", "--set", "regenerate.max_new_tokens=8",
      ] + more.flatMap { ["--set", $0] }
    return ranks == 1
      ? try Command.run("eagle-train", arguments, in: world.path)
      : try Command.runRanks(ranks, arguments, in: world.path)
  }

  /// Writes prompts, and conversations whose answers do not matter.
  private func putQuestions(_ world: TinyWorld, count: Int = 9) throws {
    let questions = (0..<count).map { #"{"id": "q\#($0)", "turns": ["word \#($0)", "and \#($0)"]}"# }
    let conversation =
      #"{"id": "talk", "conversations": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}, "#
      + #"{"role": "assistant", "content": "an old answer"}, {"role": "user", "content": "more"}]}"#
    try world.put("questions.jsonl", (questions + [conversation]).joined(separator: "\n") + "\n")
  }

  @Test("regenerate answers every user turn as the target does, and marks cut answers")
  func everyTurnIsAnsweredByTheTarget() throws {
    let world = try TinyWorld()
    try putQuestions(world)
    let outcome = try regenerate(world, "answers.jsonl")
    #expect(outcome.status == 0 && outcome.errors.contains("10 conversations to 10 questions"), "\(outcome.errors)")
    let answers = try lines(world, "answers.jsonl")
    #expect(answers.map(\.id) == (0..<9).map { "q\($0)" } + ["talk"])
    let talk = try #require(answers.last).conversations
    #expect(talk.map(\.role).prefix(3) == ["system", "user", "assistant"] && talk[0].content == "be kind")
    // The target's answer in a session of its own.
    let plain = try Command.run(
      "eagle-run",
      ["generate", "--target", "target", "--precision", "fp32", "--prompt", "word 3", "--max-tokens", "8", "--json"],
      in: world.path)
    let text = (try JSONSerialization.jsonObject(with: Data(plain.output.utf8)) as? [String: Any])?["text"]
    #expect(answers[3].conversations[1].content == text as? String)
    // An answer without an end is marked and ends its conversation.
    for answer in answers {
      let cut = answer.conversations.filter { $0.cut == true }
      #expect(cut.isEmpty || (cut.count == 1 && answer.conversations.last == cut[0]))
      #expect(!cut.isEmpty || answer.conversations.count >= 4)
    }
    #expect(answers.contains { $0.conversations.last?.cut == true })
  }

  @Test("a conversation that the chat template refuses is left out, and the others are answered")
  func refusedConversations() throws {
    let world = try TinyWorld()
    try putQuestions(world)
    try world.put(
      "target/chat_template.jinja",
      "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}{% for m in messages %}"
        + "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
        + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
    for ranks in [1, 2] {
      let outcome = try regenerate(world, "answers-\(ranks).jsonl", ranks: ranks)
      #expect(outcome.status == 0 && outcome.errors.contains("9 conversations to 10 questions"), "\(outcome.errors)")
      #expect(outcome.errors.contains("1 conversation refused"))
      #expect(ranks > 1 || outcome.errors.contains("no system role"))
      #expect(try lines(world, "answers-\(ranks).jsonl").map(\.id) == (0..<9).map { "q\($0)" })
    }
    let again = try regenerate(world, "answers-1.jsonl")
    #expect(again.status == 0 && again.errors.contains("up to date: 9 conversations"), "\(again.errors)")
    #expect(again.errors.contains("1 question left out"))
  }

  @Test("regenerate writes the same file after a stop and on two ranks")
  func aRunThatWasStoppedGoesOnAndRanksMakeNoDifference() throws {
    let world = try TinyWorld()
    try putQuestions(world, count: 30)
    let drawn = ["regenerate.temperature=1", "regenerate.seed=5"]
    #expect(try regenerate(world, "whole.jsonl", drawn[0], drawn[1]).status == 0)
    let whole = try world.read("whole.jsonl")
    let ranks = try regenerate(world, "ranks.jsonl", drawn[0], drawn[1], ranks: 2)
    #expect(try ranks.status == 0 && world.read("ranks.jsonl") == whole, "\(ranks.errors)")
    // The files of two killed ranks: finished conversations, and half a line.
    try FileManager.default.createDirectory(atPath: world("cut.jsonl.parts"), withIntermediateDirectories: true)
    try FileManager.default.copyItem(atPath: world("whole.jsonl.made.json"), toPath: world("cut.jsonl.made.json"))
    let all = String(decoding: whole, as: UTF8.self).split(separator: "\n")
    try world.put("cut.jsonl.parts/rank-0.jsonl", all[3..<9].joined(separator: "\n") + "\n" + all[9].dropLast(9))
    try world.put("cut.jsonl.parts/rank-5.jsonl", all[20] + "\n")
    let resumed = try regenerate(world, "cut.jsonl", drawn[0], drawn[1])
    #expect(try resumed.status == 0 && world.read("cut.jsonl") == whole, "\(resumed.errors)")
    // All turns of the 24 missing conversations, and of no other.
    let answers = try lines(world, "whole.jsonl").map { line in line.conversations.count { $0.role == "assistant" } }
    let kept = Set([3, 4, 5, 6, 7, 8, 20])
    let missing = answers.indices.filter { !kept.contains($0) }.reduce(0) { $0 + answers[$1] }
    #expect(resumed.errors.contains(": \(missing) new answers"), "\(resumed.errors)")
    let again = try regenerate(world, "cut.jsonl", drawn[0], drawn[1])
    #expect(again.status == 0 && again.errors.contains("up to date"), "\(again.errors)")
    #expect(!FileManager.default.fileExists(atPath: world("cut.jsonl.parts")))
  }

  @Test("regenerate adds answers to new questions, and refuses other settings and foreign files")
  func moreQuestionsAreAddedAndOtherSettingsRefused() throws {
    let world = try TinyWorld()
    try putQuestions(world, count: 4)
    #expect(try regenerate(world, "answers.jsonl").status == 0)
    let first = try lines(world, "answers.jsonl")
    try putQuestions(world, count: 6)
    #expect(try regenerate(world, "answers.jsonl").status == 0)
    let more = try lines(world, "answers.jsonl")
    #expect(more.count == 7 && first.allSatisfy(more.contains))
    let other = try regenerate(world, "answers.jsonl", "regenerate.temperature=0.5")
    #expect(other.status == 1 && other.errors.contains("other settings"), "\(other.errors)")
    try world.put("mine.jsonl", "precious\n")
    let foreign = try regenerate(world, "mine.jsonl")
    #expect(foreign.status == 1 && foreign.errors.contains("mine.jsonl"), "\(foreign.errors)")
    #expect(try world.read("mine.jsonl") == Data("precious\n".utf8))
  }

  /// A question is identified by its text, not by its id: a repeated text is asked once, and another text with the same
  /// id is asked too.
  @Test("regenerate tells questions apart by their text, not by their ids")
  func questionsAreToldApartByTheirText() throws {
    let world = try TinyWorld()
    let first = #"{"id": "1", "prompt": "one"}"#
    try world.put(
      "questions.jsonl",
      [first, #"{"id": "2", "prompt": "one"}"#, #"{"id": "1", "prompt": "two"}"#].joined(separator: "\n"))
    let outcome = try regenerate(world, "answers.jsonl")
    #expect(outcome.status == 0 && outcome.errors.contains("1 repeated question, asked once"), "\(outcome.errors)")
    #expect(try lines(world, "answers.jsonl").map(\.conversations[0].content) == ["one", "two"])
    // A line before the others does not change them.
    try world.put("questions.jsonl", #"{"prompt": "zero"}"# + "\n" + first)
    let more = try regenerate(world, "answers.jsonl")
    #expect(more.status == 0 && more.errors.contains(": 1 new answers"), "\(more.errors)")
    #expect(try lines(world, "answers.jsonl").map(\.conversations[0].content) == ["zero", "one", "two"])
  }

  /// One rank receives the signal, all end, and the same command resumes.
  @Test("a signal to one rank stops regenerate, and the same command completes it") func aStopReachesAllRanks() throws {
    let world = try TinyWorld()
    try putQuestions(world, count: 400)
    let arguments = [
      "regenerate", "recipe.yaml", "--set", "regenerate.input=[questions.jsonl]", "--set", "regenerate.batch=2",
      "--set",
      "regenerate.output=answers.jsonl", "--set", "regenerate.max_new_tokens=200",
    ]
    let running = try Command.startRanks(2, arguments, in: world.path)
    let part = world("answers.jsonl.parts/rank-1.jsonl")
    while (FileManager.default.contents(atPath: part)?.count ?? 0) < 100 && running.process.isRunning { usleep(2000) }
    kill(try #require(running.ranks.first), SIGTERM)
    let outcome = try running.finish()
    #expect(outcome.errors.contains("stopped during regenerate"), "\(outcome.errors)")
    #expect(!FileManager.default.fileExists(atPath: world("answers.jsonl")))
    let rest = try Command.runRanks(2, arguments, in: world.path)
    #expect(rest.status == 0 && rest.errors.contains("401 conversations to 401"), "\(rest.errors)")
  }

  @Test("regenerate refuses an output that another program writes") func twoProgramsOnOneFileAreRefused() throws {
    let world = try TinyWorld()
    try putQuestions(world)
    let lock = try FolderLock(world("answers.jsonl.parts"))
    let second = try regenerate(world, "answers.jsonl")
    #expect(second.status == 1 && second.errors.contains("writes here"), "\(second.errors)")
    withExtendedLifetime(lock) {}
  }

  @Test("regenerate skips prompts that it cannot use, and refuses a file without any")
  func questionsThatAreNoneAreCountedOrRefused() throws {
    let world = try TinyWorld()
    try world.put("questions.jsonl", "\n\n")
    let empty = try regenerate(world, "answers.jsonl")
    #expect(empty.status == 1 && empty.errors.contains("no prompt"), "\(empty.errors)")
    let many = (0..<200).map { #"{"id": "q\#($0)", "prompt": "word \#($0)"}"# } + [#"{"id": "bad", "prompt": 7}"#]
    try world.put("questions.jsonl", many.joined(separator: "\n"))
    let one = try regenerate(world, "answers.jsonl", "regenerate.max_new_tokens=1")
    #expect(one.status == 0 && one.errors.contains("line 201"), "\(one.errors)")
    let long = String(repeating: "x", count: 600)
    try world.put("questions.jsonl", #"{"id": "a", "prompt": "\#(long)"}"# + "\n" + #"{"id": "b", "prompt": "y"}"#)
    let tooLong = try regenerate(world, "few.jsonl")
    #expect(tooLong.status == 0 && tooLong.errors.contains("1 conversation too long"), "\(tooLong.errors)")
    #expect(try lines(world, "few.jsonl").map(\.id) == ["b"])
  }

  @Test("answers that leave no position for a prompt or a question are refused before anything is written")
  func answersThatAreTooLong() throws {
    let world = try TinyWorld()
    try putQuestions(world)
    let answers = try regenerate(world, "answers.jsonl", "regenerate.max_new_tokens=512")
    #expect(
      answers.status == 1 && answers.errors.contains("regenerate.max_new_tokens: answers of 512 tokens leave no"),
      "\(answers.errors)")
    let synthetic = try synthesize(world, "synthetic.jsonl", "synthesize.max_new_tokens=512")
    #expect(
      synthetic.status == 1 && synthetic.errors.contains("synthesize.max_new_tokens: answers of 512 tokens leave no"),
      "\(synthetic.errors)")
    for name in ["answers.jsonl", "answers.jsonl.parts", "synthetic.jsonl", "synthetic.jsonl.parts"] {
      #expect(!FileManager.default.fileExists(atPath: world(name)), "\(name)")
    }
  }

  @Test("a generated file that data.train does not name is a warning, however its path is spelled")
  func outputsThatNothingTrainsOn() throws {
    let world = try TinyWorld()
    try putQuestions(world, count: 2)
    func prepare(_ files: String) throws -> Outcome {
      let settings = [
        "regenerate.input=[questions.jsonl]", "regenerate.output=answers.jsonl", "regenerate.max_new_tokens=4",
        "data.train=[\(files)]",
      ]
      return try Command.run(
        "eagle-train", ["prepare", "recipe.yaml"] + settings.flatMap { ["--set", $0] }, in: world.path)
    }
    let other = try prepare("data.jsonl")
    #expect(
      other.status == 0
        && other.errors.contains("warning: data.train does not name regenerate.output, answers.jsonl"),
      "\(other.errors)")
    let both = try prepare("data.jsonl, ./answers.jsonl")
    #expect(both.status == 0 && !both.errors.contains("does not name"), "\(both.errors)")
  }

  private func inode(_ path: String) throws -> UInt64? {
    try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? UInt64
  }

  @Test(
    "a question that is too long is counted, and the next start is up to date and writes nothing", arguments: [1, 2])
  func questionsThatAreTooLongAreLeftOutOnce(ranks: Int) throws {
    let world = try TinyWorld()
    let long = String(repeating: "x", count: 300)
    try world.put("questions.jsonl", #"{"id": "a", "prompt": "\#(long)"}"# + "\n" + #"{"id": "b", "prompt": "y"}"#)
    let first = try regenerate(world, "few.jsonl", ranks: ranks)
    #expect(first.status == 0 && first.errors.contains("1 conversation to 2 questions"), "\(first.errors)")
    let (file, record) = (try inode(world("few.jsonl")), try inode(world("few.jsonl.made.json")))
    let second = try regenerate(world, "few.jsonl", ranks: ranks)
    let upToDate = "up to date: 1 conversation in few.jsonl, 1 question left out, of more than 256 tokens"
    #expect(second.status == 0 && second.errors.contains(upToDate), "\(second.errors)")
    #expect(try inode(world("few.jsonl")) == file && inode(world("few.jsonl.made.json")) == record)
    #expect(!FileManager.default.fileExists(atPath: world("few.jsonl.parts")))
    // With a larger limit it fits and is asked.
    let wider = try regenerate(world, "few.jsonl", "data.max_length=400", ranks: ranks)
    #expect(wider.status == 0 && wider.errors.contains("2 conversations to 2 questions"), "\(wider.errors)")
    #expect(try lines(world, "few.jsonl").map(\.id) == ["a", "b"])
  }

  @Test("input that asks nothing new leaves the output alone, and a changed output is completed")
  func onlyNewQuestionsTouchTheOutput() throws {
    let world = try TinyWorld()
    try putQuestions(world, count: 4)
    #expect(try regenerate(world, "answers.jsonl").status == 0)
    let (all, file) = (try world.read("answers.jsonl"), try inode(world("answers.jsonl")))
    try putQuestions(world, count: 3)
    for _ in 0..<2 {
      let fewer = try regenerate(world, "answers.jsonl")
      #expect(fewer.status == 0 && fewer.errors.contains("up to date: 5 conversations"), "\(fewer.errors)")
      #expect(try inode(world("answers.jsonl")) == file)
    }
    try putQuestions(world, count: 4)
    let text = String(decoding: all, as: UTF8.self)
    try world.put("answers.jsonl", text.split(separator: "\n").dropFirst().joined(separator: "\n") + "\n")
    let mended = try regenerate(world, "answers.jsonl")
    #expect(try mended.status == 0 && world.read("answers.jsonl") == all, "\(mended.errors)")
  }

  /// Requests the stop, if there is one, once ten conversations are done.
  private final class StopAtTen: ProgressSink {
    let stop: StopRequest?
    init(_ stop: StopRequest?) { self.stop = stop }
    func advance(_: String, done: Int, total _: Int, unit _: String, note _: String) {
      if done >= 10 { stop?.make("a test") }
    }
    func finish(_: String, _: String) {}
    func say(_: String) {}
  }

  @Test("rank 0 alone reads the questions, and a stop leaves nothing that the next start trips over")
  func onlyRankZeroReads() throws {
    let world = try TinyWorld()
    try putQuestions(world, count: 40)
    let model = try ChatModel(folder: world("target"), precision: .fp32)
    let path = world.path
    @Sendable func regenerate(_ output: String, _ cluster: any Communicator, stop: StopRequest? = nil) throws {
      var config = RegenerateConfig()
      config.input = [cluster.isRoot ? "\(path)/questions.jsonl" : "\(path)/not-there.jsonl"]
      (config.output, config.maxNewTokens, config.batch) = ("\(path)/\(output)", 8, 2)
      try Regeneration(
        model.format, writer: .target(model.target), config: config, maxLength: 256, cluster: cluster,
        progress: StopAtTen(stop), stop: stop ?? StopRequest()
      ).run()
    }
    try regenerate("alone.jsonl", SoloCommunicator())
    // A file of a kill during the write of the questions, by a process that does not exist.
    try FileManager.default.createDirectory(atPath: world("both.jsonl.parts"), withIntermediateDirectories: true)
    try world.put("both.jsonl.parts/.questions-1.tmp-999999999", "half")
    _ = try LoopbackCommunicator.run(size: 2) { cluster in
      #expect(throws: StoppedRun.self) { try regenerate("both.jsonl", cluster, stop: StopRequest()) }
    }
    // because: a stop keeps the parts, and the questions that rank 0 has written for all
    let kept = try FileManager.default.contentsOfDirectory(atPath: world("both.jsonl.parts"))
    #expect(kept.count { $0.hasPrefix("questions-") } == 1, "\(kept)")
    #expect(!kept.contains { $0.hasPrefix(".questions-") }, "\(kept)")
    _ = try LoopbackCommunicator.run(size: 2) { cluster in try regenerate("both.jsonl", cluster) }
    #expect(try world.read("both.jsonl") == world.read("alone.jsonl"))
    #expect(!FileManager.default.fileExists(atPath: world("both.jsonl.parts")))
  }

  // MARK: synthesize

  private func synthesize(_ world: TinyWorld, _ output: String, _ more: String..., ranks: Int = 1) throws -> Outcome {
    let arguments =
      [
        "synthesize", "recipe.yaml", "--set", "synthesize.conversations=12", "--set", "synthesize.batch=4", "--set",
        "synthesize.output=\(output)", "--set", "synthesize.max_new_tokens=16", "--set", "synthesize.turns=2", "--set",
        "synthesize.question_tokens=200", "--set", "synthesize.openings=['', 'Tell me all ']",
      ] + more.flatMap { ["--set", $0] }
    return ranks == 1
      ? try Command.run("eagle-train", arguments, in: world.path)
      : try Command.runRanks(ranks, arguments, in: world.path)
  }

  @Test("synthetic conversations are the same on one and two ranks, and more extend them")
  func conversationsAreMadeUpTheSameOnAnyNumberOfRanks() throws {
    let world = try TinyWorld()
    let alone = try synthesize(world, "alone.jsonl")
    #expect(alone.status == 0 && alone.errors.contains("dropped"), "\(alone.errors)")
    let made = try lines(world, "alone.jsonl")
    #expect(made.count == 12 && Set(made.map(\.id)).count == 12)
    for line in made {
      let isOdd = Int(line.id.dropFirst("synthetic-".count))! % 2 == 1
      #expect(line.conversations[0].role == "user" && line.conversations[1].role == "assistant")
      #expect(!isOdd || line.conversations[0].content.hasPrefix("Tell me all "))
    }
    let ranks = try synthesize(world, "ranks.jsonl", ranks: 2)
    #expect(try ranks.status == 0 && world.read("ranks.jsonl") == world.read("alone.jsonl"), "\(ranks.errors)")
    let again = try synthesize(world, "alone.jsonl")
    #expect(again.status == 0 && again.errors.contains("up to date"), "\(again.errors)")
    // More conversations: the first ones stay, and are counted from the beginning.
    let more = try synthesize(world, "alone.jsonl", "synthesize.conversations=20")
    let done = try #require(try #/synthesize: (\d+)\/20 /#.firstMatch(in: more.errors)).1
    #expect(Int(done)! >= 12, "\(more.errors)")
    let grown = try lines(world, "alone.jsonl")
    #expect(more.status == 0 && grown.count == 20 && Array(grown.prefix(12)) == made, "\(more.errors)")
    let other = try synthesize(world, "other.jsonl", "synthesize.seed=1")
    #expect(try other.status == 0 && world.read("other.jsonl") != world.read("alone.jsonl"))
  }

  @Test("synthesize ends with an error when no attempt succeeds") func aTargetThatFinishesNothingIsRefused() throws {
    let world = try TinyWorld()
    let outcome = try synthesize(world, "none.jsonl", "synthesize.question_tokens=1", "synthesize.conversations=60")
    #expect(outcome.status == 1 && outcome.errors.contains("of 83 attempts 0"), "\(outcome.errors)")
    #expect(!FileManager.default.fileExists(atPath: world("none.jsonl")))
  }
}
