import EagleCore
import Foundation

/// The benchmarks and held-out counts of one head from a file: the best epoch of `evaluation.json`, or another one that
/// is named, or what `eagle-train evaluate` and `eagle-run bench --json` write.
package struct MeasuredBenchmarks {
  /// The file, with the epoch where it holds several.
  package let name: String
  package let results: [String: BenchmarkResult]
  /// Counts of held-out conversations; nil where the file has none.
  package let heldOut: HeldOutGroups?
  /// The most new tokens of an answer, and whether the model reasoned, where the file says it: that of a run does.
  package let maxNewTokens: Int?
  package let reasoning: String?

  package init(
    name: String, results: [String: BenchmarkResult], heldOut: HeldOutGroups? = nil,
    conditions: EvaluationConditions? = nil
  ) {
    (self.name, self.results, self.heldOut) = (name, results, heldOut)
    (maxNewTokens, reasoning) = (conditions?.maxNewTokens, conditions?.reasoning)
  }

  /// Reads a file.
  ///
  /// - Parameter source: a file, or the folder of a run; followed by `#3`, the evaluation after epoch 3
  /// - Throws: `LocatedError` where there is no such file, evaluation or epoch, or nothing to compare in it
  package init(_ source: String) throws {
    let (path, epoch) = try Self.parts(of: source)
    guard let data = FileManager.default.contents(atPath: path) else {
      throw LocatedError(path: path, problem: "there is no such evaluation", advice: "check the path")
    }
    if let results = try? JSONDecoder().decode([String: BenchmarkResult].self, from: data) {
      guard epoch == nil else {
        throw LocatedError(path: path, problem: "has no epochs", advice: "name it without '#'")
      }
      self.init(name: path, results: results)
    } else {
      let record = try Self.record(try EvaluationFile.decode(data, path: path), epoch, path)
      self.init(
        name: "\(path), epoch \(record.epoch)", results: record.benchmarks,
        heldOut: record.heldOut?.groups, conditions: record.conditions)
    }
    guard !results.isEmpty || heldOut != nil else {
      throw LocatedError(
        path: name, problem: "holds no benchmark and no counts of held-out conversations",
        advice: "set evaluate.benchmarks and evaluate again")
    }
  }

  private static func parts(of source: String) throws -> (path: String, epoch: Int?) {
    let parts = source.split(separator: "#", omittingEmptySubsequences: false)
    let epoch = parts.count > 1 ? Int(parts[parts.count - 1]) : nil
    let path = epoch == nil ? source : parts.dropLast().joined(separator: "#")
    var isFolder: ObjCBool = false
    let isThere = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
    return (isThere && isFolder.boolValue ? RunFolder(path).evaluation : path, epoch)
  }

  private static func record(_ records: [EvaluationRecord], _ epoch: Int?, _ path: String) throws -> EvaluationRecord {
    if let record = epoch == nil ? records.best : records.last(where: { $0.epoch == epoch }) { return record }
    throw LocatedError(
      path: path, problem: epoch.map { "has no evaluation of epoch \($0)" } ?? "holds no evaluation",
      advice: records.isEmpty ? nil : "its epochs are \(records.map { "\($0.epoch)" }.joined(separator: ", "))")
  }
}
