import EagleChat
import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleStorage
import EagleText
import Foundation

/// The stage that turns conversations into token ids, loss masks, held-out split and draft vocabulary.
///
/// Lines are read in chunks and tokenised on all threads. Memory grows by at most 45 bytes per conversation, for the
/// set of 16-byte digests that detects duplicates. Finished files are kept, and a stopped preparation resumes after
/// them.
package struct Preparation {
  private let data: DataConfig
  private let draft: DraftConfig
  private let seed: UInt64
  private let model: ChatModel
  private let progress: ProgressSink
  private let stop: StopRequest
  private let chunkBytes: Int
  private let fileTokens: Int

  package init(
    data: DataConfig, draft: DraftConfig, seed: UInt64, model: ChatModel, progress: ProgressSink,
    stop: StopRequest = StopRequest()
  ) {
    self.init(
      data: data, draft: draft, seed: seed, model: model, progress: progress, stop: stop,
      chunkBytes: 8 << 20, fileTokens: PreparationWriter.fileTokens)
  }

  /// - Parameters:
  ///   - chunkBytes: the minimum size in bytes of the lines that are processed together
  ///   - fileTokens: the minimum number of tokens of one file
  package init(
    data: DataConfig, draft: DraftConfig, seed: UInt64, model: ChatModel, progress: ProgressSink, stop: StopRequest,
    chunkBytes: Int, fileTokens: Int
  ) {
    self.data = data
    self.draft = draft
    self.seed = seed
    self.model = model
    self.progress = progress
    self.stop = stop
    self.chunkBytes = chunkBytes
    self.fileTokens = fileTokens
  }

  /// Writes `folder` atomically; an up-to-date result is kept. Unfinished work is stored in `<folder>.partial`.
  ///
  /// - Parameters:
  ///   - folder: the folder of the result
  ///   - check: called with the fingerprint of the result before anything is written; it may throw
  /// - Throws: for a folder that holds other files than prepared data, a draft vocabulary with tokens that the target
  ///   does not have, unreadable files, more than 1 % broken lines, and when nothing is left to train on; `StoppedRun`
  ///   when a stop was requested
  package func run(folder: String, check: (String) throws -> Void = { _ in }) throws -> PreparedData {
    try Self.checkVocabulary(draft, target: model.target)
    let tokens = try tokensFingerprint()
    let fingerprint = try fingerprint(tokens)
    try check(fingerprint)
    if let done = try? PreparedData(folder: folder), done.fingerprint == fingerprint {
      progress.finish("prepare", "up to date: \(done.statistics.summary)")
      return done
    }
    let partial = "\(folder).partial"
    for path in [folder, partial] { try PreparedData.requireReplaceable(path) }
    if !PreparationState.exists(partial), let done = try? PreparedData(folder: partial), done.fingerprint == fingerprint
    {
      // A kill interrupted an earlier start between its end and the renaming of the folder.
      return try install(partial, at: folder)
    }
    var writer = try PreparationWriter(
      folder: partial, fingerprint: fingerprint, vocabularySize: model.target.shape.vocabularySize, data: data,
      seed: seed,
      fileTokens: fileTokens)
    if writer.isResumed {
      progress.say("resuming after \(Format.count(writer.state.statistics.conversations, "prepared conversation"))")
    }
    for input in writer.state.input..<data.train.count { try read(input, into: &writer) }
    try writer.finish()
    try report(writer.state)
    try writeManifest(writer.state, tokens, fingerprint, partial)
    return try install(partial, at: folder)
  }

  private func install(_ partial: String, at folder: String) throws -> PreparedData {
    try PreparationWriter.removeState(in: partial)
    try AtomicFolder.install(partial, at: folder)
    let prepared = try PreparedData(folder: folder)
    progress.finish("prepare", prepared.statistics.summary)
    return prepared
  }

  /// Throws if a head with these settings cannot be created for this target. The check is cheap, so it should come
  /// before any other work.
  package static func checkVocabulary(_ draft: DraftConfig, target: TargetModel) throws {
    if let initFrom = draft.initFrom {
      _ = try DraftFolder.vocabulary(initFrom, target: target)
      return
    }
    try draft.requireFit(target.shape)
  }

  // MARK: reading

  private func read(_ input: Int, into writer: inout PreparationWriter) throws {
    let file = data.train[input]
    var lines = try ConversationLines(path: file.path)
    try lines.skip(to: writer.begin(input: input, path: file.path))
    let work = LineWork(model: model, data: data)
    while true {
      try stop.throwIfMade(during: "prepare")
      let chunk = try chunk(&lines)
      guard let last = chunk.last else { break }
      for (line, outcome) in zip(chunk, work.outcomes(chunk)) { try writer.add(outcome, of: line, in: file) }
      try writer.reached(line: last.number)
      note(writer.state.statistics)
    }
    try writer.state.reports[input].check()
  }

  private func chunk(_ lines: inout ConversationLines) throws -> [ConversationLine] {
    var (chunk, bytes) = ([ConversationLine](), 0)
    while bytes < chunkBytes, let line = try lines.next() {
      chunk.append(line)
      bytes += line.byteCount
    }
    return chunk
  }

  private func note(_ statistics: DataStatistics) {
    progress.advance(
      "prepare", done: statistics.conversations, total: 0, unit: "conversations", note: "\(statistics.tokens) tokens")
  }

  private func report(_ state: PreparationState) throws {
    for report in state.reports { progress.say(skippedLinesOf: report) }
    let statistics = state.statistics
    for (reason, count) in statistics.leftOut.sorted(by: { $0.key < $1.key }) {
      let example = statistics.leftOutExamples[reason] ?? ""
      progress.say(
        "left out \(Format.count(count, "conversation")) with \(LeftOut.text(ofKey: reason)); the first: \(example)")
    }
    guard statistics.conversations > state.heldOut.count else {
      throw LocatedError(
        path: data.train.map(\.path).joined(separator: ", "), problem: "no conversation is left to train on",
        advice: "check the data files, data.held_out and data.max_length")
    }
  }

  // MARK: the result

  /// The fingerprint of everything that determines ids and masks.
  private func tokensFingerprint() throws -> String {
    var parts = ["tokens 3", model.template.identity, "\(model.target.shape.vocabularySize)"]
    parts.append(model.format.tokenizerDigest)
    for file in data.train { parts.append("\(try digest(file.path)) \(min(1, file.weight))") }
    var lasting = data
    (lasting.train, lasting.heldOut) = ([], 0)
    parts.append(try JSONStyle.compactEscaped.text(lasting))
    // Weights below 1 leave conversations out, depending on the seed and their content.
    if data.train.contains(where: { $0.weight < 1 }) { parts.append("by content \(seed)") }
    return FileDigest.sha256(Data(parts.joined(separator: "\n").utf8))
  }

  /// SHA-256 of a file that may take minutes to read.
  private func digest(_ path: String) throws -> String {
    try FileDigest.sha256(path: path) {
      try stop.throwIfMade(during: "prepare")
      progress.advance("prepare", done: 0, total: 0, unit: "conversations", note: "reading \(path)")
    }
  }

  /// The fingerprint of ids and masks, the held-out split and the draft vocabulary.
  private func fingerprint(_ tokens: String) throws -> String {
    let weights = data.train.map { "\($0.weight)" }.joined(separator: " ")
    var parts = [
      "prepare 6", tokens, weights, "\(data.heldOut)", draft.vocabularySize.map(String.init) ?? "all", "\(seed)",
    ]
    if let initFrom = draft.initFrom { parts.append(try DraftFolder.fingerprint(initFrom)) }
    return FileDigest.sha256(Data(parts.joined(separator: "\n").utf8))
  }

  private func writeManifest(
    _ state: PreparationState, _ tokensFingerprint: String, _ fingerprint: String, _ folder: String
  ) throws {
    let vocabulary = try vocabulary(state.counts)
    var statistics = state.statistics
    for warning in state.counts.describe(vocabulary, isOfHead: draft.initFrom != nil, in: &statistics) {
      progress.say(warning)
    }
    let manifest = PreparedData.Manifest(
      tokensFingerprint: tokensFingerprint, fingerprint: fingerprint, files: state.files, heldOut: state.heldOut,
      repeats: state.repeats, draftVocabulary: vocabulary.targetIDs, targetVocabularySize: vocabulary.targetSize,
      maskToken: state.counts.all.lastIndex(of: 0).map(Int32.init),
      statistics: statistics)
    let page = StatisticsPage.text(
      statistics, run: data.train.map(\.path).joined(separator: ", "), vocabularySize: vocabulary.size)
    try AtomicFile.write(path: "\(folder)/statistics.md", data: Data(page.utf8))
    try AtomicFile.writeJSON(manifest, to: PreparedData.manifestPath(folder), style: .compactEscaped)
  }

  /// The draft vocabulary of the head to fine-tune, or the most frequent trained tokens.
  private func vocabulary(_ counts: TokenCounts) throws -> DraftVocabulary {
    if let initFrom = draft.initFrom {
      return try DraftFolder.vocabulary(initFrom, target: model.target)
    }
    return .mostFrequent(
      counts: counts.all, size: draft.vocabularySize ?? counts.all.count, always: [model.template.endOfTurn])
  }
}
