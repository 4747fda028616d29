import EagleCore
import Foundation
import Synchronization

/// The ids of all conversations in the data files. Reference semantics: copies share the list, which is read at the
/// first request for a name and then kept.
final class ConversationNames: Sendable {
  /// Files with the ids, one JSON string per line.
  let paths: [String]
  private let list = Mutex<List?>(nil)

  private struct List {
    let ids: [String]
    /// Ids that several conversations share.
    let repeated: Set<String>
  }

  init(paths: [String]) { self.paths = paths }

  /// The id of each conversation; empty if its line is malformed.
  var ids: [String] { read().ids }

  /// The id of a conversation, if no other of `count` conversations has it.
  func unique(_ conversation: Int, count: Int) -> String? {
    let list = read()
    guard list.ids.count == count, list.ids.indices.contains(conversation) else { return nil }
    let id = list.ids[conversation]
    return id.isEmpty || list.repeated.contains(id) ? nil : id
  }

  private func read() -> List {
    list.withLock { list in
      if let list { return list }
      let ids = paths.flatMap { FileManager.default.contents(atPath: $0)?.split(separator: UInt8(ascii: "\n")) ?? [] }
        .map { (try? JSON.read($0))?.string ?? "" }
      var (seen, repeated) = (Set<String>(), Set<String>())
      for id in ids where !seen.insert(id).inserted { repeated.insert(id) }
      let new = List(ids: ids, repeated: repeated)
      list = new
      return new
    }
  }
}
