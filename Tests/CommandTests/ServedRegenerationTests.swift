import EagleChat
import EagleClient
import EagleCluster
import EagleCore
import EagleData
import EagleText
import Foundation
import ScriptedServer
import Synchronization
import Testing

/// `regenerate` with a server.
@Suite struct ServedRegenerationTests {
  private static let tool: JSON = [
    "type": "function", "function": ["name": "clock", "parameters": ["type": "object"]],
  ]

  @Test("answers keep their reasoning and calls of tools, and the next turn's request carries them")
  func toolsAndReasoning() throws {
    let call: JSON = [
      "id": "c1", "type": "function", "function": ["name": "clock", "arguments": "{\"zone\": \"UTC\"}"],
    ]
    let server = try ScriptedServer.chat { request in
      switch request.lastContent {
      case "what time?":
        .message(
          ["role": "assistant", "content": nil, "reasoning_content": "\nI must look.\n", "tool_calls": [call]],
          finish: "tool_calls")
      default: .message(["role": "assistant", "content": "\n\nNoon.", "reasoning": "It said 12."])
      }
    }
    let line: JSON = [
      "id": "t", "tools": [Self.tool],
      "messages": [
        ["role": "system", "content": "be short"], ["role": "user", "content": "what time?"],
        ["role": "assistant", "content": "old"], ["role": "user", "content": "so?"],
      ],
    ]
    let served = try ServedWorld(server.url, questions: [line.text()])
    let told = try served.answer()
    #expect(told.contains("1 conversation to 1 question") && told.contains("2 new answers"), "\(told)")
    let (first, second) = try #require(server.chats.count == 2 ? (server.chats[0].body, server.chats[1].body) : nil)
    #expect(
      first.object?["messages"]
        == [["role": "system", "content": "be short"], ["role": "user", "content": "what time?"]])
    #expect(first.object?["tools"] == [Self.tool] && second.object?["tools"] == [Self.tool])
    let past = try #require(second.object?["messages"]?.array)
    #expect(past.count == 4 && past[3] == ["role": "user", "content": "so?"])
    #expect(past[2].object?["tool_calls"] == [call] && past[2].object?["content"]?.string == "")
    #expect(past[2].object?["reasoning_content"] == "\nI must look.\n")
    let messages = try #require(try served.answers().first).messages
    #expect(messages.map { $0["role"] } == ["system", "user", "assistant", "user", "assistant"])
    #expect(messages[2]["content"] == "<think>\nI must look.\n</think>\n\n" && messages[2]["tool_calls"] == [call])
    #expect(messages[4]["content"] == "<think>\nIt said 12.\n</think>\n\nNoon." && messages[4]["tool_calls"] == nil)
    // Training sees the call in the form of its template.
    let text = try String(contentsOfFile: served.regenerate.output, encoding: .utf8)
    guard case .conversation(let read) = try DataRecord(JSON.read(Array(text.utf8)), id: "1") else { return }
    #expect(read.messages[2].reasoning == "I must look." && read.messages[2].extra["tool_calls"] == [call])
    #expect(read.tools == [Self.tool])
  }

  @Test("a request has the model, the limits, the whole sampling and the variables of the template")
  func settings() throws {
    let server = try ScriptedServer.echo()
    var served = try ServedWorld(server.url, questions: [#"{"id": "a", "turns": ["one", "two"]}"#])
    (served.regenerate.maxNewTokens, served.regenerate.server.model) = (77, "small")
    try served.answer()
    var body = try #require(server.chats.first?.body.object)
    #expect(body["model"] == "small" && body["max_tokens"] == 77 && body["temperature"]?.double == 0)
    #expect(body["top_p"]?.double == 1 && body["top_k"] == -1 && body["min_p"] == 0 && body["repetition_penalty"] == 1)
    #expect(body["seed"] == nil && body["tools"] == nil)
    #expect(body["chat_template_kwargs"] == ["enable_thinking": false])
    (served.regenerate.sampling.temperature, served.regenerate.sampling.topP) = (0.7, 0.9)
    (served.regenerate.sampling.topK, served.regenerate.output) = (20, served.world("sampled.jsonl"))
    try served.answer()
    let sampled = server.chats.dropFirst(2).compactMap(\.body.object)
    body = try #require(sampled.first)
    #expect(body["temperature"] == .number("0.7") && body["top_p"] == .number("0.9") && body["top_k"] == 20)
    // Each turn has a seed of its own, in a range that every server accepts.
    let seeds = sampled.compactMap { $0["seed"]?.int }
    #expect(seeds.count == 2 && Set(seeds).count == 2 && seeds.allSatisfy { (0...Int(Int32.max)) ~= $0 })
  }

  @Test("an answer that reached its limit is marked as cut and ends its conversation")
  func cutAnswers() throws {
    let server = try ScriptedServer.chat {
      $0.lastContent == "think"
        ? .message(["content": "", "reasoning_content": "so far"], finish: "length") : .text("long", finish: "length")
    }
    let served = try ServedWorld(
      server.url, questions: [#"{"id": "a", "turns": ["one", "two"]}"#, #"{"id": "b", "prompt": "think"}"#])
    #expect(try served.answer().contains("2 new answers (2 cut"))
    let answers = try served.answers()
    #expect(answers.map(\.messages.count) == [2, 2])
    #expect(answers.map { $0.messages[1]["cut"] } == [true, true])
    #expect(answers.map { $0.messages[1]["content"] } == ["long", "<think>\nso far"])
  }

  @Test("a busy server and an error of it are tried again, and nothing is lost")
  func retries() throws {
    let server = try ScriptedServer.chat { request in
      switch request.number {
      case 2: .error(429, "busy", headers: ["Retry-After": "0"])
      case 4: .error(500, "oops")
      default: .text("fine")
      }
    }
    let served = try ServedWorld(server.url)
    let told = try served.answer()
    #expect(told.contains("4 conversations to 4 questions") && !told.contains("no answer"), "\(told)")
    #expect(try served.answers().count == 4 && server.chats.count == 6)
  }

  @Test("a conversation that the server refuses is counted with the reason, keeps its answers, and is not tried again")
  func refusedConversations() throws {
    let server = try ScriptedServer.chat {
      ["question 1", "two"].contains($0.lastContent) ? .error(400, "maximum context length") : .text("fine")
    }
    let questions = (0..<3).map { #"{"id": "q\#($0)", "prompt": "question \#($0)"}"# }
    let served = try ServedWorld(server.url, questions: questions + [#"{"id": "t", "turns": ["one", "two", "three"]}"#])
    let told = try served.answer()
    #expect(
      told.contains("2 requests of regenerate without an answer: 2 x HTTP 400: maximum context length"), "\(told)")
    #expect(told.contains("3 conversations to 4 questions") && told.contains("2 conversations refused"), "\(told)")
    #expect(try served.answers().compactMap(\.id) == ["q0", "q2", "t"])
    #expect(try served.answers().last?.messages.count == 2)
    let count = server.requests.count
    let again = try served.answer()
    #expect(again.contains("up to date: 3 conversations") && again.contains("1 question left out"), "\(again)")
    #expect(again.contains("refused by the server") && server.requests.count == count)
  }

  @Test("a conversation that the server fails to answer is counted with the reason, and tried again by the next run")
  func failedConversations() throws {
    let isBroken = Flag()
    let server = try ScriptedServer.chat {
      guard isBroken.isSet else { return .text("mended") }
      return switch $0.lastContent {
      case "question 1": .error(500, "oops")
      case "question 2": .response(status: 200, body: "<html>")
      case "two": .hangUp
      case "question 3": .message(["content": "half"], finish: "abort")
      default: .text("fine")
      }
    }
    let questions = (0..<4).map { #"{"id": "q\#($0)", "prompt": "question \#($0)"}"# }
    let served = try ServedWorld(server.url, questions: questions + [#"{"id": "t", "turns": ["one", "two"]}"#])
    isBroken.isSet = true
    let told = try served.answer()
    #expect(
      told.contains("4 requests of regenerate without an answer") && told.contains("4 conversations failed"), "\(told)")
    for reason in [
      "HTTP 500: oops, 3 times", "it is not JSON", "the connection was closed without a response, 3 times",
      #"its finish_reason is "abort""#,
    ] {
      #expect(told.contains("1 x \(reason)"), "\(reason): \(told)")
    }
    #expect(try served.answers().compactMap(\.id) == ["q0"])
    isBroken.isSet = false
    let count = server.chats.count
    #expect(try served.answer().contains("5 conversations to 5 questions"))
    #expect(try served.answers().compactMap(\.id) == ["q0", "q1", "q2", "q3", "t"])
    #expect(server.chats.count == count + 5)
    #expect(try served.answer().contains("up to date"))
  }

  @Test("a run goes on without what the server failed to answer, keeps its data, and needs the server no more")
  func resumedRuns() throws {
    let isBroken = Flag()
    isBroken.isSet = true
    let server = try ScriptedServer.chat {
      isBroken.isSet && $0.lastContent == "question 1" ? .message(["content": "half"], finish: "abort") : .text("fine")
    }
    let world = try TinyWorld()
    let questions = (0..<4).map { #"{"id": "q\#($0)", "prompt": "question \#($0)"}"# }
    try world.put("questions.jsonl", questions.joined(separator: "\n"))
    func run(_ command: String, _ url: String) throws -> Outcome {
      let settings = [
        "regenerate.input=[questions.jsonl]", "regenerate.output=answers.jsonl", "regenerate.server=\(url)",
        "data.train=[answers.jsonl]", "data.held_out=0",
      ]
      return try Command.run(
        "eagle-train", [command, "recipe.yaml"] + settings.flatMap { ["--set", $0] }, in: world.path)
    }
    let first = try run("prepare", server.url)
    #expect(first.status == 0 && first.errors.contains("1 conversation failed"), "\(first.errors)")
    let data = try world.read("answers.jsonl")
    let upToDate = "up to date: 3 conversations in answers.jsonl, 1 question failed: `eagle-train regenerate`"
    let resumed = try run("prepare", try ScriptedServer.unusedURL())
    #expect(resumed.status == 0 && resumed.errors.contains(upToDate), "\(resumed.errors)")
    isBroken.isSet = false
    let count = server.chats.count
    let again = try run("prepare", server.url)
    #expect(again.status == 0 && again.errors.contains(upToDate) && server.chats.count == count, "\(again.errors)")
    #expect(try world.read("answers.jsonl") == data)
    let retried = try run("regenerate", server.url)
    #expect(retried.status == 0 && retried.errors.contains("4 conversations to 4 questions"), "\(retried.errors)")
    #expect(server.chats.count == count + 1)
  }

  @Test("a question with other tools is another question")
  func toolsTellQuestionsApart() throws {
    let server = try ScriptedServer.echo()
    func line(_ name: String) -> String {
      let tool: JSON = ["type": "function", "function": ["name": .string(name), "parameters": ["type": "object"]]]
      let line: JSON = [
        "id": .string(name), "tools": [tool], "messages": [["role": "user", "content": "what time?"]],
      ]
      return line.text()
    }
    let served = try ServedWorld(server.url, questions: [line("clock"), line("weather"), line("clock")])
    let told = try served.answer()
    #expect(told.contains("1 repeated question, asked once"), "\(told)")
    #expect(told.contains("2 conversations to 2 questions"), "\(told)")
    #expect(try served.answers().compactMap(\.id) == ["clock", "weather"])
    #expect(try served.answer().contains("up to date: 2 conversations"))
  }

  @Test("a stop is heard while the input is read, before the server is asked for anything")
  func stoppingWhileReading() throws {
    let server = try ScriptedServer.echo()
    let (served, stop) = (try ServedWorld(server.url), StopRequest())
    stop.make("a test")
    #expect(throws: StoppedRun.self) { try served.answer(stop: stop) }
    #expect(server.requests.isEmpty)
    #expect(!FileManager.default.fileExists(atPath: served.regenerate.output + ".parts"))
  }

  @Test("the input is read before the server is asked for its models, and not again")
  func inputIsReadOnce() throws {
    let input = NSTemporaryDirectory() + "/eagle-questions-" + UUID().uuidString
    let server = try ScriptedServer { request in
      guard request.path == "/v1/models" else { return .text("to \(request.lastContent ?? "")") }
      unlink(input)
      return .models("big")
    }
    var served = try ServedWorld(server.url)
    served.regenerate.input = [input]
    let questions = [3, 1, 2, 1].map { #"{"id": "q\#($0)", "prompt": "question \#($0)"}"# }
    try Data(questions.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: input))
    let told = try served.answer()
    #expect(told.contains("3 conversations to 3 questions") && told.contains("1 repeated question"), "\(told)")
    #expect(try served.answers().compactMap(\.id) == ["q3", "q1", "q2"])
    #expect(!FileManager.default.fileExists(atPath: input))
  }

  @Test("a run that was killed before its parts were joined needs no server to join them")
  func joiningParts() throws {
    let server = try ScriptedServer.echo()
    var served = try ServedWorld(server.url)
    try served.answer()
    let (output, all) = (served.regenerate.output, try served.world.read("answers.jsonl"))
    try FileManager.default.createDirectory(atPath: output + ".parts", withIntermediateDirectories: true)
    try FileManager.default.moveItem(atPath: output, toPath: output + ".parts/rank-3.jsonl")
    served.regenerate.server.url = try ScriptedServer.unusedURL()
    let told = try served.answer()
    #expect(told.contains("4 conversations to 4 questions") && told.contains(": 0 new answers"), "\(told)")
    #expect(try served.world.read("answers.jsonl") == all)
    #expect(!FileManager.default.fileExists(atPath: output + ".parts"))
  }

  @Test("input without a question leaves an output and its record as they are, and no folder of parts")
  func inputWithoutQuestions() throws {
    let server = try ScriptedServer.echo()
    let served = try ServedWorld(server.url)
    try served.answer()
    let record = try served.world.read("answers.jsonl.made.json")
    try served.world.put("questions.jsonl", "\n")
    #expect(throws: TextError.self) { try served.answer() }
    #expect(try served.world.read("answers.jsonl.made.json") == record && served.answers().count == 4)
    #expect(!FileManager.default.fileExists(atPath: served.regenerate.output + ".parts"))
  }

  @Test(
    "what is no answer of the API is a counted failure",
    arguments: [
      "null", "{}", #"{"choices": []}"#, #"{"choices": [{"finish_reason": "stop"}]}"#,
      #"{"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]}"#,
      #"{"choices": [{"message": {"content": "a"}}]}"#,
      #"{"choices": [{"message": {"tool_calls": [{"function": {}}]}, "finish_reason": "tool_calls"}]}"#,
    ])
  func otherShapes(body: String) throws {
    let server = try ScriptedServer.chat {
      $0.lastContent == "question 2" ? .response(status: 200, body: body) : .text("fine")
    }
    let served = try ServedWorld(server.url)
    #expect(try served.answer().contains("1 request of regenerate without an answer: 1 x "))
    #expect(try served.answers().compactMap(\.id) == ["q0", "q1", "q3"])
  }

  @Test(
    "a run that is stopped keeps what is finished, and the next one asks for the rest alone", .timeLimit(.minutes(1)))
  func stopping() throws {
    let (stop, isSilent) = (StopRequest(), Flag())
    let server = try ScriptedServer.chat {
      if $0.number == 8 {
        isSilent.isSet = true
        stop.make("a test")
      }
      return isSilent.isSet ? .silence : .text("to \($0.lastContent ?? "")")
    }
    var served = try ServedWorld(
      server.url, questions: (0..<20).map { #"{"id": "q\#($0)", "turns": ["a \#($0)", "b \#($0)"]}"# })
    served.regenerate.server.concurrency = 3
    #expect(throws: StoppedRun.self) { try served.answer(stop: stop) }
    isSilent.isSet = false
    let part = served.regenerate.output + ".parts/rank-0.jsonl"
    let finished = try served.lines(part)
    #expect(
      !finished.isEmpty && finished.count < 8 && !FileManager.default.fileExists(atPath: served.regenerate.output))
    // The file of a killed process.
    let file = try #require(FileHandle(forWritingAtPath: part))
    try file.seekToEnd()
    try file.write(contentsOf: Data(#"{"id": "q19", "conver"#.utf8))
    // Another server, because the first one may still be reading a request of the stopped run.
    let rest = try ScriptedServer.chat { .text("to \($0.lastContent ?? "")") }
    served.regenerate.server.url = rest.url
    #expect(try served.answer().contains("20 conversations to 20 questions"))
    let answers = try served.answers()
    #expect(answers.compactMap(\.id) == (0..<20).map { "q\($0)" })
    #expect(answers.allSatisfy { $0.messages.count == 4 })
    #expect(rest.chats.count == 2 * (20 - finished.count))
  }

  @Test("so many requests run at the same time as the recipe says", .timeLimit(.minutes(1)))
  func concurrency() throws {
    let stop = StopRequest()
    let server = try ScriptedServer.chat {
      if $0.number == 3 { stop.make("a test") }
      return .silence
    }
    var served = try ServedWorld(server.url, questions: (0..<9).map { #"{"prompt": "\#($0)"}"# })
    served.regenerate.server.concurrency = 3
    #expect(throws: StoppedRun.self) { try served.answer(stop: stop) }
    #expect(server.chats.count == 3)
  }

  @Test("ranks share the conversations, and the output is the same")
  func ranks() throws {
    let server = try ScriptedServer.echo()
    var served = try ServedWorld(
      server.url, questions: (0..<30).map { #"{"id": "q\#($0)", "turns": ["\#($0)", "on"]}"# })
    try served.answer()
    let alone = try served.world.read("answers.jsonl")
    served.regenerate.output = served.world("ranks.jsonl")
    let shared = served
    let count = server.chats.count
    _ = try LoopbackCommunicator.run(size: 2) { cluster in try shared.answer(cluster: cluster) }
    #expect(try served.world.read("ranks.jsonl") == alone && server.chats.count == 2 * count)
    // Only rank 0 asks for the models.
    #expect(server.requests.count { $0.path == "/v1/models" } == 2)
  }

  // MARK: errors

  private func failure(_ served: ServedWorld) -> LocatedError? {
    do { try served.answer() } catch { return error as? LocatedError }
    return nil
  }

  @Test("a server that is not there, a wrong key and an unknown model are one error before any work")
  func errorsAtTheStart() throws {
    let url = try ScriptedServer.unusedURL()
    let absent = try #require(failure(try ServedWorld(url)))
    #expect(absent.description.contains("\(url): cannot be reached: Connection refused"), "\(absent)")
    let locked = try ScriptedServer {
      $0.headers["authorization"] == "Bearer right" ? .models("big") : .error(401, "no key")
    }
    var served = try ServedWorld(locked.url)
    #expect(failure(served)?.advice?.contains("EAGLE_API_KEY") == true)
    (served.key, served.regenerate.server.model) = ("right", "other")
    let unknown = try #require(failure(served))
    #expect(unknown.path == "regenerate.server_model" && unknown.advice == "it has 'big'")
    #expect(locked.chats.isEmpty && !FileManager.default.fileExists(atPath: served.regenerate.output + ".parts"))
  }

  @Test("a server without the endpoint is one error, not one of each conversation", arguments: [403, 404])
  func errorsOfTheEndpoint(status: Int) throws {
    let server = try ScriptedServer.chat { _ in .error(status, "no") }
    var served = try ServedWorld(server.url, questions: (0..<99).map { #"{"prompt": "\#($0)"}"# })
    served.regenerate.server.concurrency = 2
    let error = try #require(failure(served))
    #expect(error.path == server.url && error.description.contains("HTTP \(status)"), "\(error)")
    #expect(server.chats.count < 9)
  }

  @Test("a server that answers no request is an error with the reason")
  func noAnswers() throws {
    let server = try ScriptedServer.chat { _ in .error(400, "unknown field min_p") }
    let error = try #require(failure(try ServedWorld(server.url)))
    #expect(error.description.contains("answered no request: 4 x HTTP 400: unknown field min_p"), "\(error)")
  }

  @Test(
    "a server that fails 16 requests in a row, or refuses 100, is given up, and what is finished is kept",
    arguments: [(503, 16), (400, 100)])
  func givingUp(status: Int, count: Int) throws {
    let server = try ScriptedServer.chat { $0.number < 11 ? .text("fine") : .error(status, "gone") }
    var served = try ServedWorld(server.url, questions: (0..<300).map { #"{"prompt": "\#($0)"}"# })
    (served.policy.attempts, served.regenerate.server.concurrency) = (1, 1)
    let error = try #require(failure(served))
    #expect(
      error.problem.hasPrefix("\(count) requests in a row have no answer; the last: ")
        && error.problem.hasSuffix("HTTP \(status): gone"), "\(error)")
    #expect(server.chats.count == 10 + count)
    #expect(try served.lines(served.regenerate.output + ".parts/rank-0.jsonl").count == 10)
  }

  @Test("texts of two authors do not get into one file")
  func mixing() throws {
    let server = try ScriptedServer.echo()
    var served = try ServedWorld(server.url)
    try served.answer()
    let all = try served.world.read("answers.jsonl")
    // A recipe may give the name that the server returned.
    served.regenerate.server.model = "big"
    #expect(try served.answer().contains("up to date"))
    served.regenerate.server.model = "small"
    #expect(failure(served)?.problem.contains("the model 'big' of a server wrote it, and 'small' is to go on") == true)
    served.regenerate.server.model = ""
    try served.world.put("questions.jsonl", #"{"prompt": "another one"}"#)
    let other = try ScriptedServer { $0.path == "/v1/models" ? .models("new") : .text("fine") }
    served.regenerate.server.url = other.url
    #expect(failure(served)?.problem.contains("'new' is to go on") == true && other.chats.isEmpty)
    served.regenerate.sampling.temperature = 0.5
    #expect(failure(served)?.problem.contains("other settings") == true)
    #expect(try served.world.read("answers.jsonl") == all)
  }

  @Test("the local target does not complete what a server began, nor a server what it began")
  func mixingWithTheTarget() throws {
    let server = try ScriptedServer.echo()
    let world = try TinyWorld()
    try world.put("questions.jsonl", #"{"id": "a", "prompt": "one"}"#)
    func regenerate(_ output: String, _ more: [String] = []) throws -> Outcome {
      let settings = ["regenerate.input=[questions.jsonl]", "regenerate.output=\(output)"] + more
      return try Command.run(
        "eagle-train", ["regenerate", "recipe.yaml"] + settings.flatMap { ["--set", $0] }, in: world.path)
    }
    let served = ["regenerate.server=\(server.url)/v1"]
    #expect(try regenerate("served.jsonl", served).status == 0)
    #expect(try regenerate("local.jsonl").status == 0)
    let local = try regenerate("served.jsonl")
    #expect(local.status == 1 && local.errors.contains("the model 'big' of a server wrote it"), "\(local.errors)")
    let remote = try regenerate("local.jsonl", served)
    #expect(remote.status == 1 && remote.errors.contains("the local target wrote it"), "\(remote.errors)")
  }

  @Test("a finished output needs no server")
  func finishedOutput() throws {
    let server = try ScriptedServer.echo()
    var served = try ServedWorld(server.url)
    try served.answer()
    served.regenerate.server.url = try ScriptedServer.unusedURL()
    #expect(try served.answer().contains("up to date: 4 conversations"))
    // Input without new questions needs no server either, and leaves the author in the record.
    try served.world.put("questions.jsonl", #"{"prompt": "question 0"}"#)
    #expect(try served.answer().contains("up to date"))
    served.regenerate.server.model = "small"
    #expect(failure(served)?.problem.contains("the model 'big' of a server wrote it") == true)
  }

  @Test("the command takes the key from the environment, and loads no weights")
  func command() throws {
    let server = try ScriptedServer {
      guard $0.headers["authorization"] == "Bearer hush" else { return .error(401, "no key") }
      return $0.path == "/v1/models" ? .models("big") : .text("you said \($0.lastContent ?? "")")
    }
    let served = try ServedWorld(server.url)
    let arguments = [
      "regenerate", "recipe.yaml", "--set", "regenerate.input=[questions.jsonl]", "--set",
      "regenerate.output=answers.jsonl", "--set", "regenerate.server=\(server.url)",
    ]
    let refused = try Command.run("eagle-train", arguments, in: served.world.path)
    #expect(refused.status == 1 && refused.errors.contains("EAGLE_API_KEY"), "\(refused.errors)")
    let done = try Command.run(
      "eagle-train", arguments, in: served.world.path, environment: ["EAGLE_API_KEY": "hush"])
    #expect(done.status == 0 && done.errors.contains("4 conversations to 4 questions"), "\(done.errors)")
    #expect(try served.answers().first?.messages.last?["content"] == "you said question 0")
  }
}

/// A switch that a test and its server share.
private final class Flag: Sendable {
  private let value = Mutex(false)

  var isSet: Bool {
    get { value.withLock { $0 } }
    set { value.withLock { $0 = newValue } }
  }
}
