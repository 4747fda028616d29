import EagleCore
import Foundation
import Testing

/// Fine-tuning a head on the record of a server.
@Suite(.serialized) struct RecordTests {
  private struct Row: Decodable {
    let inputIDs: [Int]
    let lossMask: [Int]

    enum CodingKeys: String, CodingKey {
      case inputIDs = "input_ids"
      case lossMask = "loss_mask"
    }
  }

  private func rows(_ path: String) throws -> [Row] {
    try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
      try JSONDecoder().decode(Row.self, from: Data($0.utf8))
    }
  }

  @Test("finished answers are recorded, but those of requests that forbid it, and a head is trained on them")
  func recordedAnswersTrainAHead() throws {
    let world = try TinyWorld(conversations: 30)
    try #require(
      try Command.run("eagle-train", ["run", "recipe.yaml", "--set", "train.epochs=1"], in: world.path).status == 0)
    do {
      let served = try Served(world, ["--draft", "out/export", "--record", "record.jsonl"])
      #expect(served.running.errors.contains("recording prompts and answers to record.jsonl"))
      for (path, field, text) in [
        ("/v1/chat/completions", "messages", #"[{"role": "user", "content": "cloud 7"}]"#),
        ("/v1/completions", "prompt", #""river 1""#), ("/v1/responses", "input", #""stone 3""#),
      ] {
        let limit = path == "/v1/responses" ? "max_output_tokens" : "max_tokens"
        for store in ["", #", "store": false"#, #", "store": true"#] {
          let answer = try served.ask("POST", path, body: #"{"\#(field)": \#(text), "\#(limit)": 12\#(store)}"#)
          #expect(answer.status == 200, "\(answer.text)")
        }
      }
      // The next server may open the record once this one has ended.
      served.signal(SIGTERM)
      #expect(served.running.wait(seconds: 60))
    }
    let whole = try world.read("record.jsonl")
    // Half a line of a killed server: a server that opens the file again removes it.
    try (whole + whole.prefix(20)).write(to: URL(fileURLWithPath: world("record.jsonl")))
    do {
      let served = try Served(world, ["--record", "record.jsonl"])
      let wrong = try served.ask(
        "POST", "/v1/completions", body: #"{"prompt": "a", "max_tokens": 2, "store": "no"}"#)
      #expect(wrong.status == 400 && wrong.text.contains("store"))
    }
    #expect(try world.read("record.jsonl") == whole)
    let recorded = try rows(world("record.jsonl"))
    #expect(recorded.count == 6)
    for row in recorded {
      let answer = row.lossMask.reduce(0, +)
      #expect(row.inputIDs.count == row.lossMask.count && (1...12).contains(answer))
      #expect(row.lossMask.suffix(answer).allSatisfy { $0 == 1 }, "the answer is the end of the row")
    }
    let mode = try FileManager.default.attributesOfItem(atPath: world("record.jsonl"))[.posixPermissions] as? Int
    #expect(mode == 0o600)
    let tuned = try Command.run(
      "eagle-train",
      ["run", "recipe.yaml"]
        + ["data.train=[record.jsonl]", "draft.init_from=out/export", "output=tuned", "train.epochs=1"].flatMap {
          ["--set", $0]
        }, in: world.path)
    #expect(tuned.status == 0, "\(tuned.errors)")
    #expect(FileManager.default.fileExists(atPath: world("tuned/export/model.safetensors")))
  }

  @Test("a record on a full disk ends with a whole line, and answers go on")
  func fullDisk() throws {
    let world = try TinyWorld()
    // A limit of 4 KiB for each file stands for the disk; a line of this prompt has 2.5 kB.
    let serve = "\(Command.binaries)/eagle-run serve --target target --port 0 --record record.jsonl"
    let served = try Served(
      "/bin/bash", ["-c", "trap '' XFSZ; ulimit -f 4; exec \(serve)"], in: world.path, environment: [:])
    let prompt = String(repeating: "river ", count: 70)
    for _ in 0..<3 {
      let answer = try served.ask(
        "POST", "/v1/completions", body: #"{"prompt": "\#(prompt)", "max_tokens": 4, "ignore_eos": true}"#)
      #expect(answer.status == 200, "\(answer.text)")
    }
    let recorded = try world.read("record.jsonl")
    #expect(recorded.last == UInt8(ascii: "\n"))
    #expect(try rows(world("record.jsonl")).map(\.inputIDs.count) == [424])
    #expect(served.running.errors.contains("nothing more is recorded"))
  }

  @Test("a record that cannot be written is refused before the model is loaded")
  func unwritable() throws {
    let world = try TinyWorld()
    let outcome = try Command.run(
      "eagle-run", ["serve", "--target", "target", "--port", "0", "--record", "missing/record.jsonl"], in: world.path)
    #expect(outcome.status == 1 && outcome.errors.contains("missing/record.jsonl: cannot be written to"))
  }
}
