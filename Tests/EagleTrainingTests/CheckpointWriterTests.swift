import EagleCore
import EagleStorage
import EagleTraining
import Foundation
import Testing

@Suite struct CheckpointWriterTests {
  private final class Folder: Sendable {
    let path = NSTemporaryDirectory() + "/eagle-writer-" + UUID().uuidString
    deinit { try? FileManager.default.removeItem(atPath: path) }
  }

  private final class Said {
    var lines: [String] = []
  }

  private func write(_ writer: CheckpointWriter, steps: ClosedRange<Int>, in parent: String, waits: Bool = true) throws
  {
    for step in steps {
      try writer.start(waits: waits) {
        try CheckpointFolder.write(parent: parent, name: CheckpointFolder.name(step: step), info: Data()) { folder in
          try Data("\(step)".utf8).write(to: URL(fileURLWithPath: "\(folder)/weights"))
        }
      }
    }
  }

  @Test("an old checkpoint that cannot be removed is warned of once and does not end the run")
  func anOldCheckpointMayStay() throws {
    let (folder, said) = (Folder(), Said())
    let stuck = "\(folder.path)/step-00000001"
    let writer = CheckpointWriter(
      parent: folder.path, keep: 2, say: { said.lines.append($0) },
      remove: { path in
        if path == stuck { throw LocatedError(path: path, problem: "cannot rename: Device or resource busy") }
        try FileManager.default.removeItem(atPath: path)
      })
    try write(writer, steps: 1...6, in: folder.path)
    try writer.finish()
    #expect(try CheckpointFolder.names(in: folder.path) == [1, 5, 6].map(CheckpointFolder.name))
    #expect(
      said.lines.count == 1 && said.lines[0].hasPrefix("warning: an old checkpoint stays, \(stuck): cannot rename"))
  }

  @Test("what could not be removed is removed with a later checkpoint")
  func removalIsTriedAgain() throws {
    let (folder, said) = (Folder(), Said())
    let stuck = "\(folder.path)/step-00000001"
    let writer = CheckpointWriter(
      parent: folder.path, keep: 1, say: { said.lines.append($0) },
      remove: { path in
        let isStuck = path == stuck && !FileManager.default.fileExists(atPath: "\(folder.path)/step-00000004")
        if isStuck { throw LocatedError(path: path, problem: "cannot rename: Device or resource busy") }
        try FileManager.default.removeItem(atPath: path)
      })
    try write(writer, steps: 1...3, in: folder.path, waits: false)
    try writer.finish()
    #expect(try CheckpointFolder.names(in: folder.path) == [1, 3].map(CheckpointFolder.name))
    try write(writer, steps: 4...4, in: folder.path)
    #expect(try CheckpointFolder.names(in: folder.path) == [CheckpointFolder.name(step: 4)])
    #expect(said.lines.count == 1)
  }

  @Test("a checkpoint that cannot be written still ends the run")
  func aFailedWriteThrows() throws {
    let folder = Folder()
    let writer = CheckpointWriter(parent: folder.path, keep: 1, say: { _ in }, remove: { _ in })
    let full = LocatedError(path: folder.path, problem: "cannot write: No space left on device")
    try writer.start(waits: false) { throw full }
    #expect(throws: full) { try writer.finish() }
  }
}
