import EagleCore
import EagleStorage
import Foundation
import Testing

/// The commands with a GGUF file as the target.
@Suite(.serialized) struct GGUFTargetCommandTests {
  private let target = ["--set", "target.path=target.gguf"]

  private func world() throws -> TinyWorld {
    let world = try TinyWorld(conversations: 30)
    try world.writeGGUFTarget()
    return world
  }

  private func run(_ world: TinyWorld, _ arguments: [String], of program: String = "eagle-train") throws -> Outcome {
    let outcome = try Command.run(program, arguments, in: world.path)
    try #require(outcome.status == 0, "\(arguments): \(outcome.errors)")
    return outcome
  }

  private func text(_ world: TinyWorld, _ arguments: [String]) throws -> String {
    let flags = [
      "--target", "target.gguf", "--precision", "fp32", "--max-tokens", "40", "--prompt", "cloud 7", "--json",
    ]
    let answer = try JSONSerialization.jsonObject(
      with: Data(try run(world, ["generate"] + flags + arguments, of: "eagle-run").output.utf8))
    return try #require((answer as? [String: Any])?["text"] as? String)
  }

  @Test("a head is trained for a GGUF file, exported, and decodes the plain text with it")
  func endToEnd() throws {
    let world = try world()
    let recipe = ["recipe.yaml", "--set", "train.epochs=1"] + target
    _ = try run(world, ["run"] + recipe)
    #expect(try run(world, ["run"] + recipe).errors.contains("capture: up to date"))
    let plain = try text(world, [])
    #expect(!plain.isEmpty)
    #expect(try text(world, ["--draft", "out/export"]) == plain)
    let step = try #require(try CheckpointFolder.names(in: world("out")).last)
    _ = try run(world, ["export", "out/\(step)", "--output", "head"])
    #expect(try world.read("head/model.safetensors") == world.read("out/export/model.safetensors"))
    // Only the file itself, and no copy of it in another format.
    let models = try FileTree.files(under: world.path).filter {
      $0.hasSuffix(".safetensors") && !$0.hasPrefix("target/")
    }
    #expect(models.allSatisfy { $0.hasPrefix("out/") || $0.hasPrefix("head/") })
  }

  @Test("online capture and answers of the target take a GGUF file, and ranks agree about it")
  func otherStages() throws {
    let world = try world()
    let online = ["recipe.yaml", "--set", "train.epochs=1", "--set", "capture.mode=online"] + target
    let ranks = try Command.runRanks(2, ["run"] + online, in: world.path)
    #expect(ranks.status == 0, "\(ranks.errors)")
    let answers = [
      "recipe.yaml", "--set", "regenerate.input=[prompts.jsonl]", "--set", "regenerate.output=answers.jsonl", "--set",
      "regenerate.max_new_tokens=8", "--set", "output=other",
    ]
    _ = try run(world, ["regenerate"] + answers + target)
    #expect(try String(decoding: world.read("answers.jsonl"), as: UTF8.self).contains("\"assistant\""))
  }

  @Test("a conversation is rendered as with the folder that the file was made of")
  func rendering() throws {
    let world = try world()
    try world.put("messages.json", #"[{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]"#)
    let pages = try ["target", "target.gguf"].map {
      try run(world, ["render", "--target", $0, "--messages", "messages.json"], of: "eagle-run").output
    }
    #expect(pages[0] == pages[1] && pages[0].contains("two<|im_end|>"))
  }

  /// Changes the 32-bit number after a metadata key and its type.
  private func setting(_ key: String, to value: UInt32, in data: Data) throws -> Data {
    let end = try #require(data.range(of: Data(key.utf8))).upperBound
    return data.prefix(end + 4) + withUnsafeBytes(of: value.littleEndian) { Data($0) } + data.dropFirst(end + 8)
  }

  @Test("wild sizes in a GGUF file take no more memory than sound ones")
  func wildSizes() throws {
    let world = try world()
    let sound = try world.read("target.gguf")
    for key in [
      "block_count", "embedding_length", "feed_forward_length", "attention.head_count", "attention.head_count_kv",
      "context_length",
    ] {
      for value in [0, 1 << 30, 0x7fff_ffff, 0xffff_ffff] as [UInt32] {
        try setting("llama.\(key)", to: value, in: sound).write(to: URL(fileURLWithPath: world("wild.gguf")))
        // An intact file needs about 2 GB of addresses.
        let line =
          "ulimit -v 4000000; exec \(Command.binaries)/eagle-run generate --target wild.gguf --prompt x --max-tokens 4"
        let outcome = try Command.run("/bin/bash", ["-c", line], in: world.path)
        let errors = outcome.errors.split(separator: "\n").filter { $0.contains("Error:") }
        let isOneError = outcome.status == 1 && errors.count == 1 && errors[0].contains("wild.gguf")
        #expect(outcome.status == 0 || isOneError, "\(key) \(value): \(outcome)")
      }
    }
  }

  @Test("inspect says what the target computes and how it is stored, plan counts its bytes")
  func inspection() throws {
    let world = try world()
    let shown = try run(world, ["inspect", "target.gguf"]).output
    #expect(shown.hasPrefix("target: llama, 8 layers of 32, vocabulary 259\n") && shown.contains("% Q8_0"))
    let plan = try run(world, ["plan", "recipe.yaml"] + target)
    #expect(!plan.output.isEmpty)
    let wrong = try Command.run(
      "eagle-train", ["plan", "recipe.yaml", "--set", "target.path=other.gguf"], in: world.path)
    #expect(wrong.status == 1 && wrong.errors.contains("other.gguf: cannot open the file"), "\(wrong.errors)")
  }
}
