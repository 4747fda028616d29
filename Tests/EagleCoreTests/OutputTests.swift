import EagleCore
import Foundation
import Testing

@Suite struct OutputTests {
  @Test("an error of the system is told in its words")
  func systemErrors() {
    #expect(OutputError(code: ENOSPC).description == "standard output: No space left on device")
    #expect(OutputError(code: EPIPE).isReaderGone && !OutputError(code: ENOSPC).isReaderGone)
  }

  /// A pipe of one page.
  private func pipe() throws -> (reader: Int32, writer: Int32) {
    var ends: [Int32] = [0, 0]
    try #require(Foundation.pipe(&ends) == 0)
    let setSize: Int32 = 1031  // F_SETPIPE_SZ, which the Swift module does not have
    _ = fcntl(ends[1], setSize, 4096)
    return (ends[0], ends[1])
  }

  private func read(_ descriptor: Int32, until last: String) -> String {
    var (text, buffer) = ("", [UInt8](repeating: 0, count: 4096))
    while !text.hasSuffix(last) {
      let count = Foundation.read(descriptor, &buffer, buffer.count)
      guard count > 0 else { break }
      text += String(decoding: buffer[..<count], as: UTF8.self)
    }
    return text
  }

  @Test("texts come in their order, each before the next call begins")
  func orderIsKept() throws {
    let (reader, writer) = try pipe()
    let log = LogWriter(descriptor: writer)
    for line in 0..<100 {
      log.write(Array("line \(line)\n".utf8))
      #expect(read(reader, until: "\n") == "line \(line)\n")
    }
    close(reader)
  }

  @Test("a reader that hangs holds a writer up once and for moments; what it missed is counted when it reads again")
  func hangingReaders() throws {
    let (reader, writer) = try pipe()
    let log = LogWriter(descriptor: writer)
    let line = Array((String(repeating: "x", count: 999) + "\n").utf8)
    let start = ContinuousClock.now
    // 4 KB in the pipe, the bound in the queue, the rest lost.
    let count = (4096 + LogWriter.capacity) / 1000 + 50
    for _ in 0..<count { log.write(line) }
    // A wait for each lost line would take four times as long, on an idle machine.
    #expect(start.duration(to: .now) < .seconds(LogWriter.patience * Double(count) / 4))
    var text = ""
    while text.split(separator: "\n").count < count - 60 { text += read(reader, until: "\n") }
    log.write(Array("end\n".utf8))
    text += read(reader, until: "end\n")
    let kept = text.split(separator: "\n").filter { $0.hasPrefix("x") }.count
    let lost = try #require(text.firstMatch(of: /\((\d+) lines of this log could not be written\)/)).1
    #expect(kept + (Int(lost) ?? 0) == count && kept >= 64)
    close(reader)
  }

  @Test("a closed or full log loses lines and nothing else")
  func closedAndFullLogs() throws {
    signal(SIGPIPE, SIG_IGN)
    let (reader, writer) = try pipe()
    close(reader)
    let full = open("/dev/full", O_WRONLY)
    // They stay open, because a log's own thread may still write.
    for descriptor in [writer, full, -1] {
      let log = LogWriter(descriptor: descriptor)
      let start = ContinuousClock.now
      for line in 0..<100 { log.write(Array("line \(line)\n".utf8)) }
      log.flush()
      // Waiting for each line would take twenty seconds.
      #expect(start.duration(to: .now) < .seconds(LogWriter.patience * 50))
    }
  }
}
