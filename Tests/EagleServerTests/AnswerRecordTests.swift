import EagleCore
import EagleServer
import Foundation
import Testing

@Suite struct AnswerRecordTests {
  @Test("a record that another server writes is refused and not touched, until that server has closed it")
  func oneWriter() throws {
    let path = NSTemporaryDirectory() + "/eagle-record-" + UUID().uuidString
    defer { try? FileManager.default.removeItem(atPath: path) }
    // The state in which the other server has written half of a line.
    let half = Data(#"{"input_ids":[1"#.utf8)
    do {
      let first = try AnswerRecord(path: path) { _ in }
      try AppendedFile.append(half, to: path)
      let error = #expect(throws: LocatedError.self) { _ = try AnswerRecord(path: path) { _ in } }
      #expect(
        error?.description
          == "\(path): another process writes to it; stop the other server, or name another file with --record")
      #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == half)
      withExtendedLifetime(first) {}
    }
    _ = try AnswerRecord(path: path) { _ in }
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)).isEmpty)
  }
}
