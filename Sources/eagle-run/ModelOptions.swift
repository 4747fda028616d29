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

/// Which model, and how.
struct ModelOptions: ParsableArguments {
  @Option(
    help: "Target model: a Hugging Face folder, a GGUF file, or a name on a hub: ORG/MODEL, ORG/MODEL/FILE.gguf.")
  var target: String

  @Option(help: "Folder or .gguf file of a draft head, or its name on a hub; without one decoding is plain.")
  var draft: String?

  @OptionGroup var template: TemplateArguments

  @Option(
    help: ArgumentHelp(
      "Weights of the target in memory: stored, or quantised at load to 8 bits (q8_0) or 4 (q4_0, q4_k), which decodes "
        + "faster with small errors. What is quantised in its file stays as it is."))
  var weights = WeightFormat.stored

  @Option(help: "Weights of the head in memory; if not given, quantised as the target's are (4 to 6 bits: q4_0).")
  var draftWeights: WeightFormat?

  @Option(
    help: ArgumentHelp(
      "Precision of matrix products: bf16 where the processor has them, fp32 elsewhere. fp32 rounds no "
        + "activations, with quantised weights either."))
  var precision = ComputePrecision.bf16

  @Option(
    help: ArgumentHelp(
      "Keys and values in the KV caches, of the target and of the head: fp32, bf16, or 8 bits in blocks (q8_0); if not "
        + "given, that of the precision. Texts with a draft are those without one in each."))
  var kvCache: CacheFormat?

  @Option(
    help: ArgumentHelp(
      "Most tokens of a text, its prompt included: by default all positions, or for a rotary embedding that depends on "
        + "it (LongRoPE, dynamic scaling) the length of the model's first training; a server takes what fits the memory.",
      valueName: "tokens"))
  var context: Int?

  func validate() throws {
    guard context ?? 1 > 0 else { throw ValidationError("--context must be above 0") }
  }

  /// The name of the target: that of its folder, or of its file without `.gguf`.
  var name: String {
    let url = URL(fileURLWithPath: target).standardizedFileURL
    return (url.pathExtension == "gguf" ? url.deletingPathExtension() : url).lastPathComponent
  }

  /// Where a model is on this machine, fetched if it has the name of one on a hub.
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
    // Last, since it reads all weights: errors come first.
    model.target.prepareForDecoding()
    head.prepareForDecoding(model.target)
    return (model, head)
  }
}

/// The chat template and its variables.
struct TemplateArguments: ParsableArguments {
  @Option(help: "Chat template: a name, a .jinja file, or auto for the target's own.")
  var chatTemplate = "auto"

  @Option(
    help: ArgumentHelp(
      "Variable of the chat template, enable_thinking=false for one; can be given several times.",
      valueName: "name=value"))
  var templateOption: [String] = []

  /// The variables: true and false are flags, numbers are numbers, all else is text.
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

/// What a draft proposes in a round.
struct PlanOptions: ParsableArguments {
  @Option(help: "Tokens that the draft proposes in each round, one after the other; what tune found, or what pays.")
  var draftLength: Int?

  @Option(help: "Branches that a draft tree grows at each level; 1 is a chain.")
  var draftWidth: Int?

  @Option(help: "Nodes of a draft tree that the target checks; draft length times width, if not given.")
  var draftNodes: Int?

  @Flag(help: "End a round's drafting where another token is not worth its cost on this machine.")
  var adaptive = false

  func validate() throws {
    guard draftLength ?? 1 > 0 else { throw ValidationError("--draft-length must be above 0") }
    guard draftWidth ?? 1 > 0 else { throw ValidationError("--draft-width must be above 0") }
    do { try shape.validate() } catch { throw ValidationError("\(error)") }
  }

  /// The plan of the flags, costs aside.
  private var shape: DraftPlan {
    let (depth, width) = (draftLength ?? 3, draftWidth ?? 1)
    // Where the product overflows, the shape's own check refuses the depth.
    let (product, overflow) = depth.multipliedReportingOverflow(by: width)
    let all = overflow ? Int.max : product
    return DraftPlan(depth: depth, width: width, nodes: width == 1 ? depth : draftNodes ?? all)
  }

  /// The plan that the flags ask for; without any the one that tune wrote beside the head, and without that an adaptive
  /// tree by costs that are measured now, in less than half a second.
  func plan(_ models: ModelOptions, _ model: ChatModel, _ draft: DraftModel?) throws -> DraftPlan {
    guard let draft, let folder = try models.draft.map(ModelOptions.path) else { return .chain(0) }
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
        "\(DecodingFile.path(folder)) is for another machine, target, weights or precision: drafting adaptively")
    }
    return nil
  }
}

func printJSON(_ value: some Encodable) throws {
  try Output.write(try JSONStyle.indented.text(value) + "\n")
}
