import EagleChat
import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleStorage
import EagleTensor
import Foundation
import Testing

/// Damaged GGUF files: each is loaded and decodes, or throws one clear error.
///
/// `EAGLE_GGUF_MUTATIONS` is the number of random changes of each file, and `EAGLE_GGUF_SEED` selects others. A trap
/// would end all tests; the file that `EAGLE_GGUF_TRACE` names then contains the change (with `--no-parallel`).
@Suite struct GGUFMutationTests {
  private static let environment = ProcessInfo.processInfo.environment
  private static let count = environment["EAGLE_GGUF_MUTATIONS"].flatMap { Int($0) } ?? 60
  private static let seed = environment["EAGLE_GGUF_SEED"].flatMap { UInt64($0) } ?? 1

  private let scratch: GGUFScratch

  init() throws { scratch = try GGUFScratch() }

  /// The result of a damaged file.
  private enum Ending: Hashable {
    case decoded, refused
    /// Weights that are finite and so large that states are not.
    case overflowed
  }

  /// Loads and decodes. Every result except a text, one error that names the file, and an overflow is an issue.
  ///
  /// - Parameter files: the files, one of which an error must name
  private func ending(_ what: String, _ files: [String], _ decode: () throws -> Int) -> Ending {
    if let trace = Self.environment["EAGLE_GGUF_TRACE"] { try? Data(what.utf8).write(to: URL(fileURLWithPath: trace)) }
    do {
      let tokens = try decode()
      #expect(tokens == 4, "\(what)")
      return .decoded
    } catch let error as GenerationError {
      #expect(error.description.contains("not finite"), "\(what): \(error)")
      return .overflowed
    } catch {
      // A `LocatedError`, or that of a tokenizer or a template.
      let text = "\(error)"
      #expect(files.contains { text.contains($0) } && !text.contains("\n"), "\(what): \(text)")
      return .refused
    }
  }

  /// Decodes four greedy tokens; returns their number.
  private func decode(_ target: TargetModel, _ draft: DraftModel? = nil, expecting text: [Int32]? = nil) throws -> Int {
    let prompt = (0..<Int32(min(3, target.shape.vocabularySize))).map { $0 }
    // A target with fewer positions decodes nothing; other tests check its error.
    guard prompt.count + 4 <= target.shape.maxPositions else { return 4 }
    let options = DecodingOptions(maxNewTokens: 4, stopIDs: [], plan: draft == nil ? .chain(0) : .chain(2))
    let ids = try DecodingSession(target: target, draft: draft).generate(prompt, options).ids
    #expect(text == nil || ids == text)
    return ids.count
  }

  // MARK: targets

  private func load(_ what: String, _ data: Data) throws -> Ending {
    let path = try scratch.put("\(UUID().uuidString).gguf", data)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return ending(what, [path]) { try decode(ChatModel(folder: path, precision: .bf16).target) }
  }

  @Test("a damaged target of any family decodes, or is one error that names the file", arguments: FamilyFixture.names)
  func targets(name: String) throws {
    let original = try Data(contentsOf: URL(fileURLWithPath: FamilyFixture.gguf(name)))
    var (mutations, endings) = (GGUFMutations(of: original, seed: Self.seed, purpose: name), Set<Ending>())
    #expect(try load("\(name), whole", original) == .decoded)
    for number in 0..<Self.count {
      let (what, data) = mutations.next()
      endings.insert(try load("\(name), \(number): \(what)", data))
    }
    #expect(endings.isSuperset(of: [.decoded, .refused]))
  }

  @Test("a target in blocks, damaged, decodes or is one error", arguments: [DType.q8_0, .q4_0, .q5_0])
  func blocks(format: DType) throws {
    let source = FamilyFixture.gguf("llama3")
    var edit = try GGUFEdit(source)
    try edit.quantize(format, isDecoded: false, from: source)
    var mutations = GGUFMutations(of: edit.data, seed: Self.seed, purpose: "\(format)")
    #expect(try load("\(format), whole", edit.data) == .decoded)
    for number in 0..<Self.count {
      let (what, data) = mutations.next()
      _ = try load("\(format), \(number): \(what)", data)
    }
  }

  @Test("a target that ends in any field of its header is one error")
  func truncatedTargets() throws {
    let original = try Data(contentsOf: URL(fileURLWithPath: FamilyFixture.gguf("llama3")))
    for (what, data) in GGUFMutations(of: original, seed: 0, purpose: "").truncations {
      #expect(try load(what, data) == .refused, "\(what)")
    }
  }

  // MARK: parts

  @Test("a split target with a part that is missing, doubled, renumbered or damaged decodes, or is one error")
  func parts() throws {
    let edit = try GGUFEdit(FamilyFixture.gguf("llama3"))
    let parts = edit.split([4, 5, 6, edit.tensors.count - 15])
    var (random, endings) = (RandomSource(seed: Self.seed, purpose: "parts"), Set<Ending>())
    for number in 0..<3 * Self.count {
      let folder = "\(scratch.path)/\(number)"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      var damaged: [Data?] = parts
      let what = damage(&damaged, number, &random)
      let paths = damaged.indices.map { "\(folder)/model-0000\($0 + 1)-of-0000\(parts.count).gguf" }
      for (path, data) in zip(paths, damaged) { try data?.write(to: URL(fileURLWithPath: path)) }
      endings.insert(
        ending("\(number): \(what)", paths) { try decode(ChatModel(folder: paths[0], precision: .bf16).target) })
      try FileManager.default.removeItem(atPath: folder)
    }
    #expect(endings.isSuperset(of: [.decoded, .refused]))
  }

  private func damage(_ parts: inout [Data?], _ number: Int, _ random: inout RandomSource) -> String {
    let (index, other) = (Int(random.next() % UInt64(parts.count)), Int(random.next() % UInt64(parts.count)))
    switch number % 5 {
    case 0:
      parts[index] = nil
      return "part \(index) is missing"
    case 1:
      parts[index] = parts[other]
      return "part \(other) stands for \(index)"
    case 2:
      parts.swapAt(index, other)
      return "parts \(index) and \(other) are swapped"
    default:
      guard let part = parts[index] else { return "" }
      var mutations = GGUFMutations(of: part, seed: random.next(), purpose: "part")
      let (what, data) = mutations.next()
      parts[index] = data
      return "part \(index): \(what)"
    }
  }

  // MARK: heads

  /// A target, its greedy tokens, and a head for it in a file.
  private struct World {
    let model: ChatModel
    let text: [Int32]
    let head: Data
  }

  private func world(_ name: String, _ type: DraftGGUF.MatrixType) throws -> World {
    let model = try ChatModel(folder: FamilyFixture.gguf(name), precision: .bf16)
    let options = DecodingOptions(maxNewTokens: 4, stopIDs: [], plan: .chain(0))
    var config = DraftConfig()
    config.vocabularySize = 16
    let size = model.target.shape.vocabularySize
    let layers = [0, 1, model.target.shape.layers - 1]
    let head = DraftModel.random(
      shape: Eagle3Shape(of: model.target.shape, config, captureLayers: layers),
      vocabulary: .mostFrequent(counts: [Int](repeating: 1, count: size), size: 16, always: []), seed: 3)
    let path = "\(scratch.path)/\(UUID().uuidString).gguf"
    try DraftGGUF.write(
      head, target: model.target.shape,
      tokenizer: TargetTokenizerFields.of(target: FamilyFixture.gguf(name), shape: model.target.shape), type: type,
      to: path)
    return World(
      model: model, text: try DecodingSession(target: model.target).generate([0, 1, 2], options).ids,
      head: try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  private func load(_ what: String, head data: Data, in world: World) throws -> Ending {
    let path = try scratch.put("\(UUID().uuidString).gguf", data)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return ending(what, [path]) {
      try decode(world.model.target, world.model.head(at: path), expecting: world.text)
    }
  }

  @Test("a damaged head drafts for the same text, or is one error", arguments: DraftGGUF.MatrixType.allCases)
  func heads(type: DraftGGUF.MatrixType) throws {
    let world = try world("llama3", type)
    var (mutations, endings) = (GGUFMutations(of: world.head, seed: Self.seed, purpose: "\(type)"), Set<Ending>())
    #expect(try load("whole", head: world.head, in: world) == .decoded)
    for number in 0..<4 * Self.count {
      let (what, data) = mutations.next()
      endings.insert(try load("\(type), \(number): \(what)", head: data, in: world))
    }
    #expect(endings.isSuperset(of: [.decoded, .refused]))
    for (what, data) in mutations.truncations where type == .bf16 {
      #expect(try load(what, head: data, in: world) == .refused, "\(what)")
    }
  }

  @Test("the head of another target, and a target, are one error where a head belongs", arguments: FamilyFixture.names)
  func otherHeads(name: String) throws {
    let world = try world("llama3", .bf16)
    let target = try Data(contentsOf: URL(fileURLWithPath: FamilyFixture.gguf(name)))
    #expect(try load(name, head: target, in: world) == .refused)
    let head = try self.world(name, .bf16).head
    // If sizes and tokens are the same, the head drafts.
    _ = try load(name, head: head, in: world)
    #expect(try load(name, head) == .refused)
  }
}
