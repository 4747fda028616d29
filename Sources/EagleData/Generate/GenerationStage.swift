import EagleChat
import EagleCluster
import EagleCore
import EagleDecoding
import EagleStorage
import Foundation

/// Conversations in progress on one rank: what the target is to write next, and what becomes of it.
protocol DialogueSource: AnyObject {
  /// What this rank has generated so far.
  var counts: GenerationCounts { get }
  /// Conversations that all ranks have finished, as far as this one can tell.
  var finishedByAll: Int { get }

  /// The first request of the next conversation; nil when this rank finds no more.
  func next() throws -> DecodingRequest?

  /// Takes what the target wrote for a request.
  ///
  /// - Returns: the next request of the same conversation; nil when the conversation has come to its end
  func take(_ ids: [Int32], for request: DecodingRequest) throws -> DecodingRequest?

  /// The error that names the conversation of a request that failed.
  func failure(of request: DecodingRequest, _ error: any Error) -> any Error
}

/// A stage that lets the target write conversations: its name, the model, and what the ranks share.
struct GenerationStage {
  /// The command: `regenerate` or `synthesize`.
  let name: String
  let model: ChatModel
  let cluster: any Communicator
  let progress: any ProgressSink
  let stop: StopRequest

  /// Lets the target write what a source requests, until the source has no more or a stop is requested. Collective.
  ///
  /// - Parameters:
  ///   - batch: conversations that a rank decodes together
  ///   - file: the file that the conversations go to, for stops that another rank has noted there
  /// - Throws: `StoppedRun` after a stop, on all ranks; the finished conversations are kept
  func generate(
    _ source: some DialogueSource, batch: Int, file: GeneratedFile, meter: GenerationMeter
  ) throws {
    let generator = BatchGenerator(target: model.target, width: batch, stopIDs: model.stopIDs)
    do {
      try generator.run(
        next: { try source.next() },
        finished: { request, ids in
          let next = try source.take(ids, for: request)
          meter.note(source.counts, done: source.finishedByAll)
          return next
        },
        passed: {
          cluster.tick()
          try file.throwIfStopped(stop, during: name)
        }, failed: { throw source.failure(of: $0, $1) })
    } catch is StoppedRun {}  // The next line tells all ranks.
    try stop.throwIfAnyRankStops(cluster, during: name)
  }

  /// The output of this stage, with the fingerprint of everything that its texts follow from.
  ///
  /// - Parameters:
  ///   - path: the file of conversations
  ///   - version: the number of the way in which texts are made
  ///   - config: the settings, without those that change no text
  ///   - others: what texts follow from besides settings, target and template
  func output(_ path: String, version: Int, config: some Encodable, others: [String] = []) throws -> GeneratedOutput {
    let parts =
      [
        "\(name) \(version)", try JSONStyle.compactEscaped.text(config), model.target.fingerprint,
        model.template.identity, model.target.precision.rawValue,
      ] + others
    let fingerprint = FileDigest.sha256(Data(parts.joined(separator: "\n").utf8))
    return GeneratedOutput(path: path, stage: name, fingerprint: fingerprint)
  }

  /// Throws on all ranks when they have read different tokenizers or templates. Collective.
  func agreeOnText() throws {
    try cluster.agree(on: try model.textFingerprint(), about: "the tokenizer of \(model.target.path)")
  }
}

extension ChatModel {
  /// Everything beside the weights that prompts and the ends of answers follow from, to compare ranks by.
  fileprivate func textFingerprint() throws -> String {
    """
    tokenizer.json \(try FileDigest.sha256(path: "\(target.path)/tokenizer.json"))
    chat template \(template.identity)
    stop ids \(stopIDs.sorted())
    """
  }
}
