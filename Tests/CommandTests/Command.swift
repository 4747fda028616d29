import Foundation
import Testing

/// The output and the exit status of a finished program.
struct Outcome {
  let status: Int32
  let output: String
  let errors: String
}

/// Runs the built programs like a user.
enum Command {
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

  /// The test bundle is in the folder of the programs.
  static let binaries = Bundle.main.bundleURL.deletingLastPathComponentIfFile.path

  static func run(
    _ program: String, _ arguments: [String], in folder: String = root, environment: [String: String] = [:],
    input: Data = Data()
  ) throws -> Outcome {
    let process = try start(program, arguments, in: folder, environment: environment, input: input)
    return try process.finish()
  }

  static func start(
    _ program: String, _ arguments: [String], in folder: String = root, environment: [String: String] = [:],
    input: Data? = Data(), output: FileHandle? = nil, errors: FileHandle? = nil
  ) throws -> Running {
    let path = program.hasPrefix("eagle-") ? "\(binaries)/\(program)" : program
    return try Running(path, arguments, folder, environment, input, output: output, errors: errors)
  }

  /// `count` ranks of eagle-train under mpirun.
  static func runRanks(
    _ count: Int, _ arguments: [String], in folder: String, environment: [String: String] = [:]
  ) throws -> Outcome {
    try startRanks(count, arguments, in: folder, environment: environment).finish()
  }

  static func startRanks(
    _ count: Int, _ arguments: [String], in folder: String, environment: [String: String] = [:]
  ) throws -> Running {
    var flags = ["mpirun", "-np", "\(count)", "--oversubscribe", "--bind-to", "none"]
    if getuid() == 0 { flags.append("--allow-run-as-root") }
    return try start(
      "/usr/bin/env", flags + ["\(binaries)/eagle-train"] + arguments, in: folder, environment: environment)
  }
}

extension URL {
  /// `Bundle.main` of a test run is the folder of the runner's executable.
  fileprivate var deletingLastPathComponentIfFile: URL { hasDirectoryPath ? self : deletingLastPathComponent() }
}

/// A program that is running, with its output going to files so that no pipe can fill up.
final class Running {
  let process = Process()
  private let scratch = NSTemporaryDirectory() + "/eagle-command-" + UUID().uuidString

  /// Writes to its standard input, if no input was given.
  let keyboard = Pipe()

  /// - Parameters:
  ///   - input: its standard input; nil to write it later
  ///   - output: a handle for its standard output instead of a file; `errors` is the same for standard error
  init(
    _ path: String, _ arguments: [String], _ folder: String, _ additions: [String: String], _ input: Data?,
    output: FileHandle? = nil, errors: FileHandle? = nil
  ) throws {
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    if let input {
      try input.write(to: URL(fileURLWithPath: "\(scratch)/in"))
      process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: "\(scratch)/in"))
    } else {
      process.standardInput = keyboard
    }
    process.standardOutput = try output ?? file("out")
    process.standardError = try errors ?? file("err")
    var environment = ProcessInfo.processInfo.environment
    environment["OMP_NUM_THREADS"] = "1"
    environment["COLUMNS"] = "100"
    process.environment = environment.merging(additions) { $1 }
    try process.run()
  }

  deinit { try? FileManager.default.removeItem(atPath: scratch) }

  func finish() throws -> Outcome {
    process.waitUntilExit()
    return Outcome(status: process.terminationStatus, output: output, errors: errors)
  }

  private func file(_ name: String) throws -> FileHandle {
    _ = FileManager.default.createFile(atPath: "\(scratch)/\(name)", contents: nil)
    return try FileHandle(forWritingTo: URL(fileURLWithPath: "\(scratch)/\(name)"))
  }

  /// Whether it has ended within this time.
  func wait(seconds: Double) -> Bool {
    let end = Date().addingTimeInterval(seconds)
    while process.isRunning {
      if Date() >= end { return false }
      usleep(1000)
    }
    return true
  }

  /// Processes of the ranks that this mpirun has started here.
  var ranks: [Int32] {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return entries.compactMap { Int32($0) }.filter { candidate in
      let status = FileManager.default.contents(atPath: "/proc/\(candidate)/stat").map {
        String(decoding: $0, as: UTF8.self)
      }
      let fields = status?.split(separator: ")").last?.split(separator: " ") ?? []
      return fields.count > 1 && Int32(fields[1]) == process.processIdentifier
    }
  }

  /// The process itself, or one of its ranks once they have started.
  func victim(ranks count: Int, random: inout some RandomNumberGenerator) -> Int32 {
    (count > 1 ? ranks.randomElement(using: &random) : nil) ?? process.processIdentifier
  }

  /// A variable of a process's environment.
  static func variable(_ name: String, of process: Int32) -> String? {
    let text = FileManager.default.contents(atPath: "/proc/\(process)/environ")
    let entries = text?.split(separator: 0).map { String(decoding: $0, as: UTF8.self) } ?? []
    return entries.first { $0.hasPrefix("\(name)=") }.map { String($0.dropFirst(name.count + 1)) }
  }

  /// Its standard output so far.
  var output: String { (try? text("out")) ?? "" }
  var errors: String { (try? text("err")) ?? "" }

  private func text(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: "\(scratch)/\(name)")), as: UTF8.self)
  }
}
