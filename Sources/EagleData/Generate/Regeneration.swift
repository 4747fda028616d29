import EagleChat
import EagleCluster
import EagleCore
import EagleStorage
import EagleText
import Foundation

/// Regenerates conversations: the target answers their user turns again, turn by turn, on all ranks.
///
/// System messages are kept. An answer that is cut at `max_new_tokens` ends its conversation and is marked. Rank 0
/// reads the input for all. Each rank takes the next conversation from a shared queue. The text does not depend on
/// which rank answers, except for tokens whose probabilities differ only by rounding.
package struct Regeneration {
  private let stage: GenerationStage
  private let config: RegenerateConfig
  private let maxLength: Int

  private var cluster: any Communicator { stage.cluster }
  private var progress: any ProgressSink { stage.progress }

  /// Prompts of more than `maxLength` tokens, the limit of a trained conversation, get no answer.
  ///
  /// - Parameters:
  ///   - format: the local tokenizer and chat template, which measure prompts
  ///   - writer: the author of the answers
  package init(
    _ format: ChatFormat, writer: TextWriter, config: RegenerateConfig, maxLength: Int, cluster: any Communicator,
    progress: ProgressSink, stop: StopRequest = StopRequest()
  ) {
    stage = GenerationStage(
      name: "regenerate", format: format, writer: writer, cluster: cluster, progress: progress, stop: stop)
    self.config = config
    self.maxLength = min(maxLength, format.shape.maxPositions - config.maxNewTokens)
  }

  /// Answers the prompts that have no answer yet. Collective.
  ///
  /// - Parameter retriesFailed: whether conversations that a server failed to answer are retried. A run whose training
  ///   has begun must keep its data, and must not need the server.
  /// - Throws: for input without prompts or with more than 1 % broken lines, an output of other settings, and for a
  ///   `max_new_tokens` that leaves no space for a prompt; `StoppedRun` when a stop was requested, with the finished
  ///   conversations kept
  package func run(retriesFailed: Bool = true) throws {
    try checkLength()
    let request = try request()
    var output = try output()
    let complete = try cluster.isRoot ? output.completion(of: request, retriesFailed: retriesFailed) : nil
    if try cluster.anyTrue(complete != nil) { return reportUpToDate(complete) }
    let lock = try cluster.isRoot ? output.lock() : nil
    var isBegun = false
    // If the run ends before generation starts, it leaves no folder of parts.
    defer { if lock != nil, !isBegun { output.removeEmptyParts() } }
    let isFinished = try cluster.anyTrue(cluster.isRoot && output.isFinished())
    let (prompts, order) = try survey(output)
    report(prompts)
    let server = prompts.unanswered > 0 ? try stage.connect() : nil
    defer { server?.close() }
    if let server { output = output.written(by: .server(model: server.name)) }
    let file = try GeneratedFile(output, lock: lock, cluster: cluster)
    isBegun = true
    let meter = GenerationMeter(stage: stage.name, total: prompts.total, progress: progress)
    let counts = try answer(
      prompts, .init(batch: config.batch, file: file, known: prompts.known, meter: meter, server: server))
    let contents = try finish(file, prompts, order: order, isUnchanged: isFinished && counts.answers == 0)
    guard cluster.isRoot else { return }
    let result = GeneratedOutput.Completion(
      request: request, conversations: contents.conversations, leftOut: prompts.total - contents.named,
      sha256: try FileDigest.sha256(path: config.output, each: cluster.tick), failed: counts.failed)
    try output.note(result)
    if counts.answers == 0 && counts.failed == 0 && isFinished { return reportUpToDate(result) }
    progress.finish(
      stage.name,
      "\(Format.count(result.conversations, "conversation")) to \(Format.count(prompts.total, "question")) in "
        + config.output + meter.summary(counts))
  }

  private func checkLength() throws {
    guard maxLength > 0 else {
      throw LocatedError(
        path: "regenerate.max_new_tokens",
        problem: "answers of \(config.maxNewTokens) tokens leave no position for a prompt: the target has "
          + "\(stage.format.shape.maxPositions)", advice: "lower it")
    }
  }

  /// Reads the input once, on rank 0. The keys of its prompts stay in memory, about 80 bytes each, so that the output
  /// can be written in their order without reading the input again. Collective.
  ///
  /// - Returns: the survey on all ranks; the keys of all different prompts, in the order of the input, on rank 0
  /// - Throws: for input without prompts or with too many broken lines; `StoppedRun` on all ranks after a stop
  private func survey(_ output: GeneratedOutput) throws -> (PromptSurvey, order: [String]) {
    var order: [String] = []
    let survey = try stage.fromRoot { each in
      try PromptSurvey.write(
        config.input, answered: output.keys(each: each), folder: output.parts, order: &order, each: each)
    }
    return (survey, order)
  }

  /// Answers the unanswered prompts on all ranks, if there are any. Collective.
  ///
  /// - Returns: the counts of what all ranks have generated
  private func answer(_ prompts: PromptSurvey, _ work: GenerationStage.Work) throws -> GenerationCounts {
    let queue = try PromptQueue(prompts, cluster: cluster)
    let source = RegenerationSource(prompts: queue, work, format: stage.format, config: config, maxLength: maxLength)
    if prompts.unanswered > 0 { try stage.generate(source, work) }
    if let refusal = source.refusal {
      progress.say("the chat template refuses conversations, which end there; the first is \(refusal)")
    }
    return try source.counts.sum(over: cluster)
  }

  /// Writes the output, or leaves it unchanged. Collective.
  ///
  /// - Parameter isUnchanged: whether the output was finished before, and nothing was added to it
  private func finish(
    _ file: GeneratedFile, _ prompts: PromptSurvey, order: [String], isUnchanged: Bool
  ) throws -> GeneratedFile.Contents {
    if isUnchanged {
      try file.close()
      return .init(conversations: prompts.known, named: prompts.total - prompts.unanswered)
    }
    var keys = order[...]
    return try file.finish(others: true) { keys.popFirst() }
  }

  private func reportUpToDate(_ complete: GeneratedOutput.Completion?) {
    guard let complete else { return }
    let (count, failed) = (complete.conversations, complete.failed ?? 0)
    let missing = complete.leftOut - failed
    let reasons =
      ["of more than \(maxLength) tokens", "refused by the template"]
      + (config.server.isUsed ? ["refused by the server"] : [])
    let leftOut =
      missing == 0 ? "" : ", \(Format.count(missing, "question")) left out, \(reasons.joined(separator: " or "))"
    let retry = failed == 0 ? "" : ", \(Format.count(failed, "question")) failed: `eagle-train regenerate` tries again"
    progress.finish(
      stage.name, "up to date: \(Format.count(count, "conversation")) in \(config.output)\(leftOut)\(retry)")
  }

  private func report(_ prompts: PromptSurvey) {
    guard cluster.isRoot else { return }
    for report in prompts.reports { progress.say(skippedLinesOf: report) }
    if prompts.repeated > 0 { progress.say("\(Format.count(prompts.repeated, "repeated question")), asked once") }
  }

  /// A digest of the request: the input files, as rank 0 reads them, and the maximum length. Collective.
  private func request() throws -> String {
    try stage.agreeOnText()
    return try stage.fromRoot { each in
      let digests = try config.input.map { path in
        try each()
        return try FileDigest.sha256(path: path, each: each)
      }
      return FileDigest.sha256(Data((digests + ["\(maxLength)"]).joined(separator: "\n").utf8))
    }
  }

  /// The output. Its fingerprint leaves out the input, which may grow later, and the batch size, which changes no text.
  private func output() throws -> GeneratedOutput {
    var lasting = config
    (lasting.input, lasting.output, lasting.batch) = ([], "", RegenerateConfig().batch)
    return try stage.output(
      config.output, version: 2, config: lasting.texts, others: ["\(stage.format.stopIDs.sorted())"])
  }
}

extension ProgressSink {
  /// Reports the lines of a file that cannot be used, if there are any.
  func say(skippedLinesOf report: ReadReport) {
    guard let first = report.skipped.first else { return }
    say("\(report.path): skipped \(report.skippedCount) lines, the first is line \(first.line): \(first.reason)")
  }
}
