import EagleCore
import EagleStorage
import Foundation

/// `<output>.made.json`: the origin of a file, and the request that it was last complete for.
extension GeneratedFile {
  /// The origin of a file: the stage that made it, and the fingerprint of everything that texts follow from.
  struct Origin: Codable, Equatable {
    let stage: String
    let fingerprint: String
  }

  /// A request that a file fulfils: the same request again finds the file up to date, and nothing else is read.
  struct Completion: Codable, Equatable {
    /// The digest of everything that tells which conversations are wanted.
    let request: String
    /// Conversations in the file.
    let conversations: Int
    /// Wanted conversations that cannot be generated.
    let leftOut: Int
    /// SHA-256 of the file.
    let sha256: String

    enum CodingKeys: String, CodingKey {
      case request, conversations, sha256
      case leftOut = "left_out"
    }
  }

  struct Record: Codable {
    let stage: String
    let fingerprint: String
    /// The request that the file fulfils; nil while the file is being made.
    var complete: Completion?

    init(origin: Origin) { (stage, fingerprint) = (origin.stage, origin.fingerprint) }

    var origin: Origin { Origin(stage: stage, fingerprint: fingerprint) }
  }

  private static func recordPath(_ output: String) -> String { "\(output).made.json" }

  /// The record of an output; nil when there is neither record nor output.
  ///
  /// - Throws: when the output has another origin
  static func record(_ output: String, _ origin: Origin) throws -> Record? {
    let path = recordPath(output)
    guard let data = FileManager.default.contents(atPath: path) else {
      guard FileManager.default.fileExists(atPath: output) else { return nil }
      throw LocatedError(
        path: output, problem: "there is a file that \(origin.stage) has not made",
        advice: "choose another output, or move it away")
    }
    guard let record = try? JSONDecoder().decode(Record.self, from: data), record.origin == origin else {
      throw LocatedError(
        path: output, problem: "it was made with other settings or another target",
        advice: "choose another output, or remove it with \(path) and \(partsPath(output))")
    }
    return record
  }

  static func write(_ record: Record, _ output: String) throws {
    let data = try JSONStyle.indentedEscaped.encode(record) + Data("\n".utf8)
    try AtomicFile.write(path: recordPath(output), data: data)
  }

  /// The completion of an output that fulfils `request`; nil when it does not, or was changed since.
  ///
  /// - Throws: when the output has another origin
  static func completion(of request: String, _ output: String, _ origin: Origin) throws -> Completion? {
    guard let record = try record(output, origin), let complete = record.complete, complete.request == request,
      FileManager.default.fileExists(atPath: output), try partFiles(output).isEmpty,
      try FileDigest.sha256(path: output) == complete.sha256
    else { return nil }
    return complete
  }

  /// Notes that the output fulfils a request; to be called on rank 0 alone.
  static func note(_ complete: Completion, _ output: String, _ origin: Origin) throws {
    var record = Record(origin: origin)
    record.complete = complete
    try write(record, output)
  }
}
