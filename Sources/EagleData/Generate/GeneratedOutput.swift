import EagleCore
import EagleStorage
import Foundation

/// An output of generated conversations on the disk: the file, `<output>.parts/` during generation, and
/// `<output>.made.json`, the record of its origin and of the last request that it fulfilled.
struct GeneratedOutput {
  let path: String
  /// The command that generates it.
  let stage: String
  /// The fingerprint of everything that determines the generated text.
  let fingerprint: String
  let origin: Origin

  /// The author of the text.
  enum Origin: Equatable {
    /// The local target.
    case target
    /// A server's model of this name; nil until the server was asked for the name.
    case server(model: String?)

    fileprivate var model: String? { if case .server(let model) = self { model } else { nil } }
  }

  /// A request that a file fulfils. If the same request is repeated, the file is up to date and no input is read.
  struct Completion: Codable {
    /// The digest of everything that determines the requested conversations.
    let request: String
    /// The number of conversations in the file.
    let conversations: Int
    /// The number of requested conversations that are not in the file, including failed ones.
    let leftOut: Int
    /// SHA-256 of the file.
    let sha256: String
    /// The number of conversations that a server failed to answer, and may answer later. Nil in records of earlier
    /// versions, which exist only for outputs without failures.
    var failed: Int?

    enum CodingKeys: String, CodingKey {
      case request, conversations, sha256, failed
      case leftOut = "left_out"
    }
  }

  private struct Record: Codable {
    let stage: String
    let fingerprint: String
    /// The request that the file fulfils; nil during generation.
    var complete: Completion?
    /// The name of the server's model that generated the text; nil for the local target.
    var serverModel: String?

    enum CodingKeys: String, CodingKey {
      case stage, fingerprint, complete
      case serverModel = "server_model"
    }
  }

  /// The same output with another author.
  func written(by origin: Origin) -> GeneratedOutput {
    GeneratedOutput(path: path, stage: stage, fingerprint: fingerprint, origin: origin)
  }

  var parts: String { "\(path).parts" }
  private var recordPath: String { "\(path).made.json" }
  private var exists: Bool { FileManager.default.fileExists(atPath: path) }

  /// Whether the output exists and no part has to be merged into it.
  ///
  /// - Throws: when the output has another origin
  func isFinished() throws -> Bool {
    _ = try record()
    return try exists && partFiles().isEmpty
  }

  /// The keys of all finished conversations, in the output and in the parts.
  ///
  /// - Parameter each: called for each conversation; an error that it throws ends the work
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

  /// The completion of an output that fulfils `request`; nil if it does not, or if the file was changed since.
  ///
  /// - Parameter retriesFailed: whether an output does not fulfil the request if it lacks conversations that a server
  ///   failed to answer
  /// - Throws: when the output has another origin
  func completion(of request: String, retriesFailed: Bool) throws -> Completion? {
    guard let complete = try record()?.complete, complete.request == request, exists, try partFiles().isEmpty,
      !(retriesFailed && (complete.failed ?? 0) > 0), try FileDigest.sha256(path: path) == complete.sha256
    else { return nil }
    return complete
  }

  /// Records that the output fulfils a request. Only rank 0 may call it.
  func note(_ complete: Completion) throws { try write(complete) }

  /// Locks the output, and creates the folder of parts. Only rank 0 may call it.
  ///
  /// - Throws: when the output has another origin, or another program has locked it
  func lock() throws -> FolderLock {
    _ = try record()
    return try FolderLock(parts)
  }

  /// Records that generation has started. Only rank 0 may call it.
  ///
  /// - Parameter held: the lock, if `lock` has already taken it
  /// - Throws: when the output has another origin, or another program has locked it
  func begin(_ held: FolderLock?) throws -> FolderLock {
    _ = try record()
    let taken = try held ?? lock()
    try? FileManager.default.removeItem(atPath: "\(parts)/stop")
    try write(nil)
    return taken
  }

  /// Removes the folder of parts that `lock` has created, unless a rank has begun a part. Only rank 0 may call it.
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

  /// The output, if it exists, and all parts.
  func files() throws -> [String] { try (exists ? [path] : []) + partFiles() }

  /// Calls `body` with the key and the byte range of each line of a file.
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

  /// The record of the output; nil if there is neither a record nor an output.
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

  /// The reason why text of this run must not be added to an output with this record; nil if it may.
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
    // If no prompt was unanswered, the server was not asked for its model's name.
    let model = try origin.model ?? self.record()?.serverModel
    let record = Record(stage: stage, fingerprint: fingerprint, complete: complete, serverModel: model)
    let data = try JSONStyle.indentedEscaped.encode(record) + Data("\n".utf8)
    try AtomicFile.write(path: recordPath, data: data)
  }
}
