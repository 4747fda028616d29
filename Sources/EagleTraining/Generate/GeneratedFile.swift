import EagleCluster
import EagleStorage
import EagleText
import Foundation

/// A file of generated conversations while it is being made, by any number of ranks that may be stopped at any time.
///
/// Finished conversations go to `<output>.parts/`, one file a rank. When all are there, rank 0 writes them to the output in
/// order. `<output>.made.json` beside it says what made it, so that a later run completes it or refuses to mix.
struct GeneratedFile {
  /// One conversation as it stands in the file.
  struct Line: Codable {
    struct Message: Codable {
      let role: String
      let content: String
      /// Present when the answer was broken off.
      var cut: Bool?
    }
    let id: String
    let conversations: [Message]
    /// Why the conversation does not go to the output, where it does not.
    var rejected: String?
  }

  private struct Origin: Codable, Equatable {
    let stage: String
    let fingerprint: String
  }

  let output: String
  /// Ids of conversations that are finished, by this run or an earlier one.
  private(set) var known: Set<String> = []
  /// Whether the output was there and nothing was left to be added to it.
  let isComplete: Bool
  private let origin: Origin
  private let cluster: any Communicator
  private let part: FileHandle

  private var parts: String { "\(output).parts" }
  private static func originPath(_ output: String) -> String { "\(output).made.json" }

  /// Opens or begins the file. Collective.
  ///
  /// - Parameters:
  ///   - stage: what makes the file, for errors
  ///   - fingerprint: of everything that a conversation's text follows from
  /// - Throws: when the output comes from elsewhere or other settings, or ranks do not see the same folder
  init(output: String, stage: String, fingerprint: String, cluster: any Communicator) throws {
    self.output = output
    self.cluster = cluster
    origin = Origin(stage: stage, fingerprint: fingerprint)
    let folder = "\(output).parts"
    let isUnfinished =
      !FileManager.default.fileExists(atPath: output) || FileManager.default.fileExists(atPath: folder)
    isComplete = try !cluster.anyTrue(isUnfinished)
    if cluster.isRoot {
      try Self.checkOrigin(output, origin)
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try AtomicFile.write(path: Self.originPath(output), data: try encoder.encode(origin) + Data("\n".utf8))
    }
    try cluster.barrier()
    part = try Self.openPart("\(folder)/rank-\(cluster.rank).jsonl")
    // Every rank must see the same finished conversations, so all have mended their parts by now.
    try cluster.barrier()
    for path in try files() {
      try Self.forEachLine(path) { id, _ in known.insert(id) }
    }
    try cluster.agree(on: "\(known.count) finished conversations", about: "\(folder); all ranks must see one disk")
  }

  private static func checkOrigin(_ output: String, _ origin: Origin) throws {
    let path = originPath(output)
    guard let data = FileManager.default.contents(atPath: path) else {
      guard FileManager.default.fileExists(atPath: output) else { return }
      throw TrainingError(
        path: output, problem: "there is a file that \(origin.stage) has not made",
        advice: "choose another output, or move it away")
    }
    guard (try? JSONDecoder().decode(Origin.self, from: data)) == origin else {
      throw TrainingError(
        path: output, problem: "it was made with other settings or another target",
        advice: "choose another output, or remove it with \(path) and \(output).parts")
    }
  }

  /// A program that was killed may have left half a line, which goes.
  private static func openPart(_ path: String) throws -> FileHandle {
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else {
      throw TrainingError(
        path: path, problem: "cannot be written", advice: "all ranks must see and may write this folder")
    }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    let end = try file.seekToEnd()
    var (whole, at) = (UInt64(0), end)
    while at > 0, whole == 0 {
      let piece = min(at, 1 << 20)
      at -= piece
      try file.seek(toOffset: at)
      let bytes = try file.read(upToCount: Int(piece)) ?? Data()
      if let last = bytes.lastIndex(of: UInt8(ascii: "\n")) { whole = at + UInt64(last - bytes.startIndex) + 1 }
    }
    try file.truncate(atOffset: whole)
    return file
  }

  /// The output, as far as there is one, and all parts.
  private func files() throws -> [String] {
    let exists = FileManager.default.fileExists(atPath: output)
    let names = try FileManager.default.contentsOfDirectory(atPath: parts).filter { $0.hasSuffix(".jsonl") }.sorted()
    return (exists ? [output] : []) + names.map { "\(parts)/\($0)" }
  }

  /// Calls `body` with the id and the place of each line.
  private static func forEachLine(_ path: String, _ body: (String, Range<Int>) throws -> Void) throws {
    struct Named: Decodable { let id: String }
    let file = try MappedFile(path: path)
    try file.withBytes { bytes in
      var start = 0
      while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
        let line = Data(bytes[start..<end])
        guard let id = (try? JSONDecoder().decode(Named.self, from: line))?.id else {
          throw TrainingError(path: path, problem: "a line of it is damaged", advice: "remove the file and run again")
        }
        try body(id, start..<end + 1)
        start = end + 1
      }
    }
  }

  /// Adds a finished conversation of this rank; one write, which a kill leaves whole or not at all.
  func append(_ line: Line) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    try part.write(contentsOf: try encoder.encode(line) + Data("\n".utf8))
  }

  /// Calls `body` with every finished conversation, in no order. Needs all ranks to have written theirs.
  func readAll(_ body: (Line) throws -> Void) throws {
    let decoder = JSONDecoder()
    for path in try files() {
      let file = try MappedFile(path: path)
      try Self.forEachLine(path) { _, range in
        try body(try file.withBytes { try decoder.decode(Line.self, from: Data($0[range])) })
      }
    }
  }

  /// Writes the output: the finished conversations that `ids` names, in that order, and then all others. Collective.
  ///
  /// - Parameter others: whether conversations that `ids` does not name are written behind those that it does
  /// - Returns: how many it holds
  @discardableResult
  func finish(others: Bool, order ids: () throws -> String?) throws -> Int {
    try part.synchronize()
    try cluster.barrier()
    var count: [Int64] = [0]
    if cluster.isRoot { count[0] = Int64(try merge(ids, others: others)) }
    return Int(try cluster.allReduceSum(count)[0])
  }

  /// Leaves the output as it is. Collective.
  func discardParts() throws {
    try cluster.barrier()
    if cluster.isRoot { try FileManager.default.removeItem(atPath: parts) }
  }

  private func merge(_ ids: () throws -> String?, others: Bool) throws -> Int {
    let files = try files()
    var places: [String: (file: Int, range: Range<Int>)] = [:]
    for (index, path) in files.enumerated() {
      try Self.forEachLine(path) { id, range in places[id] = places[id] ?? (index, range) }
    }
    let sources = try files.map { try MappedFile(path: $0) }
    var count = 0
    try AtomicFile.write(path: output) { file in
      func copy(_ place: (file: Int, range: Range<Int>)) throws {
        try sources[place.file].withBytes { try file.write(UnsafeRawBufferPointer(rebasing: $0[place.range])) }
        count += 1
      }
      while let id = try ids() {
        if let place = places.removeValue(forKey: id) { try copy(place) }
      }
      for place in (others ? places.values.map { $0 } : []).sorted(by: {
        ($0.file, $0.range.lowerBound) < ($1.file, $1.range.lowerBound)
      }) {
        try copy(place)
      }
    }
    try FileManager.default.removeItem(atPath: parts)
    return count
  }
}
