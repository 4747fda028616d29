import EagleCore
import EagleStorage
import Foundation

/// An output of generated conversations on the disk: the file, `<output>.parts/` while it is being made, and
/// `<output>.made.json`, the record of its origin and of the request that it was last complete for.
struct GeneratedOutput {
  let path: String
  /// The command that makes it.
  let stage: String
  /// The fingerprint of everything that texts follow from.
  let fingerprint: String
  let origin: Origin

  /// Who wrote the texts.
  enum Origin: Equatable {
    /// The local target.
    case target
    /// A server's model of this name; nil while it has not been asked which one it has.
    case server(model: String?)

    fileprivate var model: String? { if case .server(let model) = self { model } else { nil } }
  }

  /// A request that a file fulfils: the same request again finds the file up to date, and nothing else is read.
  struct Completion: Codable {
    /// The digest of everything that tells which conversations are wanted.
    let request: String
    /// Conversations in the file.
    let conversations: Int
    /// Wanted conversations that are not in the file, those that failed included.
    let leftOut: Int
    /// SHA-256 of the file.
    let sha256: String
    /// Conversations that a server failed to answer, and may answer later; nil in records of earlier versions, which
    /// were written without failures only.
    var failed: Int?

    enum CodingKeys: String, CodingKey {
      case request, conversations, sha256, failed
      case leftOut = "left_out"
    }
  }

  private struct Record: Codable {
    let stage: String
    let fingerprint: String
    /// The request that the file fulfils; nil while the file is being made.
    var complete: Completion?
    /// The name of the server's model that wrote the texts; nil where the local target did.
    var serverModel: String?

    enum CodingKeys: String, CodingKey {
      case stage, fingerprint, complete
      case serverModel = "server_model"
    }
  }

  /// The same output with the texts of another author.
  func written(by origin: Origin) -> GeneratedOutput {
    GeneratedOutput(path: path, stage: stage, fingerprint: fingerprint, origin: origin)
  }

  var parts: String { "\(path).parts" }
  private var recordPath: String { "\(path).made.json" }
  private var exists: Bool { FileManager.default.fileExists(atPath: path) }

  /// Whether the output is there and no part waits to be added to it.
  ///
  /// - Throws: when the output has another origin
  func isFinished() throws -> Bool {
    _ = try record()
    return try exists && partFiles().isEmpty
  }

  /// Keys of all finished conversations, in the output and in the parts.
  ///
  /// - Parameter each: called for each conversation; may end the work with an error
  func keys(each: () throws -> Void) throws -> Set<String> {
    var keys: Set<String> = []
    for path in try files() {
      try Self.forEachLine(of: path) { key, _ in
        keys.insert(key)
        try each()
      }
    }
    return keys
  }

  /// The completion of an output that fulfils `request`; nil when it does not, or was changed since.
  ///
  /// - Parameter retriesFailed: whether an output that lacks conversations that a server failed to answer does not
  ///   fulfil it
  /// - Throws: when the output has another origin
  func completion(of request: String, retriesFailed: Bool) throws -> Completion? {
    guard let complete = try record()?.complete, complete.request == request, exists, try partFiles().isEmpty,
      !(retriesFailed && (complete.failed ?? 0) > 0), try FileDigest.sha256(path: path) == complete.sha256
    else { return nil }
    return complete
  }

  /// Notes that the output fulfils a request; to be called on rank 0 alone.
  func note(_ complete: Completion) throws { try write(complete) }

  /// Takes the right to make the output, with the folder of parts; to be called on rank 0 alone.
  ///
  /// - Throws: when the output has another origin, or another program works on it
  func lock() throws -> FolderLock {
    _ = try record()
    return try FolderLock(parts)
  }

  /// Notes that the output is being made; to be called on rank 0 alone.
  ///
  /// - Parameter held: the right to make it, where `lock` has taken it before
  /// - Throws: when the output has another origin, or another program works on it
  func begin(_ held: FolderLock?) throws -> FolderLock {
    _ = try record()
    let taken = try held ?? lock()
    try? FileManager.default.removeItem(atPath: "\(parts)/stop")
    try write(nil)
    return taken
  }

  /// Removes the folder of parts that `lock` has made, unless a rank has begun a part; to be called on rank 0 alone.
  func removeEmptyParts() {
    guard let files = try? partFiles(), files.isEmpty else { return }
    try? FileManager.default.removeItem(atPath: parts)
  }

  /// The parts of all ranks.
  func partFiles() throws -> [String] {
    guard FileManager.default.fileExists(atPath: parts) else { return [] }
    return try FileManager.default.contentsOfDirectory(atPath: parts).filter { $0.hasSuffix(".jsonl") }.sorted()
      .map { "\(parts)/\($0)" }
  }

  /// The output, as far as there is one, and all parts.
  func files() throws -> [String] { try (exists ? [path] : []) + partFiles() }

  /// Calls `body` with the key and the bytes' range of each line of a file.
  static func forEachLine(of path: String, _ body: (String, Range<Int>) throws -> Void) throws {
    struct Named: Decodable {
      let id: String
      let key: String?
    }
    let file = try MappedFile(path: path)
    try file.withBytes { bytes in
      var start = 0
      while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
        let line = Data(bytes[start..<end])
        guard let named = try? JSONDecoder().decode(Named.self, from: line) else {
          throw LocatedError(path: path, problem: "a line of it is damaged", advice: "remove the file and run again")
        }
        try body(named.key ?? named.id, start..<end + 1)
        start = end + 1
      }
    }
  }

  // MARK: the record

  /// The record of the output; nil when there is neither record nor output.
  ///
  /// - Throws: when the output has another origin
  private func record() throws -> Record? {
    guard let data = FileManager.default.contents(atPath: recordPath) else {
      guard exists else { return nil }
      throw LocatedError(
        path: path, problem: "there is a file that \(stage) has not made",
        advice: "choose another output, or move it away")
    }
    guard let record = try? JSONDecoder().decode(Record.self, from: data), record.stage == stage else {
      throw mixed("it was made with other settings or another target")
    }
    if let problem = problem(with: record) { throw mixed(problem) }
    return record
  }

  /// Why texts of this run must not join those of a record; nil when they may.
  private func problem(with record: Record) -> String? {
    switch (origin, record.serverModel) {
    case (.target, let other?): "the model '\(other)' of a server wrote it, and the local target is to go on"
    case (.server, nil): "the local target wrote it, and a server is to go on"
    case (.server(let model?), let other?) where model != other:
      "the model '\(other)' of a server wrote it, and '\(model)' is to go on"
    case _ where record.fingerprint != fingerprint: "it was made with other settings or another target"
    default: nil
    }
  }

  private func mixed(_ problem: String) -> LocatedError {
    LocatedError(
      path: path, problem: problem,
      advice: "choose another output, or remove it with \(recordPath) and \(parts)")
  }

  private func write(_ complete: Completion?) throws {
    // Without a question to ask, the server was not asked for its name.
    let model = try origin.model ?? self.record()?.serverModel
    let record = Record(stage: stage, fingerprint: fingerprint, complete: complete, serverModel: model)
    let data = try JSONStyle.indentedEscaped.encode(record) + Data("\n".utf8)
    try AtomicFile.write(path: recordPath, data: data)
  }
}
