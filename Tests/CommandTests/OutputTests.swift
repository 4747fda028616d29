import EagleCore
import EagleStorage
import Foundation
import Testing

/// The commands with a closed or full pipe, and with a full disk.
@Suite(.serialized) struct OutputTests {
  /// Runs a line of bash; `$eagle` is the folder of the programs.
  private func bash(_ world: TinyWorld, _ line: String) throws -> Outcome {
    try Command.run(
      "/bin/bash", ["-c", line], in: world.path, environment: ["eagle": Command.binaries, "OMP_NUM_THREADS": "1"])
  }

  private static let results = [
    "eagle-run generate --target target --prompt hello --max-tokens 20",
    "eagle-run generate --target target --prompt hello --max-tokens 20 --json", "eagle-run --help",
    "eagle-run generate --help", "eagle-run --version", "eagle-train --help", "eagle-train inspect recipe.yaml",
    "eagle-train inspect target", "eagle-train --generate-completion-script bash",
    "eagle-train bench ranks --megabytes 1",
    "eagle-run chat --target target --max-tokens 20 <<<hello",
  ].map { "$eagle/\($0)" }

  @Test("a full disk under standard output is one error and status 1", arguments: results)
  func fullOutput(command: String) throws {
    let outcome = try bash(try TinyWorld(), "\(command) >/dev/full")
    #expect(outcome.status == 1, "\(outcome.errors)")
    let errors = outcome.errors.split(separator: "\n").filter { $0.hasPrefix("Error: ") }
    #expect(errors == ["Error: standard output: No space left on device"], "\(outcome.errors)")
  }

  @Test("a reader of standard output that has gone ends a command without a word, by SIGPIPE", arguments: results)
  func readerHasGone(command: String) throws {
    let world = try TinyWorld()
    let pipe = Pipe()
    try pipe.fileHandleForReading.close()
    let running = try Command.start(
      "/bin/bash", ["-c", "exec \(command)"], in: world.path, environment: ["eagle": Command.binaries],
      output: pipe.fileHandleForWriting)
    let outcome = try running.finish()
    #expect(running.process.terminationReason == .uncaughtSignal && outcome.status == SIGPIPE)
    #expect(!outcome.errors.contains("rror"), "\(outcome.errors)")
  }

  @Test(
    "closed standard output is an error, closed standard error is none; neither becomes a file that is opened later")
  func closedDescriptors() throws {
    let world = try TinyWorld(conversations: 20)
    let generate = "$eagle/eagle-run generate --target target --prompt hello --max-tokens 20"
    let closed = try bash(world, "\(generate) >&-")
    #expect(closed.status == 1 && closed.errors.contains("standard output: Bad file descriptor"), "\(closed.errors)")
    let silent = try bash(world, "\(generate) 2>&-")
    #expect(silent.status == 0 && !silent.output.isEmpty)
    let run = "$eagle/eagle-train run recipe.yaml --set train.epochs=1"
    #expect(try bash(world, "\(run) 0<&- >&- 2>&-").status == 0)
    #expect(try bash(world, "$eagle/eagle-train run recipe.yaml --set train.epochs=1 --set output=other").status == 0)
    // Every file is the same as with a log.
    let name = try #require(try CheckpointFolder.names(in: world("out")).last)
    _ = try CheckpointFolder.open(world("out/\(name)"))
    for file in ["export/model.safetensors", "\(name)/state.safetensors", "prepared/statistics.md"] {
      let isEqual = try world.read("out/\(file)") == world.read("other/\(file)")
      #expect(isEqual, "\(file)")
    }
  }

  /// A full pipe without a reader.
  private func fullPipe() throws -> Pipe {
    let pipe = Pipe()
    let writer = pipe.fileHandleForWriting.fileDescriptor
    let setSize: Int32 = 1031  // F_SETPIPE_SZ, which the Swift module does not have
    _ = fcntl(writer, setSize, 4096)
    _ = fcntl(writer, F_SETFL, O_NONBLOCK)
    let bytes = [UInt8](repeating: 0x2e, count: 4096)
    while write(writer, bytes, bytes.count) > 0 {}
    _ = fcntl(writer, F_SETFL, 0)
    return pipe
  }

  @Test(
    "training ends as ever while its log is full, closed, or read by nobody", arguments: ["full", "closed", "hung"])
  func trainingWithoutItsLog(kind: String) throws {
    let world = try TinyWorld(conversations: 20)
    let arguments = ["run", "recipe.yaml", "--set", "train.epochs=1"]
    switch kind {
    case "full":
      #expect(try bash(world, "$eagle/eagle-train \(arguments.joined(separator: " ")) 2>/dev/full").status == 0)
    case "closed":
      let line = "$eagle/eagle-train \(arguments.joined(separator: " ")) 2> >(exec true); echo $?"
      #expect(try bash(world, line).output == "0\n")
    default:
      let pipe = try fullPipe()
      let running = try Command.start("eagle-train", arguments, in: world.path, errors: pipe.fileHandleForWriting)
      #expect(running.wait(seconds: 60), "training waits for the reader of its log")
      #expect(try running.finish().status == 0)
    }
    #expect(FileManager.default.fileExists(atPath: world("out/export/model.safetensors")))
  }

  @Test("serve answers while its log is full or read by nobody", arguments: ["full", "hung"])
  func servingWithoutItsLog(kind: String) throws {
    let world = try TinyWorld()
    let port = try freePort()
    let pipe = try fullPipe()
    let errors = kind == "hung" ? pipe.fileHandleForWriting : try #require(FileHandle(forWritingAtPath: "/dev/full"))
    let running = try Command.start(
      "eagle-run", ["serve", "--target", "target", "--port", "\(port)"], in: world.path, errors: errors)
    defer { if running.process.isRunning { running.process.terminate() } }
    var connection: Connection?
    let end = Date().addingTimeInterval(60)
    while connection == nil, running.process.isRunning, Date() < end {
      connection = try? Connection(port: port)
      usleep(5000)
    }
    let body = #"{"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}"#
    for _ in 0..<20 {
      let connection = try Connection(port: port)
      connection.write(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n"
          + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
      #expect(try connection.answer().status == 200)
    }
    running.process.terminate()
    #expect(running.wait(seconds: 30))
    #expect(try running.finish().status == 0)
  }

  /// A port without a listener.
  private func freePort() throws -> UInt16 {
    let socket = Foundation.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(socket) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, size) + getsockname(socket, $0, &size) }
    }
    try #require(status == 0)
    return UInt16(bigEndian: address.sin_port)
  }
}
