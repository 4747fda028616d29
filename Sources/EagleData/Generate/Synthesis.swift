import EagleChat
import EagleCluster
import EagleCore
import Foundation

/// Synthetic conversations: the target gets only the beginning of a user's turn, generates the question itself and
/// answers it (Magpie, arXiv 2406.08464).
///
/// Attempts are numbered, and each is sampled with a seed of its own. The output consists of the first attempts that
/// pass the filters, in their order. It does not depend on ranks and stops, except for samples whose choice between two
/// tokens is within rounding.
package struct Synthesis {
  private let stage: GenerationStage
  private let config: SynthesizeConfig

  private var format: ChatFormat { stage.format }
  private var cluster: any Communicator { stage.cluster }

  /// - Parameters:
  ///   - format: the local tokenizer and chat template, which open the user's turns
  ///   - writer: the author of questions and answers
  package init(
    _ format: ChatFormat, writer: TextWriter, config: SynthesizeConfig, cluster: any Communicator,
    progress: ProgressSink, stop: StopRequest = StopRequest()
  ) {
    stage = GenerationStage(
      name: "synthesize", format: format, writer: writer, cluster: cluster, progress: progress, stop: stop)
    self.config = config
  }

  /// Generates the missing conversations. Collective.
  ///
  /// - Throws: for an output of other settings, and for a target of whose attempts fewer than one in 50 passes;
  ///   `StoppedRun` when a stop was requested, with the finished attempts kept
  package func run() throws {
    try checkOpenings()
    try stage.agreeOnText()
    var output = try output()
    let finished = try cluster.isRoot && output.isFinished() ? output.keys(each: cluster.tick).count : 0
    if try cluster.anyTrue(finished >= config.conversations) {
      if cluster.isRoot, finished > config.conversations {
        stage.progress.say(
          "warning: \(config.output) has \(Format.count(finished, "conversation")), more than the "
            + "\(config.conversations) of synthesize.conversations; all of them are data")
      }
      return stage.progress.finish(
        stage.name, "up to date: \(Format.count(finished, "conversation")) in \(config.output)")
    }
    let server = try stage.connect()
    defer { server?.close() }
    if let server { output = output.written(by: .server(model: server.name)) }
    let file = try GeneratedFile(output, cluster: cluster)
    let known = try file.finishedKeys()
    let meter = GenerationMeter(stage: stage.name, total: config.conversations, progress: stage.progress)
    let (round, counts) = try attempt(
      .init(batch: config.batch, file: file, known: known.count, meter: meter, server: server), known: known)
    let kept = Array(round.kept.prefix(config.conversations))
    var order = kept[...]
    // Passing attempts beyond the requested number are discarded, and generated again if more are requested later.
    try file.finish(others: false) { order.popFirst() }
    stage.progress.finish(
      stage.name,
      "\(kept.count) of \(round.attempts) attempts in \(config.output)"
        + meter.summary(try counts.sum(over: cluster)) + round.describeRejected)
  }

  /// Generates attempts in rounds until enough pass. Collective.
  ///
  /// - Parameter known: ids of the attempts that earlier runs have finished
  /// - Returns: the results of all attempts, and the counts of what this rank has generated
  private func attempt(
    _ work: GenerationStage.Work, known: Set<String>
  ) throws -> (SynthesisRound, GenerationCounts) {
    var (round, counts) = (SynthesisRound(), GenerationCounts())
    let file = work.file
    // The attempts of an earlier, stopped run count only for the meter here.
    var finished = cluster.isRoot ? try SynthesisRound(attempts: .max, file).kept.count : 0
    while round.kept.count < config.conversations {
      let last = round.attempts + round.attemptsNeeded(for: config.conversations)
      let source = SynthesisSource(
        file: file, format: format, config: config, finishedBefore: finished, ranks: cluster.size,
        nextNumber: try numbers(round.attempts..<last, known: known))
      try stage.generate(source, work)
      counts = counts + source.counts
      try cluster.barrier()
      round = try cluster.fromRoot { try SynthesisRound(attempts: last, file) }
      finished = round.kept.count
      if round.isHopeless { throw hopeless(round) }
    }
    return (round, counts)
  }

  private func checkOpenings() throws {
    for opening in config.openings {
      let prompt = try format.template.questionPrompt([], opening: opening, tokenizer: format.tokenizer)
      // A question may be short, but the opening, the question and an answer must fit.
      guard prompt.count + config.maxNewTokens < format.shape.maxPositions else {
        throw LocatedError(
          path: "synthesize.max_new_tokens",
          problem: "answers of \(config.maxNewTokens) tokens leave no position for a question: the target has "
            + "\(format.shape.maxPositions)", advice: "lower it")
      }
      guard prompt.count + config.questionTokens <= format.shape.maxPositions else {
        throw LocatedError(
          path: "synthesize.openings", problem: "\"\(opening.prefix(40))…\" leaves no room for question_tokens",
          advice: "the target has \(format.shape.maxPositions) positions")
      }
    }
  }

  /// The attempts of a range for this rank, one after another. Collective.
  private func numbers(_ range: Range<Int>, known: Set<String>) throws -> () throws -> Int? {
    let missing = range.filter { !known.contains(Attempt.id($0)) }
    let nextTicket = try cluster.tickets()
    return {
      let ticket = try nextTicket()
      return ticket < missing.count ? missing[ticket] : nil
    }
  }

  private func hopeless(_ round: SynthesisRound) -> LocatedError {
    LocatedError(
      path: format.path,
      problem: "of \(round.attempts) attempts \(round.kept.count) make a conversation\(round.describeRejected)",
      advice: "change synthesize.openings or question_temperature, or take a target that was trained to chat")
  }

  /// The output. Its fingerprint leaves out the number of conversations, which may grow later, and the batch size,
  /// which changes no text.
  private func output() throws -> GeneratedOutput {
    var lasting = config
    (lasting.output, lasting.batch, lasting.conversations) = ("", SynthesizeConfig().batch, 0)
    return try stage.output(
      config.output, version: 2, config: lasting.texts, others: ["\(stage.format.stopIDs.sorted())"])
  }
}
