import ArgumentParser
import EagleChat
import EagleClient
import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleText
import Foundation

extension WeightFormat: ExpressibleByArgument {}
extension ComputePrecision: ExpressibleByArgument {}
extension CacheFormat: ExpressibleByArgument {}

/// The options of the target and the draft head.
struct ModelOptions: ParsableArguments {
  @Option(
    help: "Target model: a Hugging Face folder, a GGUF file, or a name on a hub (ORG/MODEL, ORG/MODEL/FILE.gguf).")
  var target: String

  @Option(help: "Draft head: a folder, a .gguf file, or a name on a hub. Without it, the target decodes plainly.")
  var draft: String?

  @OptionGroup var template: TemplateArguments

  @Option(
    help: """
      Weight format of the target in memory: as stored, or quantised at load to 8 bits (q8_0) or 4 bits (q4_0, q4_k). \
      Quantised weights decode faster, with small errors. Matrices that are quantised in the file stay unchanged.
      """)
  var weights = WeightFormat.stored

  @Option(
    help: """
      Weight format of the draft head in memory. The default is the format of the target, or q4_0 for a target \
      of 4 to 6 bits.
      """)
  var draftWeights: WeightFormat?

  @Option(
    help: """
      Precision of matmuls. bf16 falls back to fp32 on processors without AVX-512. With quantised weights, bf16 \
      rounds activations to 8 bits in decoding; fp32 never rounds activations.
      """)
  var precision = ComputePrecision.bf16

  @Option(
    help: """
      KV cache type of the target and the draft head: fp32, bf16, or 8 bits in blocks (q8_0). By default it follows \
      --precision. Decoding with a draft head is lossless with each type.
      """)
  var kvCache: CacheFormat?

  @Option(
    help: ArgumentHelp(
      """
      Context length: maximum number of tokens of a text, prompt included. The default is all positions of the model. \
      If the rotary embedding depends on it (LongRoPE, dynamic scaling), the default is the original training length. \
      A server lowers the default to what fits in memory.
      """, valueName: "tokens"))
  var context: Int?

  func validate() throws {
    guard context ?? 1 > 0 else { throw ValidationError("--context must be above 0") }
    guard draftWeights == nil || draft != nil else {
      throw ValidationError("--draft-weights is for a draft head: name one with --draft")
    }
  }

  /// The name of the target: that of its folder, or of its file without `.gguf`.
  var name: String {
    let url = URL(fileURLWithPath: target).standardizedFileURL
    return (url.pathExtension == "gguf" ? url.deletingPathExtension() : url).lastPathComponent
  }

  /// The path of a model on this machine. A model with a name on a hub is fetched.
  static func path(_ text: String) throws -> String { try ModelHub.path(for: text) { Output.note($0) } }

  func load() throws -> (model: ChatModel, draft: DraftModel?) {
    let model = try ChatModel(
      folder: try Self.path(target), template: template.chatTemplate, options: template.options, format: weights,
      precision: precision,
      cache: kvCache, context: context)
    let positions = model.target.shape.maxPositions
    if let context, context > positions {
      throw ValidationError("--context \(context): the target has \(positions) positions; ask for fewer")
    }
    if let line = model.target.fallbacks.line { Output.note("weights of the target: \(line)") }
    guard let stored = try draft.map({ try model.head(at: Self.path($0)) }) else {
      model.target.prepareForDecoding()
      return (model, nil)
    }
    let format = draftWeights ?? model.target.weightFormat
    if let line = stored.fallbacks(format).line { Output.note("weights of the head: \(line)") }
    if stored.shape.longestDraft != nil {
      let facts = [stored.shape.architecture] + stored.shape.details
      Output.note("the head is a block drafter: \(facts.joined(separator: ", "))")
    }
    if stored.hasOwnEmbedding { Output.note("the head reads an embedding of its own, which differs from the target's") }
    if let line = model.target.cacheFormat.fallbackLine(headDimension: stored.shape.headDimension) {
      Output.note("KV cache of the head: \(line)")
    }
    let head = stored.quantized(format)
    // Last, since it reads all weights, so that errors come first. The head copies rows of the target's LM head before
    // these are repacked into tiles.
    head.prepareForDecoding(model.target)
    model.target.prepareForDecoding()
    return (model, head)
  }
}

/// The chat template and its variables.
struct TemplateArguments: ParsableArguments {
  @Option(help: "Chat template: a name, a .jinja file, or auto for the target's own.")
  var chatTemplate = "auto"

  @Option(
    help: ArgumentHelp(
      "Variable of the chat template, for example enable_thinking=false. May be repeated.",
      valueName: "name=value"))
  var templateOption: [String] = []

  /// The variables: true and false are booleans, numbers are numbers, everything else is a string.
  var options: TemplateOptions {
    TemplateOptions(
      Dictionary(
        templateOption.map { option in
          let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
          return (parts[0], TemplateOptions.Value(spelled: parts.last ?? ""))
        }, uniquingKeysWith: { $1 }))
  }

  func validate() throws {
    guard templateOption.allSatisfy({ $0.contains("=") && !$0.hasPrefix("=") }) else {
      throw ValidationError("--template-option takes NAME=VALUE")
    }
  }
}

/// The options of the draft plan.
struct PlanOptions: ParsableArguments {
  @Option(
    help: """
      Draft length: tokens that the draft head proposes in sequence per round. By default the plan that tune stored \
      applies, or else an adaptive tree. With --draft-width or --adaptive the default is 3.
      """)
  var draftLength: Int?

  @Option(help: "Width of the draft tree: branches at each level. 1 is a chain.")
  var draftWidth: Int?

  @Option(help: "Nodes of the draft tree that the target verifies. The default is draft length times width.")
  var draftNodes: Int?

  @Flag(help: "Adaptive drafting: end a draft early when another token is not worth its cost on this machine.")
  var adaptive = false

  func validate() throws {
    guard draftLength ?? 1 > 0 else { throw ValidationError("--draft-length must be above 0") }
    guard draftWidth ?? 1 > 0 else { throw ValidationError("--draft-width must be above 0") }
    guard draftNodes == nil || draftWidth ?? 1 > 1 else {
      throw ValidationError("--draft-nodes needs a --draft-width above 1: the nodes of a chain are its draft length")
    }
    do { try shape.validate() } catch { throw ValidationError("\(error)") }
  }

  /// The plan of the flags, without costs.
  private var shape: DraftPlan {
    let (depth, width) = (draftLength ?? 3, draftWidth ?? 1)
    // If the product overflows, the shape's own check rejects the depth.
    let (product, overflow) = depth.multipliedReportingOverflow(by: width)
    let all = overflow ? Int.max : product
    return DraftPlan(depth: depth, width: width, nodes: draftNodes ?? all)
  }

  /// The plan of the flags. Without flags it is the plan that tune wrote next to the head; without that, an adaptive
  /// tree with costs that are measured now, in less than half a second.
  func plan(_ models: ModelOptions, _ model: ChatModel, _ draft: DraftModel?) throws -> DraftPlan {
    guard let draft, let folder = try models.draft.map(ModelOptions.path) else {
      guard !isGiven else {
        throw ValidationError(
          "--draft-length, --draft-width, --draft-nodes and --adaptive are for a draft head: name one with --draft")
      }
      return .chain(0)
    }
    let tuned = try tuned(folder, DecodingFile.Environment(target: model.target, weights: models.weights, draft: draft))
    if let tuned, !isGiven { return tuned.plan }
    if !isGiven { return .adaptive(try DecodingCosts.estimate(target: model.target, draft: draft), for: draft) }
    var plan = shape
    try plan.requireFit(draft)
    if adaptive { plan.costs = try tuned?.costs ?? DecodingCosts.measure(target: model.target, draft: draft) }
    return plan
  }

  private var isGiven: Bool { draftLength != nil || draftWidth != nil || draftNodes != nil || adaptive }

  private func tuned(_ folder: String, _ environment: DecodingFile.Environment) throws -> DecodingFile? {
    guard let file = try DecodingFile.read(draft: folder) else { return nil }
    if file.environment == environment { return file }
    if !isGiven {
      Output.note(
        "\(DecodingFile.path(folder)) is for another machine, target, weights or precision: using the default plan")
    }
    return nil
  }
}

func printJSON(_ value: some Encodable) throws {
  try Output.write(try JSONStyle.indented.text(value) + "\n")
}
