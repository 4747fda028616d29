import EagleModels
import EagleStorage
import EagleTensor
import EagleText
import Foundation

/// Conversations to token ids, loss masks, held-out split and draft vocabulary.
public struct Preparation {
  private let data: DataConfig
  private let draft: DraftConfig
  private let seed: UInt64
  private let model: ChatModel
  private let progress: ProgressSink
  private let stop: StopRequest

  public init(
    data: DataConfig, draft: DraftConfig, seed: UInt64, model: ChatModel, progress: ProgressSink,
    stop: StopRequest = StopRequest()
  ) {
    self.data = data
    self.draft = draft
    self.seed = seed
    self.model = model
    self.progress = progress
    self.stop = stop
  }

  /// Writes `folder`, whole or not at all; what is there and up to date stays.
  ///
  /// - Throws: for unreadable files, more than 1 % broken lines, and when nothing is left to train on
  public func run(folder: String) throws -> PreparedData {
    let tokens = try tokensFingerprint()
    let fingerprint = try fingerprint(tokens)
    if let done = try? PreparedData(folder: folder), done.fingerprint == fingerprint {
      progress.finish("prepare", "up to date: \(Self.describe(done.statistics))")
      return done
    }
    try AtomicFolder.write(path: folder, replacing: true) { temporary in
      let manifest = try write(into: temporary, tokens, fingerprint)
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys]
      try AtomicFile.write(path: PreparedData.manifestPath(temporary), data: try encoder.encode(manifest))
    }
    let prepared = try PreparedData(folder: folder)
    progress.finish("prepare", Self.describe(prepared.statistics))
    return prepared
  }

  private static func describe(_ s: DataStatistics) -> String {
    let coverage = String(format: "%.1f", 100 * s.vocabularyCoverage)
    let out = s.leftOut.isEmpty ? "" : ", left out \(s.leftOut.values.reduce(0, +))"
    return "\(s.conversations) conversations (\(s.heldOut) held out\(out)), \(s.tokens) tokens, "
      + "\(s.assistantTokens) of assistant turns, draft vocabulary covers \(coverage) %"
  }

  /// Of everything that ids and masks depend on.
  private func tokensFingerprint() throws -> String {
    var parts = ["tokens 1", model.template.family.rawValue, "\(data.maxLength)"]
    parts.append("\(model.target.shape.vocabularySize)")
    parts.append(try FileDigest.sha256(path: "\(model.target.path)/tokenizer.json"))
    for path in data.train { parts.append(try FileDigest.sha256(path: path)) }
    return FileDigest.sha256(Data(parts.joined(separator: "\n").utf8))
  }

  /// Of that, the held-out split and the draft vocabulary.
  private func fingerprint(_ tokens: String) throws -> String {
    var parts = ["prepare 3", tokens, "\(data.heldOut)", "\(draft.vocabularySize)", "\(seed)"]
    if let initFrom = draft.initFrom { parts.append(try SafetensorsFolder.fingerprint(folder: initFrom)) }
    return FileDigest.sha256(Data(parts.joined(separator: "\n").utf8))
  }

  private func write(
    into folder: String, _ tokensFingerprint: String, _ fingerprint: String
  ) throws -> PreparedData.Manifest {
    let writer = try TokenStoreWriter(path: PreparedData.tokensPath(folder))
    let names = try OutputFile(path: PreparedData.namesPath(folder))
    var pass = PreparationPass(model: model, data: data, seed: seed, writer: writer, names: names)
    for path in data.train {
      let report = try ConversationReader.read(path: path) { conversation in
        try stop.throwIfMade(during: "prepare")
        try pass.add(conversation)
        if pass.statistics.conversations % 1000 == 0 { note(pass.statistics) }
      }
      pass.statistics.skippedLines += report.skippedCount
      if report.skippedCount > 0, let first = report.skipped.first {
        progress.say("\(path): skipped \(report.skippedCount) lines, the first is line \(first.line): \(first.reason)")
      }
    }
    for (reason, count) in pass.statistics.leftOut.sorted(by: { $0.key < $1.key }) {
      let first = pass.firstLeftOut[reason] ?? ""
      progress.say("left out \(count) conversation\(count == 1 ? "" : "s"), the first is \(first): \(reason)")
    }
    guard pass.statistics.conversations > pass.heldOut.count else {
      throw TrainingError(
        path: data.train.joined(separator: ", "), problem: "no conversation is left to train on",
        advice: "check the data files, data.held_out and data.max_length")
    }
    try writer.finish()
    try names.finish()
    let vocabulary = try vocabulary(pass.counts)
    pass.statistics.vocabularyCoverage = Self.coverage(of: vocabulary, pass.counts)
    return PreparedData.Manifest(
      tokensFingerprint: tokensFingerprint, fingerprint: fingerprint, heldOut: pass.heldOut,
      draftVocabulary: vocabulary.targetIDs,
      targetVocabularySize: vocabulary.targetSize, statistics: pass.statistics)
  }

  private func note(_ statistics: DataStatistics) {
    progress.advance(
      "prepare", done: statistics.conversations, total: 0, unit: "conversations", note: "\(statistics.tokens) tokens")
  }

  /// That of the head to fine-tune, or the most frequent trained tokens.
  private func vocabulary(_ counts: [Int]) throws -> DraftVocabulary {
    if let initFrom = draft.initFrom {
      return try DraftFolder.vocabulary(initFrom, target: model.target)
    }
    guard draft.vocabularySize <= counts.count else {
      throw TrainingError(
        path: "draft.vocabulary_size",
        problem: "\(draft.vocabularySize) is more than the target's \(counts.count) tokens",
        advice: "choose a smaller one")
    }
    return .mostFrequent(counts: counts, size: draft.vocabularySize, always: [model.template.endOfTurn])
  }

  private static func coverage(of vocabulary: DraftVocabulary, _ counts: [Int]) -> Double {
    let covered = vocabulary.targetIDs.reduce(0) { $0 + counts[Int($1)] }
    return Double(covered) / Double(max(1, counts.reduce(0, +)))
  }
}

/// Counts and writes one conversation after another.
private struct PreparationPass {
  let model: ChatModel
  let data: DataConfig
  let seed: UInt64
  let writer: TokenStoreWriter
  /// The conversations' ids, a JSON string a line.
  let names: OutputFile
  private let encoder = JSONEncoder()
  var statistics = DataStatistics()
  var heldOut: [Int] = []
  /// Id of the first conversation left out for each reason.
  private(set) var firstLeftOut: [String: String] = [:]
  /// Trained occurrences of each target id, [V].
  var counts: [Int]

  init(model: ChatModel, data: DataConfig, seed: UInt64, writer: TokenStoreWriter, names: OutputFile) {
    self.model = model
    self.data = data
    self.seed = seed
    self.writer = writer
    self.names = names
    counts = [Int](repeating: 0, count: model.target.shape.vocabularySize)
  }

  mutating func add(_ conversation: Conversation) throws {
    let rendered: RenderedConversation
    do {
      rendered = try model.template.render(conversation, tokenizer: model.tokenizer)
    } catch let error as TextError {
      let prefix = "conversation \(conversation.id): "
      let text = error.description
      leaveOut(conversation, text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : text)
      return
    }
    let length = min(rendered.ids.count, data.maxLength)
    let (ids, mask) = (Array(rendered.ids.prefix(length)), Array(rendered.lossMask.prefix(length)))
    guard TrainedRows(mask: mask, steps: 1).count(step: 0) > 0 else {
      leaveOut(conversation, "it has no assistant token to train on within max_length")
      return
    }
    if length < rendered.ids.count { statistics.cut += 1 }
    count(ids, mask, isHeldOut: isHeldOut(conversation.id))
    try writer.append(ids: ids, mask: mask)
    try names.write(try encoder.encode(conversation.id) + Data("\n".utf8))
  }

  private mutating func leaveOut(_ conversation: Conversation, _ reason: String) {
    statistics.leftOut[reason, default: 0] += 1
    firstLeftOut[reason] = firstLeftOut[reason] ?? conversation.id
  }

  private mutating func count(_ ids: [Int32], _ mask: [UInt8], isHeldOut: Bool) {
    if isHeldOut {
      heldOut.append(statistics.conversations)
      statistics.heldOut += 1
    }
    statistics.conversations += 1
    statistics.tokens += ids.count
    for (id, flag) in zip(ids, mask) where flag != 0 {
      statistics.assistantTokens += 1
      if !isHeldOut { counts[Int(id)] += 1 }
    }
  }

  /// By the conversation's id alone, so that the split stays when data is added.
  private func isHeldOut(_ id: String) -> Bool {
    var random = RandomSource(seed: seed, purpose: "held out \(id)")
    return Double(random.uniform()) < data.heldOut
  }
}
