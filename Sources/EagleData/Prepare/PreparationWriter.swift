import EagleCaptureStore
import EagleCore
import EagleTensor
import EagleText
import Foundation

/// The writer of prepared data: adds conversations in order, one file of tokens after the other.
struct PreparationWriter {
  /// The minimum number of tokens of one file: 20 M tokens need 100 MB.
  static let fileTokens = 20 << 20

  private(set) var state: PreparationState
  private let folder: String
  private let seed: UInt64
  private let heldOutFraction: Double
  private let dropsDuplicates: Bool
  private let fileTokens: Int
  private var seen: Set<PreparedConversation.Digest> = []
  private var fresh: [PreparedConversation.Digest] = []
  private var names = Data()
  private var tokens: TokenStoreWriter?
  private let encoder = JSONEncoder()

  /// Resumes after the finished files of the same data in the folder, or starts anew.
  init(folder: String, fingerprint: String, vocabularySize: Int, data: DataConfig, seed: UInt64, fileTokens: Int) throws
  {
    self.folder = folder
    self.seed = seed
    self.fileTokens = fileTokens
    (heldOutFraction, dropsDuplicates) = (data.heldOut, data.duplicates == .drop)
    if let earlier = PreparationState.read(folder, fingerprint: fingerprint, inputs: data.train.count) {
      state = earlier
      for file in 0..<state.files { seen.formUnion(try Self.readDigests(Self.digestsPath(folder, file))) }
    } else {
      state = PreparationState(fingerprint: fingerprint, vocabularySize: vocabularySize)
      if FileManager.default.fileExists(atPath: folder) { try FileManager.default.removeItem(atPath: folder) }
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }
  }

  var isResumed: Bool { state.files > 0 }

  /// Begins a data file, or resumes it.
  ///
  /// - Returns: its last line that is in the state, 0 for none
  mutating func begin(input: Int, path: String) -> Int {
    if input > state.input { (state.input, state.line) = (input, 0) }
    if state.reports.count <= input { state.reports.append(ReadReport(path: path)) }
    return state.line
  }

  /// Adds the outcome of a line of the current data file.
  ///
  /// - Throws: when too many lines of the file are broken, and what writing throws
  mutating func add(_ outcome: LineOutcome, of line: ConversationLine, in file: DataFile) throws {
    state.reports[state.input].count(outcome, of: line)
    let location = "\(file.path), line \(line.number)"
    switch outcome {
    case .broken: try state.reports[state.input].checkEarly()
    case .leftOut(let reason, let what): state.statistics.leaveOut(reason, example: "\(location): \(what)")
    case .prepared(let conversation):
      try add(conversation, weight: file.weight, example: "\(location): \(conversation.id)")
    }
  }

  private mutating func add(_ conversation: PreparedConversation, weight: Double, example: String) throws {
    let times = times(conversation.digest, weight)
    guard times > 0 else { return state.statistics.leaveOut(.notSampled, example: example) }
    if dropsDuplicates, !seen.insert(conversation.digest).inserted {
      return state.statistics.leaveOut(.duplicate, example: example)
    }
    fresh.append(conversation.digest)
    let isHeldOut = isHeldOut(conversation.digest)
    let first = state.statistics.conversations
    state.statistics.add(conversation, isHeldOut: isHeldOut)
    for (number, row) in zip(first..., conversation.rows) {
      if isHeldOut { state.heldOut.append(number) }
      state.repeats.add(number, times: times, whole: Int(weight))
      if !isHeldOut { state.counts.add(row.ids, mask: row.mask, language: conversation.language, times: times) }
      try write(row)
    }
  }

  private mutating func write(_ row: PreparedConversation.Row) throws {
    if tokens == nil { tokens = try TokenStoreWriter(path: PreparedData.tokensPath(folder, state.files)) }
    try tokens!.append(ids: row.ids, mask: row.mask)
    names.append(try encoder.encode(row.name))
    names.append(UInt8(ascii: "\n"))
  }

  /// Records that everything up to a line has been added.
  mutating func reached(line: Int) throws {
    state.line = line
    if let tokens, tokens.tokenCount >= fileTokens { try closeFile() }
  }

  /// Completes the open file of tokens, and then writes a state that includes it.
  private mutating func closeFile() throws {
    guard let tokens else { return }
    try tokens.finish()
    try AtomicFile.write(path: PreparedData.namesPath(folder, state.files), data: names)
    let bytes = fresh.withUnsafeBytes { Data($0) }
    try AtomicFile.write(path: Self.digestsPath(folder, state.files), data: bytes)
    (self.tokens, names, fresh) = (nil, Data(), [])
    state.files += 1
    try state.write(folder)
  }

  /// Completes the last file of tokens, once everything has been added.
  mutating func finish() throws {
    try closeFile()
    state.statistics.skippedLines = state.reports.reduce(0) { $0 + $1.skippedCount }
  }

  /// Removes the files that only unfinished work needs. The state is removed first, because a folder with a manifest
  /// and no state counts as finished.
  static func removeState(in folder: String) throws {
    try PreparationState.remove(folder)
    for name in try FileManager.default.contentsOfDirectory(atPath: folder) where name.hasPrefix("digests-") {
      try FileManager.default.removeItem(atPath: "\(folder)/\(name)")
    }
  }

  private static func digestsPath(_ folder: String, _ file: Int) -> String {
    "\(folder)/digests-\(PreparedData.fileNumber(file)).bin"
  }

  private static func readDigests(_ path: String) throws -> [PreparedConversation.Digest] {
    try MappedFile(path: path).withBytes { bytes in
      stride(from: 0, to: bytes.count - bytes.count % 16, by: 16).map {
        .init(
          high: bytes.loadUnaligned(fromByteOffset: $0, as: UInt64.self),
          low: bytes.loadUnaligned(fromByteOffset: $0 + 8, as: UInt64.self))
      }
    }
  }

  /// Whether a conversation is held out, which depends only on the seed and its content: the split stays the same when
  /// data is added, equal conversations are on the same side, and ids need not be unique.
  private func isHeldOut(_ digest: PreparedConversation.Digest) -> Bool {
    var random = RandomSource(seed: seed, purpose: "held out \(digest)")
    return Double(random.uniform()) < heldOutFraction
  }

  /// The number of times that an epoch has a conversation; the fractional part of a weight is sampled by the seed and
  /// the content.
  private func times(_ digest: PreparedConversation.Digest, _ weight: Double) -> Int {
    let whole = weight.rounded(.down)
    var random = RandomSource(seed: seed, purpose: "weight of \(digest)")
    return Int(whole) + (Double(random.uniform()) < weight - whole ? 1 : 0)
  }
}
