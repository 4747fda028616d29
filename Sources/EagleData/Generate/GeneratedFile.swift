import EagleCluster
import EagleCore
import EagleText
import Foundation

/// A file of generated conversations during its generation, by any number of ranks that may be stopped at any time.
///
/// Finished conversations are written to `<output>.parts/`, one file per rank, on a disk that all ranks see. When all
/// are complete, rank 0 writes them to the output in order. `<output>.made.json` records the origin, so that a later
/// run with the same origin resumes and any other run throws.
final class GeneratedFile {
  /// One conversation as a line of the file.
  struct Line: Codable {
    struct Message: Codable {
      let role: String
      let content: String
      /// True if the answer was cut, otherwise absent.
      var cut: Bool?
      /// Tool calls that a server has parsed from the answer.
      var toolCalls: [GeneratedToolCall]?

      enum CodingKeys: String, CodingKey {
        case role, content, cut
        case toolCalls = "tool_calls"
      }
    }
    let id: String
    /// The key that identifies the conversation, if it is not the id.
    var key: String?
    let conversations: [Message]
    /// Descriptions of tools: a list as a JSON string.
    var tools: String?
    /// The reason why the conversation is not written to the output; nil if it is.
    var rejected: String?
  }

  private let output: GeneratedOutput
  private let cluster: any Communicator
  private let part: FileHandle
  private let lock: FolderLock?

  private var stopPath: String { "\(output.parts)/stop" }

  /// Opens or creates the file. Collective.
  ///
  /// - Parameter held: the lock of the output, if rank 0 has already taken it
  /// - Throws: when the output has another origin, another program has locked it, or ranks do not see the same folder
  init(_ output: GeneratedOutput, lock held: FolderLock? = nil, cluster: any Communicator) throws {
    self.output = output
    self.cluster = cluster
    lock = try cluster.isRoot ? output.begin(held) : nil
    try cluster.barrier()
    part = try AppendedFile.lines(
      at: "\(output.parts)/rank-\(cluster.rank).jsonl", advice: "all ranks must see and may write this folder")
    // Waits until all ranks have repaired their parts, so that every rank sees the same files.
    try cluster.barrier()
    let sizes = try output.files().map { "\($0) \(try MappedFile(path: $0).byteCount)" }
    try cluster.agree(on: sizes.joined(separator: "\n"), about: "\(output.parts); all ranks must see one disk")
  }

  /// The keys of the conversations that earlier runs have finished, read by rank 0 for all ranks. Collective.
  func finishedKeys() throws -> Set<String> { try cluster.fromRoot { try output.keys(each: cluster.tick) } }

  /// Adds a finished conversation of this rank in one write, so that a kill does not leave a partial line.
  func append(_ line: Line) throws {
    try part.write(contentsOf: try JSONStyle.compact.encode(line) + Data("\n".utf8))
  }

  /// Calls `body` with every finished conversation, in no particular order. All ranks must have written theirs.
  func readAll(_ body: (Line) throws -> Void) throws {
    let decoder = JSONDecoder()
    for path in try output.files() {
      let file = try MappedFile(path: path)
      try GeneratedOutput.forEachLine(of: path) { _, range in
        try body(try file.withBytes { try decoder.decode(Line.self, from: Data($0[range])) })
        cluster.tick()
      }
    }
  }

  // MARK: stopping

  /// Throws if a stop was requested on this rank or on another one that sees the same disk. Call it often.
  func throwIfStopped(_ stop: StopRequest, during stage: String) throws {
    if stop.isMade {
      _ = FileManager.default.createFile(atPath: stopPath, contents: nil)
    } else if access(stopPath, F_OK) == 0 {
      stop.make("another rank")
    }
    try stop.throwIfMade(during: stage)
  }

  // MARK: the end

  /// The content of an output.
  struct Contents {
    var conversations = 0
    /// The number of conversations that `keys` has named.
    var named = 0
  }

  /// Writes the output: the finished conversations that `keys` names, in that order, and then the others. Collective,
  /// and the last call.
  ///
  /// - Parameter others: whether conversations that `keys` does not name are written after those that it names
  /// - Returns: the content of the output, on rank 0
  @discardableResult
  func finish(others: Bool, order keys: () throws -> String?) throws -> Contents {
    var contents = Contents()
    try close { contents = try merge(keys, others: others) }
    return contents
  }

  /// Leaves the output unchanged, if no rank has anything to add. Collective, and the last call.
  func close() throws { try close {} }

  /// Runs `body` on rank 0 when all parts are complete, and then removes the parts.
  private func close(_ body: () throws -> Void) throws {
    try part.synchronize()
    // Some network file systems keep a removed file that is still open, and therefore its folder.
    try part.close()
    try cluster.barrier()
    if cluster.isRoot {
      try body()
      for path in try output.partFiles() { try FileManager.default.removeItem(atPath: path) }
      // Only this process's lock is left; if the folder cannot be removed, it does no harm.
      try? FileManager.default.removeItem(atPath: output.parts)
    }
    try cluster.barrier()
  }

  private func merge(_ keys: () throws -> String?, others: Bool) throws -> Contents {
    let files = try output.files()
    var ranges: [String: (file: Int, range: Range<Int>)] = [:]
    for (index, path) in files.enumerated() {
      try GeneratedOutput.forEachLine(of: path) { key, range in
        ranges[key] = ranges[key] ?? (index, range)
        cluster.tick()
      }
    }
    let sources = try files.map { try MappedFile(path: $0) }
    var contents = Contents()
    try AtomicFile.write(path: output.path) { file in
      func copy(_ line: (file: Int, range: Range<Int>)) throws {
        try sources[line.file].withBytes { try file.write(UnsafeRawBufferPointer(rebasing: $0[line.range])) }
        contents.conversations += 1
        cluster.tick()
      }
      while let key = try keys() {
        if let line = ranges.removeValue(forKey: key) { try copy(line) }
      }
      contents.named = contents.conversations
      guard others else { return }
      let unnamed = ranges.values.sorted { ($0.file, $0.range.lowerBound) < ($1.file, $1.range.lowerBound) }
      for line in unnamed { try copy(line) }
    }
    return contents
  }
}

extension GeneratedFile.Line.Message {
  /// A message of the output. Reasoning is put before the content, as a model generates it.
  init(_ message: ChatMessage) {
    role = message.role.rawValue
    cut = message.isCut ? true : nil
    content = message.contentWithReasoning
    let calls = message.extra["tool_calls"]?.array?.compactMap { try? GeneratedToolCall($0) } ?? []
    toolCalls = calls.isEmpty ? nil : calls
  }
}

extension ChatMessage {
  /// `<think>`, the reasoning that a server has separated, `</think>`, and the content. Cut reasoning has no closing
  /// tag.
  fileprivate var contentWithReasoning: String {
    guard let reasoning = extra["reasoning_content"]?.string?.trimmingCharacters(in: .newlines) else { return content }
    if isCut && content.isEmpty { return "<think>\n\(reasoning)" }
    return "<think>\n\(reasoning)\n</think>\n\n\(content.drop(while: \.isNewline))"
  }
}
