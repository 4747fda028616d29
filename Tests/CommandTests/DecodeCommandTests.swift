import EagleCore
import Foundation
import Testing

/// `eagle-run` with a small target and a head that a short run has trained.
@Suite(.serialized) struct DecodeCommandTests {
  private static let head = ["--draft", "out/export"]

  private func trained() throws -> TinyWorld {
    let world = try TinyWorld(conversations: 30)
    let outcome = try Command.run("eagle-train", ["run", "recipe.yaml", "--set", "train.epochs=1"], in: world.path)
    try #require(outcome.status == 0, "\(outcome.errors)")
    return world
  }

  private func generate(_ world: TinyWorld, _ arguments: [String], input: Data = Data()) throws -> [String: Any] {
    let outcome = try Command.run(
      "eagle-run", ["generate", "--target", "target", "--max-tokens", "40", "--json"] + arguments, in: world.path,
      input: input)
    try #require(outcome.status == 0, "\(outcome.errors)")
    return try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any] ?? [:]
  }

  @Test("a prompt comes from a flag, a file or standard input") func promptsComeFromFlagFileAndStandardInput() throws {
    let world = try TinyWorld()
    try world.put("prompt.txt", "hello")
    let expected = try generate(world, ["--prompt", "hello"])["tokens"] as? [Int]
    #expect(expected?.isEmpty == false)
    #expect(try generate(world, ["--prompt-file", "prompt.txt"])["tokens"] as? [Int] == expected)
    #expect(try generate(world, [], input: Data("hello".utf8))["tokens"] as? [Int] == expected)
  }

  @Test("a target with a very long context is decoded under a limit of virtual memory")
  func longContextsFitALimit() throws {
    let world = try TinyWorld()
    let config = String(decoding: try world.read("target/config.json"), as: UTF8.self)
    // 1 KB a position: 41 GB for all of them.
    try world.put(
      "target/config.json",
      config.replacing(#/"max_position_embeddings" ?: ?512/#) { _ in
        #""max_position_embeddings":40000000"#
      })
    let generate = "\(Command.binaries)/eagle-run generate --target target --max-tokens 40 --prompt hello"
    let limited = try Command.run("/bin/bash", ["-c", "ulimit -v 8000000 && exec \(generate)"], in: world.path)
    #expect(limited.status == 0 && !limited.output.isEmpty, "\(limited.errors)")
    #expect(String(decoding: try world.read("target/config.json"), as: UTF8.self).contains("40000000"))
  }

  @Test("a head does not change greedy text, whatever the plan, precision or weights")
  func draftsOfEveryShapeGiveThePlainText() throws {
    let world = try trained()
    let plain = try generate(world, ["--prompt", "cloud 7"])["text"] as? String
    for flags in [
      [], ["--draft-length", "5"], ["--draft-length", "3", "--draft-width", "3", "--draft-nodes", "7"], ["--adaptive"],
    ] {
      let answer = try generate(world, ["--prompt", "cloud 7"] + Self.head + flags)
      #expect(answer["text"] as? String == plain, "\(flags)")
      let counts = answer["counts"] as? [String: Any]
      #expect((counts?["rounds"] as? Int ?? 0) > 0 && counts?["rounds"] as? Int == counts?["target_passes"] as? Int)
    }
    // Another precision, or 8-bit weights, gives another model, whose greedy output is equal with and without a head.
    for other in [["--precision", "fp32"], ["--weights", "q8_0"]] {
      let alone = try generate(world, ["--prompt", "cloud 7"] + other)["text"] as? String
      #expect(try generate(world, ["--prompt", "cloud 7"] + other + Self.head)["text"] as? String == alone)
    }
  }

  @Test("a stop string ends the text before it, with and without a head")
  func stopStringsEndTheTextBeforeThem() throws {
    let world = try trained()
    let whole = try #require(try generate(world, ["--prompt", "river 1"])["text"] as? String)
    let stop = String(whole.dropFirst(10).prefix(3))
    let expected = String(whole[..<whole.range(of: stop)!.lowerBound])
    for flags in [[], Self.head] {
      let answer = try generate(world, ["--prompt", "river 1", "--stop", "nowhere", "--stop", stop] + flags)
      #expect(answer["text"] as? String == expected && answer["finish_reason"] as? String == "stop")
    }
  }

  @Test("a seed determines sampled text") func aSeedDecidesDrawnTexts() throws {
    let world = try trained()
    func text(_ seed: Int, _ flags: [String]) throws -> String? {
      try generate(world, ["--prompt", "x", "--temperature", "1", "--seed", "\(seed)"] + flags)["text"] as? String
    }
    let tree = Self.head + ["--draft-length", "3", "--draft-width", "2"]
    #expect(try text(1, []) == text(1, tree))
    #expect(try text(1, Self.head) == text(1, Self.head))
    #expect(try text(1, []) != text(2, []))
  }

  @Test("chat reuses its KV cache, and a head does not change its text") func chatGoesOnFromItsCache() throws {
    let world = try trained()
    let lines = Data("hello\n/stats\ngreen 3\n/stats\n/nonsense\n/reset\nhello\n/exit\nnever\n".utf8)
    func chat(_ flags: [String]) throws -> Outcome {
      try Command.run(
        "eagle-run", ["chat", "--target", "target", "--max-tokens", "30"] + flags, in: world.path, input: lines)
    }
    let (plain, speculative) = (try chat([]), try chat(Self.head))
    #expect(plain.status == 0 && speculative.status == 0, "\(plain.errors) \(speculative.errors)")
    #expect(plain.output == speculative.output && !plain.output.isEmpty)
    #expect(speculative.errors.contains("acceptance by position") && speculative.errors.contains("/nonsense"))
    let cached = plain.errors.split(separator: "\n").filter { $0.hasPrefix("last answer") }.map(String.init)
    #expect(cached.count == 2 && cached[0].contains(" 0 of them in the cache"))
    #expect(!cached[1].contains(" 0 of them in the cache"))
  }

  @Test("chat refuses a message that is too long, and answers the next one")
  func aConversationThatIsTooLongIsRefusedAndCanBeReset() throws {
    let world = try TinyWorld()
    let long = String(repeating: "a", count: 600)
    let outcome = try Command.run(
      "eagle-run", ["chat", "--target", "target", "--max-tokens", "5"], in: world.path,
      input: Data("\(long)\nhello\n".utf8))
    #expect(outcome.status == 0 && outcome.errors.contains("/reset") && !outcome.output.isEmpty)
  }

  @Test("Ctrl-C ends an answer or a line, and not the program") func ctrlCDoesNotEndAChat() throws {
    let world = try TinyWorld(endless: true)
    let chat = try Command.start(
      "eagle-run", ["chat", "--target", "target", "--max-tokens", "100000"], in: world.path, input: nil)
    func type(_ text: String) { chat.keyboard.fileHandleForWriting.write(Data(text.utf8)) }
    type("hello\n")
    while chat.output.isEmpty && chat.process.isRunning { usleep(1000) }
    // One at a time, because a second one before the first was handled ends the program.
    kill(chat.process.processIdentifier, SIGINT)
    type("/stats\n")
    while !chat.errors.contains("last answer") && chat.process.isRunning { usleep(1000) }
    for _ in 0..<2 {
      let before = chat.output.utf8.count
      kill(chat.process.processIdentifier, SIGINT)
      while chat.output.utf8.count == before && chat.process.isRunning { usleep(1000) }
    }
    type("/exit\n")
    let outcome = try chat.finish()
    #expect(outcome.status == 0 && outcome.errors.contains("last answer"), "\(outcome.errors)")
  }

  @Test("bench compares with plain decoding, and tune writes a plan for its target")
  func benchAndTuneMeasureInTurn() throws {
    let world = try trained()
    try world.put(
      "choice.csv", ",Question,A,B,C,D,Answer\n0,\"one, two?\",a,b,c,d,A\n1,three,\"x \"\"y\"\"\",b,c,d,B\n")
    let files = ["--prompts", "prompts.jsonl", "--prompts", "choice.csv", "--max-tokens", "10"]
    let bench = try Command.run(
      "eagle-run", ["bench", "--target", "target", "--json", "bench.json"] + Self.head + files, in: world.path)
    #expect(bench.status == 0 && bench.output.contains("choice"), "\(bench.errors)")
    let results = try JSONSerialization.jsonObject(with: world.read("bench.json")) as? [String: [String: Any]] ?? [:]
    #expect(results["choice"]?["prompts"] as? Int == 2 && results["choice"]?["differing"] as? Int == 0)
    #expect((results["prompts"]?["counts"] as? [String: Any])?["plain"] != nil)
    let tune = try Command.run(
      "eagle-run",
      ["tune", "--target", "target", "--plan", "2", "--plan", "2x2:3", "--plan", "4+adaptive"] + Self.head + files,
      in: world.path)
    #expect(tune.status == 0 && tune.output.contains("written to out/export/decoding.json"), "\(tune.errors)")
    let file = try JSONSerialization.jsonObject(with: world.read("out/export/decoding.json")) as? [String: Any]
    let depth = (file?["plan"] as? [String: Any])?["depth"] as? Int
    #expect(depth == 2 || depth == 4)
    // The plan is used if no flag replaces it, and only for this target.
    _ = try generate(world, ["--prompt", "hello"] + Self.head)
    let other = try Command.run(
      "eagle-run", ["generate", "--target", "target", "--prompt", "x", "--weights", "q8_0"] + Self.head, in: world.path)
    #expect(other.status == 0 && other.errors.contains("decoding.json is for another"))
    // A file of a version without any precision except fp32.
    var old = try #require(file)
    var environment = try #require(old["environment"] as? [String: Any])
    #expect(environment.removeValue(forKey: "precision") != nil)
    old["environment"] = environment
    try JSONSerialization.data(withJSONObject: old).write(to: URL(fileURLWithPath: world("out/export/decoding.json")))
    let older = try Command.run(
      "eagle-run", ["generate", "--target", "target", "--precision", "fp32", "--prompt", "x"] + Self.head,
      in: world.path)
    #expect(older.status == 0 && !older.errors.contains("decoding.json"), "\(older.errors)")
  }

  @Test("a decoding.json whose plan or costs cannot be drafted by is refused")
  func impossibleCosts() throws {
    let world = try trained()
    let environment = #"{"processor": "x", "threads": 1, "target": "x", "weights": "stored"}"#
    for (plan, passes, complaint) in [
      ("[1, 1, 1]", "[]", "`target_pass` is empty"), ("[1, 1, 1]", "[0.2, 0.1]", "`target_pass` falls"),
      ("[1, 1, 1]", "[0, 1]", "must be seconds above 0"), ("[9, 9, 4611686018427387904]", "[1, 2]", "cannot be grown"),
    ] {
      let sizes = try #require(JSONSerialization.jsonObject(with: Data(plan.utf8)) as? [Int])
      try world.put(
        "out/export/decoding.json",
        #"{"plan": {"depth": \#(sizes[0]), "width": \#(sizes[1]), "nodes": \#(sizes[2])}, "environment": \#(environment), "#
          + #""costs": {"target_pass": \#(passes), "draft_pass": 1}, "tokens_per_second": 1, "#
          + #""plain_tokens_per_second": 1}"#)
      let outcome = try Command.run(
        "eagle-run", ["generate", "--target", "target", "--prompt", "x"] + Self.head, in: world.path)
      #expect(outcome.status == 1 && outcome.errors.contains(complaint), "\(passes): \(outcome.errors)")
    }
  }

  @Test("requests that cannot be met end with one line or a usage error") func impossibleRequestsAreOneLine() throws {
    let world = try trained()
    try world.put("empty.txt", "  \n")
    try Data([0x68, 0xff, 0x69]).write(to: URL(fileURLWithPath: world("broken.txt")))
    try world.put("broken.jsonl", "{\"prompt\": \"x\"}\n{\"prompt\": 3}\n")
    try world.put("broken.csv", "Question,A,B,C,D\nq,a,b\n")
    try world.put("columns.csv", "Question,A,B\nq,a,b\n")
    try world.put("out/export/decoding.json", "{}")
    let long = String(repeating: "word ", count: 150)
    let target = ["--target", "target"]
    let cases: [([String], String)] = [
      (["generate", "--prompt", " "] + target, "empty"),
      (["generate", "--prompt-file", "empty.txt"] + target, "empty.txt"),
      (["generate", "--prompt-file", "broken.txt"] + target, "UTF-8"), (["generate"] + target, "standard input"),
      (["generate", "--prompt-file", "nowhere.txt"] + target, "nowhere.txt"),
      (["generate", "--prompt", long] + target, "512"),
      (["generate", "--prompt", "x"] + target + Self.head, "decoding.json"),
      (["bench", "--prompts", "broken.jsonl"] + target + Self.head, "line 2"),
      (["bench", "--prompts", "broken.csv"] + target + Self.head, "line 2"),
      (["bench", "--prompts", "columns.csv"] + target + Self.head, "Question, A, B, C and D"),
    ]
    for (arguments, complaint) in cases {
      let outcome = try Command.run("eagle-run", arguments, in: world.path)
      #expect(outcome.status == 1, "\(arguments)")
      #expect(outcome.errors.contains(complaint), "\(arguments): \(outcome.errors)")
      #expect(outcome.errors.split(separator: "\n").count == 1, "\(outcome.errors)")
    }
    for flags in [
      ["--temperature", "-1"], ["--top-p", "2"], ["--draft-length", "0"], ["--draft-width", "2", "--draft-nodes", "1"],
      ["--draft-nodes", "4"], ["--draft-length", "3", "--draft-width", "1", "--draft-nodes", "3"],
      ["--draft-length", "4611686018427387904", "--draft-width", "4"], ["--weights", "int4"], ["--precision", "fp16"],
      ["--stop", ""],
    ] {
      let outcome = try Command.run(
        "eagle-run", ["generate", "--prompt", "x"] + target + Self.head + flags, in: world.path)
      #expect(outcome.status == 64, "\(flags)")
    }
    for flags in [["--draft-length", "5"], ["--adaptive"], ["--draft-weights", "q4_0"]] {
      let outcome = try Command.run("eagle-run", ["generate", "--prompt", "x"] + target + flags, in: world.path)
      #expect(outcome.status == 64 && outcome.errors.contains("--draft"), "\(flags): \(outcome.errors)")
    }
  }
}
