import Foundation

/// The text files of a model, by the names that they have in a Hugging Face folder: in such a folder, or in memory,
/// made from a file that says the same in another form.
package struct TextFiles: Sendable {
  /// The folder, or the file that they were made from.
  package let path: String
  /// The contents by name; nil in a folder.
  private let contents: [String: Data]?

  package init(folder path: String) { (self.path, contents) = (path, nil) }

  package init(madeFrom path: String, _ contents: [String: Data]) { (self.path, self.contents) = (path, contents) }

  /// Whether they are files of a folder.
  package var isFolder: Bool { contents == nil }

  /// The content of a file; nil where there is none that can be read.
  package func content(_ name: String) -> Data? {
    contents.map { $0[name] } ?? FileManager.default.contents(atPath: place(of: name))
  }

  /// The path of a file, for messages; that of the file which it was made from.
  package func place(of name: String) -> String { isFolder ? "\(path)/\(name)" : path }
}
