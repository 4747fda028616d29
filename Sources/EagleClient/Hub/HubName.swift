import EagleCore
import Foundation

/// A model by its name on a hub: `ORG/MODEL`, or one GGUF file of it as `ORG/MODEL/FILE.gguf` or by its type as
/// `ORG/MODEL:Q4_K_M`, each with an optional suffix `@REVISION`.
package struct HubName: Sendable, Equatable, CustomStringConvertible {
  /// The part of a repository that the name selects.
  package enum Part: Sendable, Equatable {
    /// Configuration, tokenizer and safetensors.
    case folder
    /// The GGUF file of this name.
    case file(String)
    /// The GGUF file with this type in its name.
    case type(String)
  }

  /// `ORG/MODEL`.
  package let repository: String
  /// A branch, a tag or a commit.
  package let revision: String
  package let part: Part
  package let description: String

  /// Nil for a string that is not such a name, and for a local path: one that exists, or whose first component is a
  /// local folder.
  package init?(_ text: String) {
    guard !FileManager.default.fileExists(atPath: text) else { return nil }
    self.init(parsing: text)
    if FileTree.isFolder(String(repository.prefix { $0 != "/" })) { return nil }
  }

  /// Parses a name without a check of the local file system.
  package init?(parsing text: String) {
    guard !text.hasPrefix("/"), !text.hasPrefix("."), !text.hasPrefix("~") else { return nil }
    let (name, revision) = Self.split(text, "@")
    let (path, type) = Self.split(name, ":")
    let parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count >= 2, parts.prefix(2).allSatisfy(Self.isWord), revision.map(Self.isWord) ?? true,
      type.map(Self.isWord) ?? true
    else { return nil }
    let file = parts.dropFirst(2).joined(separator: "/")
    switch (parts.count, type) {
    case (2, nil): part = .folder
    case (2, let type?): part = .type(type)
    case (_, nil) where file.hasSuffix(".gguf") && parts.dropFirst(2).allSatisfy(Self.isWord): part = .file(file)
    default: return nil
    }
    repository = "\(parts[0])/\(parts[1])"
    self.revision = revision ?? "main"
    description = text
  }

  /// The name with the commit, and with the file instead of a type, so that another node resolves it to the same files.
  package func pinned(to place: ModelHub.Place) -> HubName? {
    var name = repository
    switch part {
    case .folder: break
    case .file(let file): name += "/\(file)"
    case .type:
      guard let end = place.path.range(of: "/snapshots/\(place.commit)/")?.upperBound else { return nil }
      name += "/\(place.path[end...])"
    }
    return HubName(parsing: "\(name)@\(place.commit)")
  }

  /// Whether the revision is a commit, whose files never change.
  var isPinned: Bool { Self.isCommit(revision) }

  static func isCommit(_ text: String) -> Bool { text.utf8.count == 40 && text.allSatisfy(\.isHexDigit) }

  /// The first file of the only GGUF model of a type among the paths. The type must be a whole word of the file name.
  static func only(_ type: String, of paths: [String]) -> String? {
    let wanted = type.lowercased()
    let found = paths.filter { path in
      guard path.hasSuffix(".gguf"), files(of: path)[0] == path else { return false }
      let file = path.split(separator: "/").last.map { $0.lowercased() } ?? ""
      return file.ranges(of: wanted).contains { range in
        let (before, after) = (file[..<range.lowerBound].last, file[range.upperBound...].first)
        return before.map { !$0.isLetter && !$0.isNumber } ?? true
          && after.map { !$0.isLetter && !$0.isNumber && $0 != "_" } ?? true
      }
    }
    return found.count == 1 ? found[0] : nil
  }

  /// All files of the GGUF model that a file belongs to: the file itself, or all parts of a split model
  /// (`-00001-of-00003.gguf`).
  static func files(of path: String) -> [String] {
    guard let match = path.wholeMatch(of: /(.*)-(\d{5})-of-(\d{5})\.gguf/), let count = Int(match.3), count > 0 else {
      return [path]
    }
    return (1...count).map { "\(match.1)-\(String(format: "%05ld", $0))-of-\(match.3).gguf" }
  }

  private static func split(_ text: String, _ mark: Character) -> (String, String?) {
    guard let at = text.lastIndex(of: mark) else { return (text, nil) }
    return (String(text[..<at]), String(text[text.index(after: at)...]))
  }

  /// Whether a string has at most 96 letters, digits, `.`, `_` and `-`, and does not begin with a dot.
  private static func isWord(_ text: String) -> Bool {
    !text.isEmpty && text.first != "." && text.utf8.count <= 96
      && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) }
  }
}
