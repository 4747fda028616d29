import EagleCore
import Foundation
import Testing

/// The output of a running command: on a terminal, and in a file.
@Suite struct TerminalTests {
  private static let clear = "\r\u{1B}[K"

  /// A program whose standard error is a terminal.
  private final class Terminal {
    let process = Process()
    private let master: FileHandle

    init(_ arguments: [String], in folder: String, columns: Int, environment: [String: String]) throws {
      var (ours, theirs) = (Int32(0), Int32(0))
      var size = winsize(ws_row: 24, ws_col: UInt16(columns), ws_xpixel: 0, ws_ypixel: 0)
      try #require(openpty(&ours, &theirs, nil, nil, &size) == 0)
      master = FileHandle(fileDescriptor: ours, closeOnDealloc: true)
      let slave = FileHandle(fileDescriptor: theirs, closeOnDealloc: true)
      process.executableURL = URL(fileURLWithPath: "\(Command.binaries)/eagle-train")
      process.arguments = arguments
      process.currentDirectoryURL = URL(fileURLWithPath: folder)
      process.standardError = slave
      process.standardOutput = FileHandle.nullDevice
      process.environment = ProcessInfo.processInfo.environment.merging(["OMP_NUM_THREADS": "1", "TERM": "xterm"]) {
        $1
      }
      .merging(environment) { $1 }
      try process.run()
      try slave.close()
    }

    func resize(columns: Int) {
      var size = winsize(ws_row: 24, ws_col: UInt16(columns), ws_xpixel: 0, ws_ypixel: 0)
      _ = ioctl(master.fileDescriptor, UInt(TIOCSWINSZ), &size)
    }

    /// Reads until the program ends, or until `isEnough` is true for the text so far.
    func read(until isEnough: (String) -> Bool = { _ in false }) -> String {
      var bytes: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 4096)
      while true {
        let count = Glibc.read(master.fileDescriptor, &buffer, buffer.count)
        guard count > 0 else { break }
        bytes += buffer.prefix(count)
        if isEnough(String(decoding: bytes, as: UTF8.self)) { break }
      }
      return String(decoding: bytes, as: UTF8.self)
    }
  }

  /// Lines that were replaced, without those that end in a line feed.
  private func passing(_ text: String) -> [String] {
    text.components(separatedBy: Self.clear).dropFirst().filter { !$0.isEmpty && !$0.contains("\n") }
  }

  private let long = ["run", "recipe.yaml", "--set", "train.epochs=300", "--set", "evaluate.benchmarks={}"]

  @Test("progress lines fit the terminal and follow its size") func linesFitTheTerminalAndFollowItsSize() throws {
    let world = try TinyWorld()
    let terminal = try Terminal(long, in: world.path, columns: 60, environment: [:])
    let wide = terminal.read { $0.contains("\(Self.clear)train: ") }
    terminal.resize(columns: 24)
    let narrow = terminal.read { text in passing(text).contains { $0.count == 23 && $0.hasSuffix("…") } }
    terminal.process.terminate()
    _ = terminal.read()
    terminal.process.waitUntilExit()
    #expect(!passing(wide).isEmpty && passing(wide + narrow).allSatisfy { $0.count < 60 })
    #expect(passing(narrow).contains { $0.count == 23 && $0.hasSuffix("…") })
    // No colours: the only control codes are those that clear the line.
    for text in [wide, narrow] { #expect(!text.replacingOccurrences(of: Self.clear, with: "").contains("\u{1B}")) }
  }

  @Test("a dumb terminal and NO_COLOR get no colours", arguments: [["TERM": "dumb"], ["NO_COLOR": "1"]])
  func simpleTerminalsGetNoColours(
    environment: [String: String]
  ) throws {
    let world = try TinyWorld()
    let terminal = try Terminal(["prepare", "recipe.yaml"], in: world.path, columns: 80, environment: environment)
    let text = terminal.read()
    terminal.process.waitUntilExit()
    #expect(terminal.process.terminationStatus == 0 && text.contains("prepare: 60 conversations"))
    let plain = environment["TERM"] == nil ? text.replacingOccurrences(of: Self.clear, with: "") : text
    #expect(!plain.contains("\u{1B}"))
  }

  @Test("redirected output has plain lines without control codes") func redirectedOutputIsPlainLines() throws {
    let world = try TinyWorld()
    let outcome = try Command.run("eagle-train", ["run", "recipe.yaml"], in: world.path)
    #expect(outcome.status == 0 && !outcome.errors.contains("\u{1B}") && !outcome.errors.contains("\r"))
    let steps = outcome.errors.split(separator: "\n").filter { $0.hasPrefix("train: ") && $0.contains(" steps") }
    #expect(steps.contains { $0.contains(", loss ") && $0.contains(", acc_length ") && $0.contains(" tokens/s") })
    #expect(!outcome.errors.contains("gradients on their way"))
  }
}
