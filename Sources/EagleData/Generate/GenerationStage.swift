import EagleChat
import EagleCluster
import EagleCore
import EagleDecoding
import EagleModels
import EagleStorage
import Foundation

/// A stage in which the target generates conversations: its name, the author of the text, and the state that the ranks
/// share.
struct GenerationStage {
  /// The command: `regenerate` or `synthesize`.
  let name: String
  let format: ChatFormat
  let writer: TextWriter
  let cluster: any Communicator
  let progress: any ProgressSink
  let stop: StopRequest

  /// The arguments of a call of `generate` except the source.
  struct Work {
    /// The batch size of a rank, if the local target generates.
    let batch: Int
    /// The file to which the conversations are written; other ranks record stops there.
    let file: GeneratedFile
    /// Conversations that earlier runs have finished.
    let known: Int
    let meter: GenerationMeter
    /// The server, if one generates.
    let server: ServedModel?
  }

  /// Returns the value of `make` on rank 0 to every rank. `make` must call its argument often, which checks for a stop.
  /// Collective.
  ///
  /// - Throws: `StoppedRun` on all ranks when a stop of one of them was requested
  func fromRoot<Value: Codable>(_ make: (_ each: () throws -> Void) throws -> Value) throws -> Value {
    let made: [Value] = try cluster.fromRoot {
      do {
        let value = try make {
          cluster.tick()
          try stop.throwIfMade(during: name)
        }
        return [value]
      } catch is StoppedRun {
        return []  // The next line tells all ranks.
      }
    }
    try stop.throwIfAnyRankStops(cluster, during: name)
    return made[0]
  }

  /// Connects to the server; nil if the local target generates. Collective. The caller closes the connection.
  func connect() throws -> ServedModel? {
    guard case .server(let server) = writer else { return nil }
    return try server.connect(name, cluster)
  }

  /// Generates the text for the requests of a source, until it has no more or a stop is requested. Collective.
  ///
  /// - Throws: `StoppedRun` after a stop, on all ranks, and `LocatedError` for a server that answers no request; the
  ///   finished conversations are kept
  func generate(_ source: some DialogueSource, _ work: Work) throws {
    var failures = FailureTally()
    do {
      switch (writer, work.server) {
      case (.target(let target), _): try decode(source, target, work)
      case (.server, let model?):
        let generation = ServedGeneration(model, format, source)
        defer { failures = generation.failures }
        try generation.run(finished: { note(source, work) }, passed: { try pass(work) })
      case (.server, nil): preconditionFailure("\(name) generates without its server")
      }
    } catch is StoppedRun {}  // The next line tells all ranks.
    try stop.throwIfAnyRankStops(cluster, during: name)
    try report(failures, of: source, work)
  }

  /// Decodes batches with the local target.
  private func decode(_ source: some DialogueSource, _ target: TargetModel, _ work: Work) throws {
    var open: [Int: DialogueRequest] = [:]
    func decoding(_ request: DialogueRequest?) -> DecodingRequest? {
      guard let request else { return nil }
      open[request.id] = request
      return DecodingRequest(
        id: request.id, prompt: request.prompt, sampling: request.sampling, maxNewTokens: request.maxNewTokens)
    }
    func request(_ id: Int) -> DialogueRequest {
      guard let request = open.removeValue(forKey: id) else {
        preconditionFailure("request \(id) is none of \(open.count) open ones")
      }
      return request
    }
    try BatchGenerator(target: target, width: work.batch, stopIDs: format.stopIDs).run(
      next: { decoding(try source.next()) },
      finished: { decoded, ids in
        let text = GeneratedText(ids, format, prompt: decoded.prompt)
        let next = try source.take(text, for: request(decoded.id))
        note(source, work)
        return decoding(next)
      },
      passed: { try pass(work) }, failed: { throw source.failure(of: request($0.id), $1) })
  }

  private func note(_ source: some DialogueSource, _ work: Work) {
    work.meter.note(source.counts, done: source.finishedByAll)
  }

  private func pass(_ work: Work) throws {
    cluster.tick()
    try work.file.throwIfStopped(stop, during: name)
  }

  /// Reports the reasons for unanswered requests of all ranks. Collective.
  ///
  /// - Throws: if there are such requests, but no answer and no conversation of an earlier run
  private func report(_ own: FailureTally, of source: some DialogueSource, _ work: Work) throws {
    guard let server = work.server else { return }
    var failures = FailureTally()
    for tally in try cluster.allGather(value: own) { failures.add(tally) }
    guard failures.total > 0 else { return }
    let answers = try source.counts.sum(over: cluster).answers
    guard answers > 0 || work.known > 0 else {
      throw LocatedError(
        path: server.client.description, problem: "it answered no request: \(failures.description)",
        advice: "look at the server's log, and at the settings of \(name) in the recipe")
    }
    progress.say("\(Format.count(failures.total, "request")) of \(name) without an answer: \(failures.description)")
  }

  /// The output of this stage, with the fingerprint of everything that determines its text.
  ///
  /// - Parameters:
  ///   - path: the file of conversations
  ///   - version: the version of the generation algorithm
  ///   - config: the settings that can change the text
  ///   - others: what determines the text in addition to settings, target and template
  func output(_ path: String, version: Int, config: some Encodable, others: [String] = []) throws -> GeneratedOutput {
    let parts =
      ["\(name) \(version)", try JSONStyle.compactEscaped.text(config)] + author + others
    let fingerprint = FileDigest.sha256(Data(parts.joined(separator: "\n").utf8))
    return GeneratedOutput(path: path, stage: name, fingerprint: fingerprint, origin: origin)
  }

  /// The identity of the author in fingerprints. The URL of a server is left out because it may change; the name of its
  /// model is in the output's origin.
  private var author: [String] {
    switch writer {
    case .target(let target):
      [target.fingerprint, format.template.identity, format.tokenizerDigest, target.precision.rawValue]
    case .server: ["a server", format.template.identity, format.tokenizerDigest]
    }
  }

  private var origin: GeneratedOutput.Origin {
    switch writer {
    case .target: .target
    case .server(let server): .server(model: server.config.model.isEmpty ? nil : server.config.model)
    }
  }

  /// Throws on all ranks if they have read different tokenizers or templates. Collective.
  func agreeOnText() throws {
    try cluster.agree(on: format.textFingerprint(), about: "the tokenizer of \(format.path)")
  }
}

extension ChatFormat {
  /// A digest of everything but the weights that determines prompts and the ends of answers, for a comparison between
  /// ranks.
  fileprivate func textFingerprint() -> String {
    """
    tokenizer.json \(tokenizerDigest)
    chat template \(template.identity)
    stop ids \(stopIDs.sorted())
    """
  }
}
