import EagleStorage
import Foundation
import Testing

/// Folders that a command replaces or removes: its own earlier ones, and nothing else.
@Suite(.serialized) struct ReplacedFolderTests {
  private func trained() throws -> (world: TinyWorld, checkpoint: String) {
    let world = try TinyWorld(conversations: 20)
    let run = try Command.run("eagle-train", ["run", "recipe.yaml", "--set", "train.epochs=1"], in: world.path)
    try #require(run.status == 0, "\(run.errors)")
    return (world, "out/\(try #require(try CheckpointFolder.names(in: world("out")).last))")
  }

  private func export(_ world: TinyWorld, _ checkpoint: String, to output: String) throws -> Outcome {
    try Command.run("eagle-train", ["export", checkpoint, "--output", output], in: world.path)
  }

  private func makeFolder(_ world: TinyWorld, _ name: String) throws {
    try FileManager.default.createDirectory(atPath: world(name), withIntermediateDirectories: true)
  }

  @Test("export refuses a folder with anything that is no part of an export, and leaves it as it was")
  func exportKeepsWhatIsNotItsOwn() throws {
    let (world, checkpoint) = try trained()
    try makeFolder(world, "precious/sub")
    try world.put("precious/sub/thesis.txt", "keep")
    let before = try FileManager.default.contentsOfDirectory(atPath: world("target")).sorted()
    for (folder, word) in [("precious", "`sub`"), ("target", "`tokenizer.json`"), (".", "`data.jsonl`")] {
      let outcome = try export(world, checkpoint, to: folder)
      #expect(outcome.status == 1 && outcome.errors.contains(word), "\(folder): \(outcome.errors)")
      #expect(outcome.errors.contains("choose another folder"), "\(outcome.errors)")
    }
    #expect(try world.read("precious/sub/thesis.txt") == Data("keep".utf8))
    #expect(try FileManager.default.contentsOfDirectory(atPath: world("target")).sorted() == before)
    // A model without a tokenizer has the file names of an export, and another config.
    try makeFolder(world, "bare")
    for name in ["config.json", "model.safetensors"] {
      try FileManager.default.copyItem(atPath: world("target/\(name)"), toPath: world("bare/\(name)"))
    }
    let outcome = try export(world, checkpoint, to: "bare")
    #expect(outcome.status == 1 && outcome.errors.contains("says nothing of a draft head"), "\(outcome.errors)")
    #expect(try world.read("bare/model.safetensors") == world.read("target/model.safetensors"))
  }

  @Test("an earlier export is replaced, with what a killed one has left, and its decoding.json stays")
  func exportReplacesItsOwn() throws {
    let (world, checkpoint) = try trained()
    try makeFolder(world, "empty")
    #expect(try export(world, checkpoint, to: "empty").status == 0)
    try world.put("empty/decoding.json", #"{"plan": "measured"}"#)
    try world.put("empty/.model.safetensors.tmp-999999999", "half")
    try world.put("empty/model.safetensors", "older")
    #expect(try export(world, checkpoint, to: "empty").status == 0)
    let entries = try FileManager.default.contentsOfDirectory(atPath: world("empty")).sorted()
    #expect(entries == ["config.json", "decoding.json", "model.safetensors"])
    #expect(try world.read("empty/decoding.json") == Data(#"{"plan": "measured"}"#.utf8))
    #expect(try world.read("empty/model.safetensors").count > 1000)
  }

  @Test("a run whose output holds folders of the user's own refuses to replace them, before it reads anything")
  func runKeepsWhatIsNotItsOwn() throws {
    let world = try TinyWorld(conversations: 20)
    for (file, word) in [
      ("out/prepared/conversations.jsonl", "prepared data"), ("out/prepared.partial/notes", "prepared data"),
      ("out/export/README.md", "exported head"),
    ] {
      try makeFolder(world, URL(fileURLWithPath: file).deletingLastPathComponent().relativePath)
      try world.put(file, "mine")
      let run = try Command.run("eagle-train", ["run", "recipe.yaml"], in: world.path)
      #expect(run.status == 1 && run.errors.contains(word), "\(file): \(run.errors)")
      #expect(try world.read(file) == Data("mine".utf8))
      try FileManager.default.removeItem(atPath: world("out"))
    }
  }

  @Test("step folders of another program are no checkpoints: they are neither counted nor removed")
  func othersStepFoldersStay() throws {
    let world = try TinyWorld(conversations: 20)
    for name in ["out/step-1", "out/step-900"] {
      try makeFolder(world, name)
      try world.put("\(name)/adapter.bin", "mine")
    }
    let settings = ["train.epochs=1", "train.checkpoint_every=1", "train.keep_checkpoints=1"].flatMap { ["--set", $0] }
    let run = try Command.run("eagle-train", ["train", "recipe.yaml"] + settings, in: world.path)
    #expect(run.status == 0, "\(run.errors)")
    for name in ["out/step-1", "out/step-900"] { #expect(try world.read("\(name)/adapter.bin") == Data("mine".utf8)) }
  }
}
