import ArgumentParser
import EagleChat
import EagleClient
import EagleCore
import EagleDraft
import EagleModels
import EagleReport
import EagleStorage
import EagleTraining
import Foundation

extension DraftGGUF.MatrixType: ExpressibleByArgument {}
extension HeadLayout: ExpressibleByArgument {}

struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a checkpoint's head as a Hugging Face folder, or as a GGUF file for llama.cpp.")

  @Argument(help: "Checkpoint (a step folder of a run), or an exported head together with --target.")
  var checkpoint: String

  @Option(help: "Output folder, or an output file whose name ends in .gguf.")
  var output: String

  @Option(
    help: """
      Target model: a Hugging Face folder or a GGUF file. The default is the target that the checkpoint was trained for.
      """)
  var target: String?

  @Option(
    help: """
      Positions of the target, as target.context of the recipe sets them. The default is what the checkpoint was \
      trained for.
      """)
  var context: Int?

  @Option(help: "Type of the matrices in a .gguf file. The default is bf16.")
  var type: DraftGGUF.MatrixType?

  @Option(
    help: """
      Layout of an output folder. The default is eagle3 (the EAGLE-3 release) for an EAGLE-3 head, and deepspec \
      (DeepSpec) for a block drafter. If that layout cannot describe the head, the default is speculators.
      """)
  var layout: HeadLayout?

  @Option(
    help: "Name or path of the target that the speculators layout holds for servers. The default is the target's path.")
  var verifier: String?

  @Flag(
    help: """
      Write a model card (README.md) with target, data and acceptance next to the head. Requires a checkpoint in the \
      folder of its run.
      """)
  var card = false

  @Option(help: "Licence of the head in the model card, as hubs name it, for example apache-2.0.")
  var license: String?

  private var isFile: Bool { output.hasSuffix(".gguf") }

  func validate() throws {
    guard type == nil || isFile else { throw ValidationError("--type is for an output that ends in .gguf") }
    guard !isFile || (layout == nil && verifier == nil && !card) else {
      throw ValidationError("--layout, --verifier and --card are for a folder, and \(output) is a file")
    }
    guard context ?? 1 > 0 else { throw ValidationError("--context must be above 0") }
    guard license == nil || card else { throw ValidationError("--license is for the model card (--card)") }
    let allowed = license?.utf8.allSatisfy { (0x21...0x7e).contains($0) } ?? true
    guard allowed else { throw ValidationError("--license must be one word, such as apache-2.0") }
  }

  func run() throws {
    try isFile ? DraftGGUF.requireReplaceable(output) : DraftFolder.requireReplaceable(output)
    let source = try source()
    let page = try page(step: source.step)
    guard isFile else {
      try DraftFolder.write(
        source.draft, target: source.model.shape, layout: layout, verifier: verifier ?? source.model.path,
        tables: source.draft.tables(of: source.model), to: output)
      if let page { try AtomicFile.write(path: "\(output)/\(DraftFolder.card)", data: DraftFolder.sealedCard(page)) }
      return Output.note("exported \(source.name) to \(output)")
    }
    let tokenizer = try TargetTokenizerFields.of(target: source.model.path, shape: source.model.shape)
    let wide = try DraftGGUF.write(
      source.draft, target: source.model.shape, tokenizer: tokenizer, type: type ?? .bf16,
      tables: source.draft.tables(of: source.model), to: output)
    if !wide.isEmpty {
      Output.note("stored in bf16, since their row length is not a multiple of 32: \(wide.joined(separator: ", "))")
    }
    if !source.model.shape.family.takesHeadInLlamaCpp {
      Output.note(
        "llama.cpp cannot draft for a \(source.model.shape.family.rawValue) target, since it does not give a head the "
          + "hidden states of this architecture; eagle-run can")
    }
    Output.note("exported \(source.name) to \(output)")
  }

  /// The text of the model card, if it was requested.
  private func page(step: Int?) throws -> String? {
    guard card else { return nil }
    guard let step else {
      throw ValidationError("--card is for a checkpoint, and \(checkpoint) is an exported head without data of its run")
    }
    let run = URL(fileURLWithPath: checkpoint).standardizedFileURL.deletingLastPathComponent().path
    // The name on a hub, or the last component of a path, because local paths are private.
    let name = try verifier ?? target ?? ModelCard.target(ofRun: run) ?? "its target"
    let hub = HubName(name)
    let shown = hub?.description ?? URL(fileURLWithPath: name).lastPathComponent
    return try ModelCard(folder: run, step: step, license: license, target: shown, base: hub?.repository).text
  }

  /// The head to write, its target, its name in messages, and the step of a checkpoint.
  private func source() throws -> (draft: DraftModel, model: TargetModel, name: String, step: Int?) {
    if DraftGGUF.isFile(checkpoint) || DraftFolder.isHead(checkpoint) {
      guard let target else {
        throw ValidationError("\(checkpoint) is an exported head, which does not name its target: add --target")
      }
      let model = try TargetModel(folder: target, context: context)
      let head = try DraftFolder.read(checkpoint, target: model)
      // An export would store its quantisation errors as the head's own weights.
      if let format = head.quantizedFormat {
        throw LocatedError(
          path: checkpoint, problem: "its weights are quantised (\(format))",
          advice: "export the head's folder, a checkpoint, or a .gguf file of the type bf16")
      }
      return (head.trainable(), model, checkpoint, nil)
    }
    let opened = try CheckpointFolder.open(checkpoint)
    let info = try TrainingCheckpoint.info(opened)
    let folder = target ?? info.targetPath
    let model = try TargetModel(folder: folder, context: context ?? info.targetContext)
    guard model.fingerprint == info.targetFingerprint else {
      throw LocatedError(
        path: folder, problem: "is not the target that \(checkpoint) was trained for",
        advice: "name the right one with --target")
    }
    return (try TrainingCheckpoint.draft(opened, target: model.shape), model, "step \(info.step)", info.step)
  }
}
