import Foundation

/// The prompts of several files, one after another, for files that need not fit into memory.
///
/// Blank lines are ignored. A line that cannot be read is skipped and counted; more than 1 % of a file's lines are an
/// error.
package struct PromptStream {
  private var files: ArraySlice<String>
  private var lines: RecordReader?
  private var table: ArraySlice<Prompt> = []
  /// The tally of each file, as far as it has been read.
  package private(set) var reports: [ReadReport] = []

  /// Opens nothing yet. A prompt without an id is named after its file and line; rows of tables are always.
  package init(paths: [String]) { files = paths[...] }

  /// The next prompt; nil after the last.
  ///
  /// - Throws: for a file that cannot be read, has no prompt, or has more than 1 % invalid lines
  package mutating func next() throws -> Prompt? {
    while true {
      if let prompt = try nextOfFile() { return prompt }
      if let last = reports.last {
        try last.check()
        guard last.read > 0 else { throw TextError("\(last.path): there is no prompt in it") }
      }
      guard let path = files.popFirst() else { return nil }
      reports.append(ReadReport(path: path))
      if path.lowercased().hasSuffix(".csv") {
        let name = URL(fileURLWithPath: path).lastPathComponent
        table = try PromptReader.read(path: path).map { Prompt(id: "\(name):\($0.id)", turns: $0.turns) }[...]
      } else {
        lines = try RecordReader(path: path)
      }
    }
  }

  private mutating func nextOfFile() throws -> Prompt? {
    if let prompt = table.popFirst() {
      reports[reports.count - 1].accept()
      return prompt
    }
    while let line = try lines?.next(), let path = reports.last?.path {
      do {
        let name = URL(fileURLWithPath: path).lastPathComponent
        let prompt = try PromptReader.parse(line, fallbackID: "\(name):\(line.number)")
        reports[reports.count - 1].accept()
        return prompt
      } catch {
        reports[reports.count - 1].reject(line.number, because: error)
      }
    }
    lines = nil
    return nil
  }
}
